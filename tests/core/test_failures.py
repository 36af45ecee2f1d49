"""Failure-rate alerts: a condition on each closed window of an assistant and model (rules.md 20 and 21)."""

import pytest
from msgspec import structs

from streamproc.core.alerts import Severity
from streamproc.core.conditions import HoldingKey
from streamproc.core.failures import FailureRules
from streamproc.core.windowstate import WindowRules
from tests.support.metrics_oracle import Said
from tests.support.sums import totals_from
from tests.support.windowing import MINUTE_MS, RULES, START_MS, Windows, ended, mark, measured

DEFAULT = structs.replace(RULES, conditions=(FailureRules(min_ended=10),))
GRACE_MS = RULES.grace_ms


def _closes(minute: int) -> int:
    return (minute + 1) * MINUTE_MS + GRACE_MS


def _minutes(*failed_of_ten: int, rules: WindowRules = DEFAULT) -> Windows:
    """Return windows in which, minute by minute, so many of ten runs failed; all of them closed but what follows."""
    windows = Windows(rules)
    for minute, failed in enumerate(failed_of_ten):
        windows.commit(ended(minute * MINUTE_MS, failed=failed, succeeded=10 - failed))
    windows.commit(mark(_closes(len(failed_of_ten) - 1)))
    return windows


def _brief(windows: Windows) -> list[tuple[str, str, int]]:
    """Return severity, state, and the minute of the first window."""
    return [(alert.severity, alert.state, (alert.since - START_MS) // MINUTE_MS) for alert in windows.said]


def test_an_alert_says_what_fires_since_when() -> None:
    """By the window's first revision, at the moment of its close."""
    (alert,) = _minutes(0, 2).said
    assert alert == Said(
        alert_id=f'failure_rate:warning:["asst_1","gpt-4o"]:{START_MS + MINUTE_MS}',
        kind="failure_rate",
        severity="warning",
        state="firing",
        subject=(None, "asst_1", "gpt-4o"),
        status=None,
        since=START_MS + MINUTE_MS,
        deadline_at=None,
        ends_at=None,
        decided_at=START_MS + _closes(1),
        source=None,
    )


def test_its_resolution_is_the_same_with_an_end() -> None:
    """The end of the last window for which it held."""
    fired, resolved = _minutes(2, 2, 0).said
    assert resolved == fired._replace(
        state="resolved", ends_at=START_MS + 2 * MINUTE_MS, decided_at=START_MS + _closes(2)
    )


@pytest.mark.parametrize(
    ("failed", "severities"),
    [(0, set()), (1, {"warning"}), (2, {"warning"}), (3, {"warning", "critical"}), (10, {"warning", "critical"})],
)
def test_both_thresholds_are_conditions_of_their_own(failed: int, severities: set[str]) -> None:
    """The limit itself is a failure; a critical rate is a warning too."""
    assert {alert.severity for alert in _minutes(failed).said} == severities


def test_a_condition_that_goes_on_says_nothing_again() -> None:
    """Severities come and go apart from each other."""
    assert _brief(_minutes(1, 5, 5, 1, 0)) == [
        ("warning", "firing", 0),
        ("critical", "firing", 1),
        ("critical", "resolved", 1),
        ("warning", "resolved", 0),
    ]


def test_a_condition_that_comes_again_is_another_alert() -> None:
    """With an id of its own, from its own first window."""
    windows = _minutes(2, 0, 2, 0)
    assert _brief(windows) == [
        ("warning", "firing", 0),
        ("warning", "resolved", 0),
        ("warning", "firing", 2),
        ("warning", "resolved", 2),
    ]
    assert len({alert.alert_id for alert in windows.alerts}) == 2


def test_too_few_ended_runs_tell_nothing() -> None:
    """Neither that it fails, nor that it goes on failing."""
    windows = Windows(DEFAULT)
    windows.commit(ended(0, failed=9), mark(_closes(0)))
    assert windows.alerts == []
    windows.commit(ended(MINUTE_MS, failed=10), ended(2 * MINUTE_MS, failed=9), mark(_closes(2)))
    assert [alert.state for alert in windows.said if alert.severity == "warning"] == ["firing", "resolved"]


def test_windows_with_too_few_ended_runs_are_counted() -> None:
    """In their first revision; those in which nothing ended tell nothing wrong, and other sizes are not asked."""
    windows = Windows(structs.replace(DEFAULT, sizes_ms=(MINUTE_MS, 5 * MINUTE_MS)))
    out = windows.commit(ended(0, failed=9), measured(0, assistant="idle"), ended(0, failed=10, model="m"))
    assert out.unjudged == {}
    assert windows.commit(mark(_closes(4))).unjudged == {"failure_rate": 1}
    assert windows.commit(ended(0, failed=1)).unjudged == {}


def test_what_is_asked_for_no_longer_resolves_at_the_next_start() -> None:
    """Whatever condition it was; those that are still there go on."""
    windows = _minutes(2)
    windows.restart(structs.replace(DEFAULT, conditions=()))
    windows.commit()
    assert _brief(windows) == [("warning", "firing", 0), ("warning", "resolved", 0)]
    assert windows.alerts[1].summary == "nobody asks for it any more"
    assert windows.said[1].ends_at == START_MS + MINUTE_MS
    assert not any(isinstance(key, HoldingKey) for key in windows.state.values)


def test_runs_that_have_not_ended_count_for_nothing() -> None:
    """The rate is of those that did."""
    windows = Windows(DEFAULT)
    windows.commit(measured(totals=totals_from(created=1_000)), ended(0, failed=1, succeeded=9), mark(_closes(0)))
    assert _brief(windows) == [("warning", "firing", 0)]


def test_a_window_without_runs_resolves() -> None:
    """As Prometheus judges a rule: where nothing is, nothing holds. At the moment that it would have closed."""
    windows = _minutes(2)
    windows.commit(mark(_closes(1) - 1))
    assert _brief(windows) == [("warning", "firing", 0)]
    windows.commit(mark(_closes(1)))
    assert _brief(windows) == [("warning", "firing", 0), ("warning", "resolved", 0)]
    assert windows.said[1].ends_at == START_MS + MINUTE_MS


def test_a_jump_of_the_watermark_judges_window_after_window() -> None:
    """Each at its own time: the gap in the middle resolves."""
    windows = Windows(DEFAULT)
    windows.commit(*(ended(minute * MINUTE_MS, failed=2, succeeded=8) for minute in (3, 0, 1)), mark(60 * MINUTE_MS))
    assert _brief(windows) == [
        ("warning", "firing", 0),
        ("warning", "resolved", 0),
        ("warning", "firing", 3),
        ("warning", "resolved", 3),
    ]
    closes = [START_MS + _closes(minute) for minute in (0, 2, 3, 4)]
    assert [alert.decided_at for alert in windows.said] == closes


def test_later_revisions_are_not_judged() -> None:
    """rules.md 20: revision 0 only, neither to fire nor to resolve."""
    windows = Windows(DEFAULT)
    windows.commit(ended(0, succeeded=10), ended(MINUTE_MS, failed=10), mark(_closes(1)))
    fired = list(windows.alerts)
    windows.commit(ended(0, failed=90), ended(MINUTE_MS, succeeded=990))
    assert [closing.revision for closing in windows.closings] == [0, 0, 1, 1]
    assert windows.alerts == fired


def test_a_window_that_comes_about_late_is_not_judged() -> None:
    """What is in its first revision depends on where commits are cut."""
    windows = Windows(DEFAULT)
    windows.commit(mark(_closes(1)))
    windows.commit(ended(MINUTE_MS, failed=2, succeeded=8), mark(_closes(1)))
    windows.commit(ended(MINUTE_MS, failed=90), mark(_closes(3)))
    assert [closing.revision for closing in windows.closings] == [0, 1]
    assert windows.alerts == []


def test_a_late_window_says_nothing_about_those_behind_it() -> None:
    """What fires goes on firing until a window behind it does not hold."""
    windows = _minutes(0, 0, 2)
    windows.commit(ended(3 * MINUTE_MS, failed=2, succeeded=8, model="m"), mark(_closes(3) - 1))
    windows.commit(ended(MINUTE_MS, failed=2, succeeded=8, model="late"), ended(0, failed=10))
    windows.commit(mark(_closes(9)))
    for model, told in (("gpt-4o", ["firing", "resolved"]), ("late", []), ("m", ["firing", "resolved"])):
        states = [alert.state for alert in windows.said if alert.subject[2] == model and alert.severity == "warning"]
        assert states == told, model


def test_groups_fail_apart_from_each_other() -> None:
    """Assistant and model."""
    windows = Windows(DEFAULT)
    windows.commit(
        ended(0, failed=2, succeeded=8),
        ended(0, succeeded=10, model="other model"),
        ended(0, failed=5, succeeded=5, assistant=None),
        mark(_closes(0)),
    )
    assert {(alert.subject[1], alert.severity) for alert in windows.said} == {
        ("asst_1", "warning"),
        (None, "warning"),
        (None, "critical"),
    }


def test_only_windows_of_the_size_that_was_set_are_judged() -> None:
    """Others may be there for those who sum up."""
    rules = structs.replace(
        DEFAULT, sizes_ms=(MINUTE_MS, 5 * MINUTE_MS), conditions=(FailureRules(window_ms=5 * MINUTE_MS, min_ended=10),)
    )
    windows = Windows(rules)
    windows.commit(*(ended(minute * MINUTE_MS, failed=1, succeeded=3) for minute in range(3)), mark(_closes(4)))
    assert _brief(windows) == [("warning", "firing", 0)]
    windows.commit(mark(_closes(9)))
    assert _brief(windows)[1:] == [("warning", "resolved", 0)]


def test_which_outcomes_are_failures_is_set() -> None:
    """Expired runs, say."""
    rules = FailureRules(min_ended=2, outcomes=frozenset(("failed", "expired")))
    totals = totals_from(runs={outcome: [1] for outcome in ("failed", "expired", "succeeded", "cancelled")})
    assert rules.rate(totals) == (2, 4)
    found = rules.judge(("a", "m"), START_MS, totals) or ()
    assert [severity for severity, _ in found] == [Severity.WARNING, Severity.CRITICAL]


def test_what_fires_survives_a_restart() -> None:
    """It is not said again, and it is resolved."""
    windows = _minutes(2)
    windows.restart()
    windows.commit(ended(MINUTE_MS, failed=2, succeeded=8), mark(_closes(1)))
    windows.restart()
    windows.commit(mark(_closes(2)))
    assert _brief(windows) == [("warning", "firing", 0), ("warning", "resolved", 0)]
    assert windows.said[1].ends_at == START_MS + 2 * MINUTE_MS


@pytest.mark.parametrize("rate", [0.01, 0.07, 0.1, 0.29, 0.3, 0.57, 0.58, 1.0])
def test_a_rate_of_exactly_the_limit_holds(rate: float) -> None:
    """Binary fractions notwithstanding: 7 of 100 are 7 %."""
    failed = round(rate * 100)
    windows = Windows(structs.replace(DEFAULT, conditions=(FailureRules(thresholds=((Severity.WARNING, rate),)),)))
    windows.commit(
        ended(0, failed=failed, succeeded=100 - failed),
        ended(0, assistant="b", failed=failed - 1, succeeded=101 - failed),
    )
    windows.commit(mark(_closes(0)))
    assert [alert.subject[1] for alert in windows.said] == ["asst_1"]


def test_a_critical_rate_needs_no_warning() -> None:
    """Nothing failed is no failure rate, whatever the limit."""
    windows = Windows(
        structs.replace(DEFAULT, conditions=(FailureRules(min_ended=1, thresholds=((Severity.CRITICAL, 0.0),)),))
    )
    windows.commit(ended(0, succeeded=10), mark(_closes(0)))
    assert windows.alerts == []
