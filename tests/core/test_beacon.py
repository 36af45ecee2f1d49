"""When a source tells the windows how far it has come (rules.md 18)."""

from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.beacon import IDLE_INTERVAL_MS, MARK_INTERVAL_MS, Beacon
from streamproc.core.measure import Mark


def _say(beacon: Beacon, watermark: int = 1, *, idle: bool = False, seen_at: int = 0, at: int = 0) -> Mark | None:
    """Ask what is due, and confirm it."""
    mark = beacon.due(watermark, idle=idle, seen_at=seen_at, wall_ms=at)
    if mark is not None:
        beacon.sent(mark)
    return mark


def test_a_mark_says_where_the_source_is() -> None:
    """The first one at once."""
    assert Beacon(3).due(5, idle=True, seen_at=7, wall_ms=11) == Mark(3, 5, idle=True, seen_at=7, sent_at=11)


def test_one_a_second_at_most() -> None:
    """However fast the commits come."""
    beacon = Beacon(0)
    sent = [at for at in range(0, 5_000, 100) if _say(beacon, watermark=at, at=at)]
    assert sent == [0, 1_000, 2_000, 3_000, 4_000]


def test_news_that_came_too_soon_are_told_a_second_later() -> None:
    """None is lost: the mark says how it is then."""
    beacon = Beacon(0)
    _say(beacon, watermark=1)
    assert _say(beacon, watermark=2, at=500) is None
    assert _say(beacon, watermark=2, idle=True, at=MARK_INTERVAL_MS) == Mark(
        0, 2, idle=True, seen_at=0, sent_at=MARK_INTERVAL_MS
    )


def test_a_busy_source_repeats_nothing() -> None:
    """It would only make a commit where there is nothing to commit."""
    beacon = Beacon(0)
    _say(beacon, watermark=1)
    assert _say(beacon, watermark=1, at=10**9) is None


def test_an_idle_source_repeats_itself_now_and_then() -> None:
    """That it has read until now is news."""
    beacon = Beacon(0)
    _say(beacon, idle=True)
    assert _say(beacon, idle=True, at=IDLE_INTERVAL_MS - 1) is None
    assert _say(beacon, idle=True, at=IDLE_INTERVAL_MS) is not None


def test_each_part_is_news() -> None:
    """The stream time, idleness, and when something was seen."""
    for news in ({"watermark": 2}, {"idle": True}, {"seen_at": 1}):
        beacon = Beacon(0)
        _say(beacon)
        assert _say(beacon, at=MARK_INTERVAL_MS, **news) is not None  # type: ignore[arg-type]


def test_what_was_not_confirmed_is_due_again() -> None:
    """An aborted commit told nobody."""
    beacon = Beacon(0)
    assert beacon.due(1, idle=False, seen_at=0, wall_ms=0) is not None
    assert beacon.due(1, idle=False, seen_at=0, wall_ms=1) is not None


def test_another_owner_in_between_makes_everything_news() -> None:
    """It may have said otherwise."""
    beacon = Beacon(0)
    _say(beacon)
    beacon.forget()
    assert _say(beacon, at=1) is not None


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    """A mark is due as soon as there is news."""
    beacon = Beacon(0)
    _say(beacon, watermark=1, at=10**9)
    assert _say(beacon, watermark=2, at=10**9 - 10**8) is not None
    beacon = Beacon(0)
    _say(beacon, idle=True, at=10**9)
    assert _say(beacon, idle=True, at=0) is not None


@given(st.lists(st.tuples(st.integers(0, 3_000), st.booleans(), st.booleans()), max_size=50))
def test_what_was_said_last_is_never_more_than_a_second_old(steps: list[tuple[int, bool, bool]]) -> None:
    """Whatever happens: asked after a second, a beacon has said everything but that time goes by."""
    beacon, wall, watermark, idle = Beacon(0), 0, 0, False
    last: Mark | None = None
    for passed, moves, is_idle in steps:
        wall, watermark, idle = wall + passed, watermark + moves, is_idle
        last = _say(beacon, watermark=watermark, idle=idle, at=wall) or last
    last = _say(beacon, watermark=watermark, idle=idle, at=wall + MARK_INTERVAL_MS) or last
    assert last is not None
    assert (last.watermark, last.idle) == (watermark, idle)
