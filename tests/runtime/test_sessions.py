"""A log in holds for as long as the broker tells (KIP-368); the connection is given up before, between requests."""

from collections import deque
from types import SimpleNamespace

import pytest
from aiokafka.errors import SaslAuthenticationFailed

from streamproc.runtime.aio import sessions


class Clock:
    now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    it = Clock()
    monkeypatch.setattr(sessions, "time", SimpleNamespace(monotonic=lambda: it.now))
    return it


class Connection:
    """What of aiokafka's is asked for, as if it were connected."""

    def __init__(self, mechanism: str = "OAUTHBEARER") -> None:
        self._sasl_mechanism = mechanism
        self._requests: deque[object] = deque()
        self._reader: SimpleNamespace | None = SimpleNamespace(at_eof=lambda: False)

    def close(self, reason: object) -> None:  # noqa: ARG002  as aiokafka calls it
        self._reader = None


async def answered(connection: Connection, **answer: object) -> None:
    async def answering() -> SimpleNamespace:
        return SimpleNamespace(**{"error_code": 0, "sasl_auth_bytes": b"", "session_lifetime_ms": 0, **answer})

    await sessions.logged_in(connection, answering())


async def test_a_connection_is_given_up_before_its_session_ends(clock: Clock) -> None:
    connection = Connection()
    await answered(connection, session_lifetime_ms=10_000)
    clock.now = 7.9
    assert sessions.connected(connection)
    clock.now = 8.1
    connection._requests.append("a fetch that waits for records")
    assert sessions.connected(connection)
    connection._requests.clear()
    assert not sessions.connected(connection)
    assert connection._reader is None


@pytest.mark.parametrize("answer", [{}, {"session_lifetime_ms": 10_000, "error_code": 58}])
async def test_without_a_limit_it_stays(clock: Clock, answer: dict[str, int]) -> None:
    connection = Connection()
    await answered(connection, **answer)
    clock.now = 1e9
    assert sessions.connected(connection)


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (b'{"status":"invalid_token"}', "invalid_token"),
        (b'{"status":"<b>\\u001b[1m"}', "no reason given"),
        (b"[]", "no reason given"),
        (b"\xff", "no reason given"),
    ],
)
async def test_a_token_that_is_refused_is_no_log_in(told: bytes, status: str) -> None:
    """The broker answers without an error code, and hangs up at the next request (RFC 7628)."""
    with pytest.raises(SaslAuthenticationFailed, match=rf"does not accept the token \({status}\)"):
        await answered(Connection(), sasl_auth_bytes=told)
    await answered(Connection("SCRAM-SHA-256"), sasl_auth_bytes=b"v=...")
