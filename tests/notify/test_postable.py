"""A RunAlert as Alertmanager takes it: identity in the labels, the rest in annotations, an end in any case."""

from typing import Any

import pytest

from streamproc.core.alerts import Alert, kinds_of
from streamproc.core.profiles import PROFILES
from streamproc.notify.board import AlertTable
from streamproc.notify.config import IDENTITY, MAX_LABEL_CHARS
from streamproc.notify.naming import alert_name, page_name
from streamproc.notify.postable import AlertRenderer
from streamproc.runtime.feed import Start
from tests.support.alerts import MINUTE_MS, START_MS, firing, resolved
from tests.support.prometheus import ROOT


def rendered(*alerts: Alert, now: int = 0, **settings: Any) -> dict[str, Any]:
    """Return what is sent after these records of one alert."""
    board = AlertTable(10)
    board.assign({0: Start(None, 0, 0)})
    for offset, alert in enumerate(alerts):
        board.take(0, offset, alert, alert.decided_at, START_MS + now)
    (held,) = board.due("am", 60, 0)
    values = {"labels": {}, "resend_s": 60, "generator_url": None, "runbooks_url": None, **settings}
    return AlertRenderer(application="app", **values)(held, START_MS + now)


def test_labels_say_what_it_is_and_annotations_the_rest():
    assert rendered(firing(), labels={"cluster": "eu"}, runbooks_url="https://r/", generator_url="https://g") == {
        "labels": {
            "alertname": "StreamprocRunsStuckInQueued",
            "severity": "warning",
            "kind": "stuck_queued",
            "alert_id": "stuck_queued:run_1:7",
            "run_id": "run_1",
            "assistant": "asst_1",
            "model": "gpt-4o",
            "application": "app",
            "cluster": "eu",
        },
        "annotations": {
            "summary": "run_1 has not moved on",
            "status": "queued",
            "thread_id": "thread_1",
            "deadline_at": "2024-06-01T00:00:00.000Z",
            "source": "run-events:3:7",
            "runbook_url": "https://r/StreamprocRunsStuckInQueued.md",
        },
        "startsAt": "2024-06-01T00:00:00.000Z",
        "endsAt": "2024-06-01T00:04:00.000Z",
        "generatorURL": "https://g",
    }


def test_with_a_console_the_link_is_the_runs_page():
    """Rule: a `generator_url` goes before it; what is about no run leads to all alerts."""
    console = {"console_url": "https://c"}
    assert rendered(firing(run="a/b"), **console)["generatorURL"] == "https://c/runs/a%2Fb"
    assert rendered(firing(run_id=None), **console)["generatorURL"] == "https://c/alerts"
    assert rendered(firing(), **console, generator_url="https://g")["generatorURL"] == "https://g"
    assert "generatorURL" not in rendered(firing())


def test_the_link_does_not_change_when_it_resolves():
    """Rule: both lead to the run that it began with."""
    before, after = firing(), resolved(run_id="another")
    links = [rendered(*alerts, console_url="https://c")["generatorURL"] for alerts in ([before], [before, after])]
    assert links == ["https://c/runs/run_1"] * 2


def test_the_settings_may_name_no_label_that_every_alert_has():
    assert set(rendered(firing())["labels"]) == set(IDENTITY)


def test_the_identity_does_not_change_when_it_resolves():
    """Whatever the run looks like by then; else it would never be resolved there."""
    before = rendered(firing())
    after = rendered(firing(), resolved(status="completed", model="other", assistant_id=None), now=MINUTE_MS)
    assert after["labels"] == before["labels"]
    assert after["annotations"]["status"] == "completed"


def test_a_firing_alert_ends_by_itself_unless_it_is_sent_again():
    """Four intervals, as Prometheus has it: an alert of a dead service does not fire for ever."""
    assert rendered(firing(), now=10 * MINUTE_MS, resend_s=15)["endsAt"] == "2024-06-01T00:11:00.000Z"


@pytest.mark.parametrize(
    ("ends_at", "expected"),
    [
        (MINUTE_MS, "00:01:00.000"),
        (-MINUTE_MS, "00:00:00.000"),
        (60 * MINUTE_MS, "00:02:00.000"),
        (None, "00:02:00.000"),
    ],
    ids=["as it says", "not before its start", "not in the future", "unknown"],
)
def test_a_resolved_alert_says_when(ends_at, expected):
    when = None if ends_at is None else START_MS + ends_at
    end = resolved(ends_at=when, decided_at=START_MS + 2 * MINUTE_MS)
    assert rendered(firing(), end, now=2 * MINUTE_MS)["endsAt"] == f"2024-06-01T{expected}Z"


def test_an_occurrence_has_the_end_that_it_says():
    alert = firing(kind="illegal", ends_at=START_MS + 10 * MINUTE_MS)
    assert rendered(alert)["endsAt"] == "2024-06-01T00:10:00.000Z"


def test_a_start_in_the_future_is_now():
    assert rendered(firing(since=START_MS + MINUTE_MS))["startsAt"] == "2024-06-01T00:00:00.000Z"


def test_what_there_is_not_is_left_out():
    """Alertmanager takes an empty label for none; a rate is about no run."""
    nothing = dict.fromkeys(("run_id", "thread_id", "assistant_id", "model", "status", "deadline_at", "source_topic"))
    sent = rendered(firing(**nothing))
    assert set(sent["labels"]) == {"alertname", "severity", "kind", "alert_id", "application"}
    assert set(sent["annotations"]) == {"summary"}


def test_values_are_bounded_and_stay_apart():
    long = "m" * 10_000
    one, other = (rendered(firing(model=long + end, summary=long))["labels"]["model"] for end in "ab")
    assert len(one) == len(other) == MAX_LABEL_CHARS
    assert one != other
    assert len(rendered(firing(summary=long))["annotations"]["summary"]) == 1_000


def test_times_of_no_calendar_are_those_at_its_end():
    assert rendered(firing(deadline_at=2**62))["annotations"]["deadline_at"] == "9999-12-31T23:59:59.999Z"


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_each_kind_of_every_profile_links_a_page_that_exists(profile):
    """Rule: whatever is pushed, of a profile of one's own too, names a page that somebody has written."""
    for kind in (*kinds_of(profile.documented), "stuck_BLOCKED"):
        url = rendered(firing(kind=kind), runbooks_url="https://wiki.example/")["annotations"]["runbook_url"]
        assert url == f"https://wiki.example/{page_name(kind)}.md"
        assert (ROOT / "deploy" / "runbooks" / f"{page_name(kind)}.md").is_file()


def test_a_status_without_a_page_of_its_own_has_the_one_for_all():
    """Rule: a page is for a rule; `stuck_progress` is not `stuck_in_progress`, though their names are alike."""
    pages = {status: page_name(f"stuck_{status}") for status in ("queued", "in_progress", "progress", "PENDING")}
    assert pages == {
        "queued": "StreamprocRunsStuckInQueued",
        "in_progress": "StreamprocRunsStuckInProgress",
        "progress": "StreamprocRunsStuck",
        "PENDING": "StreamprocRunsStuck",
    }


def test_kinds_of_other_profiles_have_names_too():
    assert alert_name("stuck_pending") == "StreamprocRunsStuckInPending"
    assert alert_name("stuck_interrupted") == "StreamprocRunsStuckInInterrupted"
    assert alert_name("something-new_here") == "StreamprocSomethingNewHere"
