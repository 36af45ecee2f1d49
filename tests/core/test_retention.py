"""When runs are forgotten (rules.md 16 and 17)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.calendar import NEVER
from streamproc.core.model import Moment, RunEvent, Verdict
from streamproc.core.state import CommitOutcome, State
from streamproc.core.step import begin, pass_time, step
from tests.support.events import RETENTION, START_MS, event, fold, new_state, streams

DAY_MS = 86_400_000


def _tick(state: State, now: int, *, caught_up: bool = True) -> CommitOutcome:
    """One commit caused by the clock."""
    outcome = pass_time(state, Moment(now, caught_up), begin(state))
    state.merge(outcome)
    return outcome


def test_an_ended_run_is_forgotten_a_day_after_the_commit_that_ended_it() -> None:
    """By the commit's wall clock, not by the event's time."""
    state = new_state()
    fold(state, event("completed"), at=50_000)
    assert not _tick(state, START_MS + 50_000 + DAY_MS - 1).runs
    outcome = _tick(state, START_MS + 50_000 + DAY_MS + 100_000)
    assert outcome.runs == {"run_1": None}
    assert outcome.forgotten == {"run_1": 0}
    assert state.runs == {}


def test_an_open_run_is_forgotten_a_week_after_its_last_applied_event() -> None:
    """A later event moves the day back."""
    state = new_state()
    fold(state, event("queued"), event("in_progress", at=DAY_MS), at=DAY_MS)
    assert not _tick(state, START_MS + 7 * DAY_MS + DAY_MS - 1).runs
    assert _tick(state, START_MS + 8 * DAY_MS + 200_000).runs == {"run_1": None}


def test_a_backlog_forgets_nothing_by_the_wall_clock() -> None:
    """Rule 16: the events that would keep the run are there, unread."""
    state = new_state()
    fold(state, event("queued"))
    assert not _tick(state, START_MS + 30 * DAY_MS, caught_up=False).runs
    assert _tick(state, START_MS + 30 * DAY_MS, caught_up=True).runs == {"run_1": None}


def test_a_later_event_opens_a_forgotten_run_anew() -> None:
    """Rule 17; also within the same commit."""
    state = new_state()
    fold(state, event("completed", usage=(1, 1, 2)))
    late = event("completed", at=3 * DAY_MS, usage=(1, 1, 2))
    outcome = fold(state, late, at=3 * DAY_MS)
    assert outcome.tally.verdicts == {Verdict.APPLIED: 1}
    assert outcome.transitions[0].from_status is None
    assert state.runs["run_1"].transitions == 1


def test_a_run_forgotten_and_opened_anew_leaves_no_tombstone() -> None:
    """Only the last state of a run is written in one commit."""
    state = new_state()
    fold(state, event("queued"))
    now = START_MS + 8 * DAY_MS
    outcome = pass_time(state, Moment(now, caught_up=True), begin(state))
    step(state, [event("queued", at=8 * DAY_MS)], Moment(now, caught_up=True), outcome)
    assert outcome.runs["run_1"] is not None
    assert outcome.forgotten == {}
    assert state.live_after(outcome.runs) == 1


def test_an_event_far_ahead_of_the_clock_forgets_nobody() -> None:
    """A producer's wrong clock must not move stream time (MAX_AHEAD_MS)."""
    state = new_state()
    fold(state, event("queued"), event("queued", run="run_2", at=365 * DAY_MS), event("in_progress", at=1), at=2)
    assert state.runs["run_1"].transitions == 2
    assert state.stream_time == START_MS + 1


@given(streams(), st.integers(0, 15))
def test_exactly_the_due_runs_are_forgotten(events: list[RunEvent], days: int) -> None:
    """None before its time; each at the latest a bucket's width after it."""
    state = new_state()
    fold(state, *events)
    now = START_MS + days * DAY_MS
    due = {run_id for run_id, run in state.runs.items() if state.due_at(run) <= now}
    kept = state.runs.keys() - due
    _tick(state, now)
    slack = RETENTION.terminal_ms // 1000
    assert kept <= state.runs.keys()
    assert all(state.due_at(run) > now - slack - 1_000 for run in state.runs.values())
    _tick(state, now + 2 * slack)
    assert not due & state.runs.keys()


def test_one_commit_forgets_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replayed backlog ends in few buckets; the rest follows in the next commits, none is left out."""
    monkeypatch.setattr("streamproc.core.step.MAX_FORGOTTEN_PER_COMMIT", 10)
    state = new_state()
    fold(state, *(event("completed", run=f"run_{number}") for number in range(35)))
    now = START_MS + 3 * DAY_MS
    assert [len(_tick(state, now).runs) for _ in range(5)] == [10, 10, 10, 5, 0]
    assert len(state.runs) == 0


def test_ids_do_not_outlive_their_runs_in_the_calendar() -> None:
    """An idle partition comes past buckets in which nothing is due, and drops ids of runs that are gone."""
    state = new_state()
    fold(state, event("queued"), event("queued", run="run_2"))
    fold(state, event("completed", at=1), at=1)
    for day in range(1, 9):
        _tick(state, START_MS + day * DAY_MS + 200_000)
    assert len(state.runs) == 0
    assert state.forgetting.next_at == NEVER


def test_an_open_run_from_far_ahead_is_forgotten_in_the_end() -> None:
    """Retention never counts from a time that is not believed."""
    state = new_state()
    fold(state, event("queued", at=3_650 * DAY_MS), at=0)
    assert _tick(state, START_MS + 8 * DAY_MS).runs == {"run_1": None}
