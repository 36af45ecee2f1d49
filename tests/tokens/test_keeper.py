"""A token is renewed before it ends, by one request for all; by a clock of the test's own."""

import asyncio
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from streamproc.errors import ConfigError
from streamproc.runtime.tokens import TokenUnavailable
from streamproc.tokens.keeper import FIRST_REFUSED_S, LONGEST_REFUSED_S, RENEWED_AT, Token, TokenKeeper

LIFE_S = 100.0


class Time:
    """Stands still until it is told to pass."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        """Sleep until so much has passed."""
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, future))
        await future

    async def passes(self, seconds: float) -> None:
        """Let it pass, one sleeper after the other, and let everybody act."""
        end = self.now + seconds
        while due := min((each for each in self._sleepers if each[0] <= end), default=None, key=lambda it: it[0]):
            self._sleepers.remove(due)
            self.now = max(self.now, due[0])
            if not due[1].done():  # Who slept was cancelled.
                due[1].set_result(None)
            await settled()
        self.now = end


class Giver:
    """Gives "token 1" and so on, or fails as it is told."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails: Exception | None = None
        self.life_s = LIFE_S
        self.open = asyncio.Event()
        self.open.set()

    async def fetch(self) -> Token:
        """Give the next one."""
        self.asked += 1
        await self.open.wait()
        if self.fails is not None:
            raise self.fails
        return Token(f"token {self.asked}", self.life_s)


async def settled() -> None:
    """Let all that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def giver() -> Giver:
    return Giver()


@pytest.fixture
def keeper(time: Time, giver: Giver) -> TokenKeeper:
    return TokenKeeper(giver.fetch, lambda: time.now, time.sleep)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield


async def test_a_dozen_connections_ask_once(keeper: TokenKeeper, giver: Giver) -> None:
    giver.open.clear()
    asking = [asyncio.create_task(keeper.token()) for _ in range(12)]
    await settled()
    giver.open.set()
    assert await asyncio.gather(*asking) == ["token 1"] * 12
    assert giver.asked == 1


async def test_who_gives_up_takes_it_from_nobody(keeper: TokenKeeper, giver: Giver) -> None:
    """A connection has a time limit of its own."""
    giver.open.clear()
    hasty, patient = (asyncio.create_task(keeper.token()) for _ in range(2))
    await settled()
    hasty.cancel()
    await settled()
    giver.open.set()
    assert await patient == "token 1"


async def test_whatever_goes_wrong_is_tried_again_and_shown_to_nobody(
    keeper: TokenKeeper, giver: Giver, time: Time
) -> None:
    """The renewal goes on; an unforeseen error may hold a secret in its text."""
    giver.fails = RuntimeError("the secret")
    with pytest.raises(TokenUnavailable, match=r"^asking for a token fails: RuntimeError$"):
        await keeper.token()
    giver.fails = None
    await time.passes(60)
    assert (await keeper.token()).startswith("token")


async def test_it_is_renewed_before_it_ends(keeper: TokenKeeper, giver: Giver, time: Time) -> None:
    assert await keeper.token() == "token 1"
    await time.passes(LIFE_S * RENEWED_AT[0] - 1)
    assert (await keeper.token(), giver.asked) == ("token 1", 1)
    await time.passes(LIFE_S * (RENEWED_AT[1] - RENEWED_AT[0]) + 2)
    assert (await keeper.token(), giver.asked) == ("token 2", 2)


async def test_nobody_waits_for_a_renewal(keeper: TokenKeeper, giver: Giver, time: Time) -> None:
    await keeper.token()
    giver.open.clear()
    await time.passes(LIFE_S * RENEWED_AT[1] + 1)
    assert (await keeper.token(), giver.asked) == ("token 1", 2)


@pytest.mark.parametrize("trouble", [TokenUnavailable("away"), ConfigError("no")])
async def test_a_renewal_that_fails_leaves_the_old_one(
    keeper: TokenKeeper, giver: Giver, time: Time, trouble: Exception
) -> None:
    """As long as that is valid; then whoever asks hears why, and the giver is not asked more often for it."""
    await keeper.token()
    giver.fails = trouble
    with capture_logs() as logs:
        await time.passes(LIFE_S - 1)
        assert await keeper.token() == "token 1"
        await time.passes(1)
    asked = giver.asked
    for _ in range(20):
        with pytest.raises(type(trouble), match=str(trouble)):
            await keeper.token()
    assert giver.asked == asked
    assert {line["why"] for line in logs} == {str(trouble)}
    assert "token" not in "".join(str(value) for line in logs for name, value in line.items() if name != "event")
    giver.fails = None
    await time.passes(60)
    assert await keeper.token() == f"token {giver.asked}"


async def test_failures_are_further_and_further_apart(keeper: TokenKeeper, giver: Giver, time: Time) -> None:
    giver.fails = TokenUnavailable("away")
    with pytest.raises(TokenUnavailable):
        await keeper.token()
    await time.passes(600)
    assert 20 < giver.asked < 60


async def test_whoever_asks_to_be_left_alone_is(keeper: TokenKeeper, giver: Giver, time: Time) -> None:
    giver.fails = TokenUnavailable("busy", retry_after_s=50)
    with pytest.raises(TokenUnavailable):
        await keeper.token()
    await time.passes(49)
    assert giver.asked == 1
    await time.passes(2)
    assert giver.asked == 2


async def test_tokens_that_end_at_once_are_not_asked_for_without_end(
    keeper: TokenKeeper, giver: Giver, time: Time
) -> None:
    giver.life_s = 0.001
    await keeper.token()
    await time.passes(10)
    assert giver.asked <= 11


async def test_a_token_that_a_broker_refuses_is_given_to_nobody_again(
    keeper: TokenKeeper, giver: Giver, time: Time
) -> None:
    """It was withdrawn, say, or the issuer has other keys; a dozen connections hear of it, and one token is fetched."""
    assert await keeper.token() == "token 1"
    for _ in range(12):
        keeper.refused("token 1")
    assert [await keeper.token() for _ in range(12)] == ["token 2"] * 12
    keeper.refused("token 1")
    assert (await keeper.token(), giver.asked) == ("token 2", 2)
    await time.passes(LIFE_S * RENEWED_AT[1] + 1)
    assert (await keeper.token(), giver.asked) == ("token 3", 3)


async def test_a_broker_that_accepts_no_token_makes_no_storm_of_requests(
    keeper: TokenKeeper, giver: Giver, time: Time
) -> None:
    """Each one is kept for longer; a broker that accepts them again ends that."""
    giver.life_s = 1_000_000
    for _ in range(1_000):
        keeper.refused(await keeper.token())
        await time.passes(1)
    assert 5 < giver.asked < 20
    asked = giver.asked
    await time.passes(LONGEST_REFUSED_S + 1)
    keeper.refused(await keeper.token())
    await keeper.token()
    assert giver.asked == asked + 1
    await time.passes(FIRST_REFUSED_S + 1)
    keeper.refused(await keeper.token())
    await keeper.token()
    assert giver.asked == asked + 2


async def test_a_refusal_hurries_no_endpoint_that_has_asked_to_be_left_alone(
    keeper: TokenKeeper, giver: Giver, time: Time
) -> None:
    """The token that is refused stays in use: the broker may come to accept it."""
    await keeper.token()
    giver.fails = TokenUnavailable("busy", retry_after_s=LIFE_S)
    await time.passes(LIFE_S * RENEWED_AT[1] + 1)
    keeper.refused("token 1")
    assert (await keeper.token(), giver.asked) == ("token 1", 2)


async def test_a_refusal_during_a_renewal_waits_for_that(keeper: TokenKeeper, giver: Giver, time: Time) -> None:
    await keeper.token()
    giver.open.clear()
    await time.passes(LIFE_S * RENEWED_AT[1] + 1)
    keeper.refused("token 1")
    giver.open.set()
    await settled()
    assert (await keeper.token(), giver.asked) == ("token 2", 2)


def test_a_token_shows_itself_to_nobody() -> None:
    assert "secret" not in repr(Token("secret", 1))
