"""The alert that the stream is silent: over all sources, by the clock of those that are caught up (rules.md 20)."""

from msgspec import structs

from streamproc.core.windowstate import WindowRules
from tests.support.metrics_oracle import Said
from tests.support.windowing import RULES, START_MS, Windows, idle, mark, measured

SILENCE_MS = 600_000
ONE = structs.replace(RULES, silence_ms=SILENCE_MS)
TWO = structs.replace(ONE, sources=2)


def _states(windows: Windows) -> list[tuple[str, int]]:
    return [(alert.state, alert.decided_at - START_MS) for alert in windows.said]


def _heard(rules: WindowRules = ONE) -> Windows:
    """Return windows that heard of an event at 0 on every source."""
    windows = Windows(rules)
    windows.commit(*(mark(0, source=source, seen_at=0) for source in range(rules.sources)))
    return windows


def test_silence_fires_once_and_resolves() -> None:
    """Since the last event; until the next one is seen."""
    windows = _heard()
    windows.commit(idle(SILENCE_MS - 1, seen_at=0))
    assert windows.alerts == []
    windows.commit(idle(SILENCE_MS, seen_at=0))
    windows.commit(idle(2 * SILENCE_MS, seen_at=0))
    (fired,) = windows.said
    assert fired == Said(
        alert_id=f"stream_silent:run-events:{START_MS}",
        kind="stream_silent",
        severity="critical",
        state="firing",
        subject=(None, None, None),
        status=None,
        since=START_MS,
        deadline_at=START_MS + SILENCE_MS,
        ends_at=None,
        decided_at=START_MS + SILENCE_MS,
        source=None,
    )
    windows.commit(measured(), mark(0, seen_at=3 * SILENCE_MS))
    assert windows.said[1:] == [
        fired._replace(
            state="resolved",
            deadline_at=windows.said[1].deadline_at,
            ends_at=START_MS + 3 * SILENCE_MS,
            decided_at=START_MS + 3 * SILENCE_MS,
        )
    ]


def test_the_next_silence_is_another_alert() -> None:
    """With an id of its own."""
    windows = _heard()
    windows.commit(idle(SILENCE_MS, seen_at=0))
    windows.commit(mark(0, seen_at=SILENCE_MS + 5))
    windows.commit(idle(2 * SILENCE_MS + 5, seen_at=SILENCE_MS + 5))
    assert [state for state, _ in _states(windows)] == ["firing", "resolved", "firing"]
    assert len({alert.alert_id for alert in windows.alerts}) == 2


def test_a_stream_without_any_event_is_silent_too() -> None:
    """From when it was first listened to."""
    windows = Windows(ONE)
    windows.commit(idle(100))
    windows.commit(idle(100 + SILENCE_MS - 1))
    assert windows.alerts == []
    windows.commit(idle(100 + SILENCE_MS))
    assert _states(windows) == [("firing", 100 + SILENCE_MS)]
    assert windows.said[0].since == START_MS + 100


def test_silence_takes_every_source() -> None:
    """The last event of any of them counts."""
    windows = _heard(TWO)
    windows.commit(mark(0, source=1, seen_at=5_000))
    windows.commit(idle(SILENCE_MS, source=0, seen_at=0), idle(SILENCE_MS, source=1, seen_at=5_000))
    assert windows.alerts == []
    windows.commit(idle(SILENCE_MS + 5_000, source=0, seen_at=0), idle(SILENCE_MS + 5_000, source=1, seen_at=5_000))
    assert _states(windows) == [("firing", SILENCE_MS + 5_000)]


def test_a_busy_source_is_not_silent() -> None:
    """rules.md 16: it has events to read, however old its last mark is."""
    windows = _heard(TWO)
    windows.commit(idle(SILENCE_MS, source=0, seen_at=0))
    windows.commit(idle(10 * SILENCE_MS, source=0, seen_at=0))
    # As where somebody's open transaction stands in front of what is to be read.
    windows.commit(mark(0, source=1, seen_at=0, sent_at=10 * SILENCE_MS))
    assert windows.alerts == []


def test_a_source_that_has_not_been_heard_of_may_have_events() -> None:
    """As after the first start, with workers coming up one by one."""
    windows = Windows(TWO)
    windows.commit(idle(0), idle(10 * SILENCE_MS))
    assert windows.alerts == []


def test_a_source_idle_before_an_outage_is_not_silent_after_it() -> None:
    """It has said nothing since: what came in between is unread."""
    windows = _heard(TWO)
    windows.commit(idle(1_000, source=0, seen_at=0), idle(1_000, source=1, seen_at=0))
    windows.restart()
    windows.commit(idle(10 * SILENCE_MS, source=0))
    assert windows.alerts == []
    windows.commit(mark(9 * SILENCE_MS, source=1, seen_at=10 * SILENCE_MS))
    windows.commit(idle(10 * SILENCE_MS + 1_000, source=1, seen_at=10 * SILENCE_MS))
    assert windows.alerts == []


def test_silence_survives_a_restart() -> None:
    """It is not told again; and a new owner of a source, who has seen nothing yet, does not end it."""
    windows = _heard()
    windows.commit(idle(SILENCE_MS, seen_at=0))
    windows.restart()
    windows.commit(idle(SILENCE_MS + 1_000))
    assert _states(windows) == [("firing", SILENCE_MS)]
    windows.commit(mark(0, seen_at=SILENCE_MS + 2_000))
    assert _states(windows)[1:] == [("resolved", SILENCE_MS + 2_000)]


def test_a_new_owner_does_not_begin_the_wait_anew() -> None:
    """What was seen before it counts on."""
    windows = _heard()
    windows.commit(idle(SILENCE_MS - 1))
    windows.restart()
    windows.commit(idle(SILENCE_MS))
    assert _states(windows) == [("firing", SILENCE_MS)]


def test_only_one_task_tells_of_it() -> None:
    """rules.md 20: that of measurement partition 0."""
    windows = Windows(ONE, watches_silence=False)
    windows.commit(mark(0, seen_at=0))
    windows.commit(idle(10 * SILENCE_MS, seen_at=0))
    assert windows.alerts == []


def test_zero_is_never() -> None:
    """By a setting; what fires by then is still resolved."""
    windows = Windows(structs.replace(ONE, silence_ms=0))
    windows.commit(mark(0, seen_at=0), idle(10**9, seen_at=0))
    assert windows.alerts == []
    windows = _heard()
    windows.commit(idle(SILENCE_MS, seen_at=0))
    windows.state.rules = structs.replace(ONE, silence_ms=0)
    windows.restart()
    windows.commit(mark(0, seen_at=SILENCE_MS + 1))
    assert [state for state, _ in _states(windows)] == ["firing", "resolved"]
