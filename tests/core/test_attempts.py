"""Runs that begin again under their id, where a profile says which ends may be left, and to where (rules.md 13)."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.model import Moment, Run, RunEvent, Verdict
from streamproc.core.profiles import ASSISTANTS, PROFILES
from streamproc.core.rules import Rules
from streamproc.core.state import CommitOutcome, State
from streamproc.core.step import begin, step
from streamproc.core.summary import Summary
from tests.support.events import RETENTION, START_MS, event
from tests.support.sums import summary_of_all

AGAIN = replace(
    ASSISTANTS, name="again", reopened={"failed": frozenset(("queued", "completed")), "expired": frozenset(("queued",))}
)
RULES = Rules(AGAIN, RETENTION)
SECOND_S = START_MS // 1000


def _fold(state: State, *events: RunEvent) -> CommitOutcome:
    out = step(state, events, Moment(START_MS + 10_000, caught_up=False), begin(state))
    state.merge(out)
    return out


def _summary(out: CommitOutcome) -> Summary:
    return summary_of_all(out.tally)


@pytest.fixture
def state() -> State:
    """A partition under a profile with further attempts."""
    return State(RULES)


FAILED = (
    event("queued", offset=0),
    event("in_progress", at=1_000, offset=1, started_at=SECOND_S + 1),
    event(
        "failed",
        at=4_000,
        offset=2,
        started_at=SECOND_S + 1,
        failed_at=SECOND_S + 4,
        expires_at=SECOND_S + 600,
        usage=(1, 2, 3),
        error_code="server_error",
    ),
)
OLD = {"started_at": SECOND_S + 1, "failed_at": SECOND_S + 4}
"""What an object may still hold of the attempt before."""


def test_a_new_attempt_begins_with_nothing_of_the_one_before(state: State) -> None:
    """Its number, and its own start, end, tokens, error; what the object still holds of the former is left out."""
    _fold(state, *FAILED)
    out = _fold(state, event("queued", at=60_000, offset=3, expires_at=SECOND_S + 1, usage=None, **OLD))
    run = state.runs["run_1"]
    assert (run.attempt, run.transitions, run.status) == (2, 4, "queued")
    assert (run.created_at, run.started_at, run.expires_at, run.ended_at) == (SECOND_S + 60, None, None, None)
    assert (run.usage, run.error_code, run.alerts) == (None, None, ())
    assert (run.thread_id, run.assistant_id, run.model) == ("thread_1", "asst_1", "gpt-4o")
    [change] = out.transitions
    assert (change.attempt, change.from_status, change.expected, change.in_from_ms) == (2, "failed", True, 56_000)
    assert out.tally.verdicts == {Verdict.APPLIED: 1}


def test_what_the_object_still_holds_of_the_end_before_is_not_the_attempts(state: State) -> None:
    """Neither its error nor its tokens, in the state or in the transition; others are its own."""
    _fold(state, *FAILED)
    out = _fold(state, event("queued", at=60_000, offset=3, usage=(1, 2, 3), error_code="server_error"))
    assert [change.error_code for change in out.transitions] == [None]
    assert (state.runs["run_1"].usage, state.runs["run_1"].error_code) == (None, None)
    fresh = State(RULES)
    _fold(fresh, *FAILED)
    out = _fold(fresh, event("queued", at=60_000, offset=3, usage=(0, 0, 0), error_code="preempted"))
    assert [change.error_code for change in out.transitions] == ["preempted"]
    assert (fresh.runs["run_1"].usage, fresh.runs["run_1"].error_code) == ((0, 0, 0), "preempted")


def test_each_attempt_is_measured_as_a_run_of_its_own(state: State) -> None:
    """Windows count both: creation, end, tokens, error, wait and duration."""
    first = _summary(_fold(state, *FAILED))
    second = _summary(
        _fold(
            state,
            event("queued", at=60_000, offset=3, **OLD),
            event("in_progress", at=63_000, offset=4, started_at=SECOND_S + 63),
            event("completed", at=70_000, offset=5, completed_at=SECOND_S + 70, usage=(10, 20, 30)),
        )
    )
    assert (first.created, first.ended, first.errors) == (1, {"failed": 1}, {"server_error": 1})
    assert (second.created, second.ended, second.errors) == (1, {"succeeded": 1}, {})
    assert (first.tokens, second.tokens) == ({"prompt": 1, "completion": 2}, {"prompt": 10, "completion": 20})
    assert (first.queue_wait.sum_ms, second.queue_wait.sum_ms) == (1_000, 3_000)
    assert (first.run_duration.sum_ms, second.run_duration.sum_ms) == (4_000, 10_000)
    assert second.transitions == {"queued": 1, "in_progress": 1, "completed": 1}


def test_a_creation_of_its_own_is_the_attempts(state: State) -> None:
    """Where the object tells a later one than the attempt before ended at."""
    _fold(state, *FAILED)
    _fold(state, event("queued", at=60_000, offset=3, created_at=SECOND_S + 50))
    assert state.runs["run_1"].created_at == SECOND_S + 50


def test_the_end_of_the_attempt_before_is_never_that_of_the_next(state: State) -> None:
    """Where a producer sets it once: the attempt ends when its event says so."""
    _fold(state, *FAILED)
    out = _fold(state, event("queued", at=60_000, offset=3, **OLD), event("failed", at=200_000, offset=4, **OLD))
    assert (state.runs["run_1"].created_at, state.runs["run_1"].ended_at) == (SECOND_S + 60, None)
    assert _summary(out).run_duration.sum_ms == 140_000


def test_a_producers_clock_behind_kafkas_costs_an_attempt_no_time(state: State) -> None:
    """What is the attempt's own is told by the end of the one before, which the same clock gave."""
    _fold(state, *FAILED)
    _fold(
        state,
        event("queued", at=63_000, offset=3),
        event("in_progress", at=64_000, offset=4, started_at=SECOND_S + 61),
        event("completed", at=65_000, offset=5, started_at=SECOND_S + 61, completed_at=SECOND_S + 62),
    )
    run = state.runs["run_1"]
    assert (run.created_at, run.started_at, run.ended_at) == (SECOND_S + 63, SECOND_S + 61, SECOND_S + 62)
    assert run.previous_end == SECOND_S + 4


def test_what_is_told_of_an_end_later_is_of_its_attempt_too(state: State) -> None:
    """An event that first brings the tokens may still hold the times of the attempt before."""
    _fold(state, *FAILED)
    _fold(state, event("completed", at=900_000, offset=3))
    _fold(state, event("completed", at=901_000, offset=4, usage=(1, 2, 3), **OLD))
    run = state.runs["run_1"]
    assert (run.started_at, run.usage, run.created_at) == (None, (1, 2, 3), None)


def test_an_attempt_of_which_only_the_end_is_heard_has_no_duration(state: State) -> None:
    """rules.md 15: nothing tells when it began. It ended all the same."""
    _fold(state, *FAILED)
    totals = _summary(_fold(state, event("completed", at=70_000, offset=3, completed_at=SECOND_S + 70)))
    assert (totals.ended, totals.run_duration.count) == ({"succeeded": 1}, 0)
    assert (state.runs["run_1"].attempt, state.runs["run_1"].ended_at) == (2, SECOND_S + 70)


def test_alerts_are_of_an_attempt(state: State) -> None:
    """rules.md 21: a second end is told for each attempt; the offset in its id tells them apart."""
    _fold(state, *FAILED)
    first = _fold(state, event("cancelled", at=5_000, offset=3))
    _fold(state, event("queued", at=6_000, offset=4), event("failed", at=7_000, offset=5))
    second = _fold(state, event("cancelled", at=8_000, offset=6))
    assert [alert.alert_id for out in (first, second) for alert in out.alerts] == [
        "illegal:run_1:failed:cancelled:2",
        "illegal:run_1:failed:cancelled:5",
    ]


@pytest.mark.parametrize(
    ("start", "to", "verdict"),
    [
        ("failed", "queued", Verdict.APPLIED),
        ("failed", "completed", Verdict.APPLIED),
        ("failed", "in_progress", Verdict.STALE),
        ("failed", "cancelled", Verdict.ILLEGAL),
        ("failed", "failed", Verdict.DUPLICATE),
        ("completed", "queued", Verdict.STALE),
        ("completed", "failed", Verdict.ILLEGAL),
    ],
)
def test_only_what_the_profile_names_is_a_new_attempt(state: State, start: str, to: str, verdict: Verdict) -> None:
    """rules.md 13 stands for all else."""
    out = _fold(state, event(start, offset=0), event(to, at=1, offset=1))
    assert out.tally.verdicts == Counter((Verdict.APPLIED, verdict))
    assert state.runs["run_1"].attempt == (2 if verdict is Verdict.APPLIED else 1)


def test_built_in_profiles_have_none() -> None:
    """They stay as they are."""
    assert [profile.name for profile in PROFILES.values() if profile.reopened] == []


@given(st.lists(st.sampled_from((*AGAIN.statuses, "paused")), min_size=1, max_size=20))
def test_an_attempt_is_one_end_and_then_a_beginning(statuses: list[str]) -> None:
    """Transitions tell the attempts in their order, one more for each end that is left; the state tells the last."""
    state = State(RULES)
    out = _fold(state, *(event(status, at=number * 1_000, offset=number) for number, status in enumerate(statuses)))
    changes, attempt = out.transitions, 1
    for change in changes:
        attempt += change.from_status in AGAIN.outcomes
        assert change.attempt == attempt
    run: Run = state.runs["run_1"]
    assert (run.attempt, run.transitions) == (attempt, len(changes))
    totals, ends = _summary(out), sum(change.outcome is not None for change in changes)
    assert (totals.created, sum(totals.ended.values())) == (attempt, ends)
