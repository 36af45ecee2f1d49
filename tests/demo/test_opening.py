"""The demo's first ten seconds: something to see on each page of its console, whatever the seed."""

from itertools import islice

import pytest

from streamproc.codec.decode import decode
from streamproc.core.alerts import AlertKind, AlertState
from streamproc.core.model import Moment, Verdict
from streamproc.core.state import State
from streamproc.core.step import begin, pass_time, step
from streamproc.demo import source
from streamproc.demo.command import _for_a_short_while
from streamproc.settings.service import Settings
from tests.support.books import bundled_book
from tests.support.runobjects import Arrived

SECONDS = 10
START_MS = 1_800_000_000_000


@pytest.fixture
def first_seconds(monkeypatch):
    """Fold what the demo sends in its first seconds, by its own rules; return the outcome and the dead letters."""
    monkeypatch.setattr(source.time, "time", lambda: START_MS / 1000)

    def folded(seed):
        state, book = State(_for_a_short_while(Settings()).rules()), bundled_book()
        stream = source._events(source.new_load(seed, None, None, opening=True))
        outcome, rejected = begin(state), []
        for second in range(SECONDS):
            sent_ms = START_MS + second * 1000
            events = enumerate(islice(stream, int(source.RATE_PER_S)), second * int(source.RATE_PER_S))
            found = decode([Arrived(offset, event.value, sent_ms, event.key) for offset, event in events], book)
            rejected += found.rejections
            at = Moment(sent_ms + 1000, caught_up=True)
            outcome = pass_time(state, at, step(state, found.events, at, outcome))
        return outcome, rejected

    return folded


@pytest.mark.parametrize("seed", range(20))
def test_what_the_console_has_a_page_for_comes_within_ten_seconds(first_seconds, seed):
    """Rule: a run that waits for action, one that failed, one with two ends, dead letters, an alert firing."""
    outcome, rejected = first_seconds(seed)
    statuses = {run.status for run in outcome.runs.values() if run}
    assert {"requires_action", "failed", "completed"} <= statuses
    assert outcome.tally.verdicts[Verdict.ILLEGAL] >= 1
    assert len(rejected) >= 3
    gone = {alert.alert_id for alert in outcome.alerts if alert.state is AlertState.RESOLVED}
    firing = [alert for alert in outcome.alerts if alert.kind == AlertKind.OVERDUE and alert.alert_id not in gone]
    assert any(alert.status == "requires_action" for alert in firing)


def test_only_the_demo_has_an_opening():
    """Rule: what `simulate` sends is as even at the start as later."""
    assert not source.new_load(1, None, None).opening
