"""Verdicts and merge rules by example (rules.md 12 to 15, docs/domain.md 2)."""

import pytest

from streamproc.core.model import Verdict
from streamproc.core.summary import Histogram
from tests.support.events import START_MS, event, fold, new_state
from tests.support.sums import summary_of_all

CREATED = START_MS // 1000


def test_an_identical_queued_event_is_a_duplicate() -> None:
    """docs/domain.md 2: the created event is followed by an identical queued one."""
    state = new_state()
    outcome = fold(state, event("queued"), event("queued", at=5))
    assert outcome.tally.verdicts == {Verdict.APPLIED: 1, Verdict.DUPLICATE: 1}
    assert len(outcome.transitions) == 1
    assert state.runs["run_1"].offset == 0


def test_same_bytes_under_another_schema_are_no_duplicate() -> None:
    """Rule 12: same schema id *and* bytes."""
    state = new_state()
    first = event("queued", payload=b"x")
    outcome = fold(state, first, event("queued", at=1, payload=b"x", schema="id:7"))
    assert outcome.tally.verdicts == {Verdict.APPLIED: 2}
    assert state.runs["run_1"].event_schema == "id:7"


def test_other_content_rewrites_the_state_without_a_transition() -> None:
    """Rule 12: same status, other content, not terminal."""
    state = new_state()
    fold(state, event("in_progress"))
    outcome = fold(state, event("in_progress", at=9, started_at=CREATED + 1))
    run = state.runs["run_1"]
    assert outcome.transitions == []
    assert (run.started_at, run.transitions, run.status_since) == (CREATED + 1, 1, START_MS)


def test_a_terminal_run_takes_late_usage_and_a_late_error_once() -> None:
    """Rule 12: DUPLICATE unless it first brings usage or an error; tokens count once."""
    state = new_state()
    fold(state, event("failed"))
    usage = fold(state, event("failed", at=1, usage=(1, 2, 3)))
    error = fold(state, event("failed", at=2, usage=(9, 9, 9), error_code="server_error"))
    again = fold(state, event("failed", at=3, usage=(8, 8, 8), error_code="other"))
    assert [set(step.tally.verdicts) for step in (usage, error, again)] == [
        {Verdict.APPLIED},
        {Verdict.APPLIED},
        {Verdict.DUPLICATE},
    ]
    assert summary_of_all(usage.tally).tokens == {"prompt": 1, "completion": 2}
    assert not summary_of_all(error.tally).tokens
    assert summary_of_all(error.tally).errors == {"server_error": 1}
    assert state.runs["run_1"].error_code == "server_error"
    assert not usage.transitions


def test_tokens_are_counted_once_at_the_end() -> None:
    """docs/domain.md 2: usage may be set at requires_action already."""
    state = new_state()
    waiting = fold(state, event("requires_action", usage=(5, 5, 10)))
    ended = fold(state, event("completed", at=9, usage=(7, 8, 15)))
    assert not summary_of_all(waiting.tally).tokens
    assert summary_of_all(ended.tally).tokens == {"prompt": 7, "completion": 8}


@pytest.mark.parametrize("early", [(10, 1, 11), (0, 0, 0)])
def test_tokens_are_those_of_the_end_whatever_came_before(early: tuple[int, int, int]) -> None:
    """rules.md 12: the first event of the end that has them wins; once."""
    state = new_state()
    waiting = fold(state, event("requires_action", usage=early))
    assert state.runs["run_1"].usage == early, "while it is open: the last that was seen"
    ended = fold(state, event("completed", at=1))
    assert state.runs["run_1"].usage is None
    final = fold(state, event("completed", at=2, usage=(500, 70, 570)))
    again = fold(state, event("completed", at=3, usage=(900, 90, 990)))
    assert state.runs["run_1"].usage == (500, 70, 570)
    counted = [summary_of_all(outcome.tally).tokens for outcome in (waiting, ended, final, again)]
    assert counted == [{}, {}, {"prompt": 500, "completion": 70}, {}]


def test_news_of_the_end_take_nothing_back() -> None:
    """rules.md 12: an event that first brings the error does not change the tokens that were counted."""
    state = new_state()
    fold(state, event("failed", usage=(1, 2, 3)))
    outcome = fold(state, event("failed", at=1, usage=(7, 7, 14), error_code="server_error"))
    assert (state.runs["run_1"].usage, state.runs["run_1"].error_code) == ((1, 2, 3), "server_error")
    assert (summary_of_all(outcome.tally).tokens, summary_of_all(outcome.tally).errors) == ({}, {"server_error": 1})


def test_an_error_that_was_got_over_is_not_the_runs() -> None:
    """rules.md 12: it is in the transitions; state, transition and metric of the end say none."""
    state = new_state()
    fold(state, event("in_progress", error_code="rate_limit_exceeded"))
    assert state.runs["run_1"].error_code == "rate_limit_exceeded"
    fold(state, event("in_progress", at=1, required_tools=("a",)))
    assert state.runs["run_1"].error_code == "rate_limit_exceeded", "the status goes on"
    outcome = fold(state, event("completed", at=2))
    assert state.runs["run_1"].error_code is None
    assert [change.error_code for change in outcome.transitions] == [None]
    assert not summary_of_all(outcome.tally).errors


def test_the_first_started_at_stays() -> None:
    """docs/domain.md 2: it moves when a run resumes, and may be null at first."""
    state = new_state()
    fold(
        state,
        event("in_progress"),
        event("in_progress", at=1, started_at=CREATED + 2),
        event("requires_action", at=2, started_at=CREATED + 2),
        event("queued", at=3, started_at=CREATED + 2),
        event("in_progress", at=4, started_at=CREATED + 60),
    )
    assert state.runs["run_1"].started_at == CREATED + 2


def test_the_last_expires_at_that_was_not_null_stays() -> None:
    """docs/domain.md 2: created_at + 600, then null once terminal."""
    state = new_state()
    fold(state, event("queued", expires_at=CREATED + 600), event("completed", at=1))
    assert state.runs["run_1"].expires_at == CREATED + 600


def test_the_end_is_the_time_that_belongs_to_the_terminal_status() -> None:
    """docs/domain.md 2: cancelled_at may be set while cancelling; incomplete sets completed_at."""
    state = new_state()
    fold(state, event("cancelling", cancelled_at=CREATED + 3))
    assert state.runs["run_1"].ended_at is None
    fold(state, event("completed", at=1, cancelled_at=CREATED + 3, completed_at=CREATED + 5))
    assert state.runs["run_1"].ended_at == CREATED + 5
    fold(state, event("incomplete", run="run_2", completed_at=CREATED + 8))
    assert state.runs["run_2"].ended_at == CREATED + 8


def test_a_transition_says_how_long_the_previous_status_took() -> None:
    """Rule 15: the difference of two Kafka timestamps, never below 0."""
    state = new_state()
    outcome = fold(state, event("queued"), event("in_progress", at=250), event("completed", at=100, offset=300))
    assert [change.in_from_ms for change in outcome.transitions] == [None, 250, 0]
    assert [change.from_status for change in outcome.transitions] == [None, "queued", "in_progress"]
    assert [change.outcome for change in outcome.transitions] == [None, None, "succeeded"]


def test_durations_come_from_the_run_object_else_from_kafka() -> None:
    """Rule 15."""
    state = new_state()
    known = fold(
        state,
        event("queued", run="a"),
        event("in_progress", run="a", at=100, started_at=CREATED + 4),
        event("completed", run="a", at=200, completed_at=CREATED + 30),
    )
    assert summary_of_all(known.tally).queue_wait == Histogram(4_000, {"5000": 1})
    assert summary_of_all(known.tally).runs == {"succeeded": Histogram(30_000, {"30000": 1})}
    unknown = fold(
        state,
        event("queued", run="b", created_at=None),
        event("in_progress", run="b", at=1_500, created_at=None),
        event("expired", run="b", at=9_000, created_at=None),
    )
    assert summary_of_all(unknown.tally).queue_wait == Histogram(1_500, {"2000": 1})
    assert summary_of_all(unknown.tally).runs == {"expired": Histogram(9_000, {"10000": 1})}


def test_waiting_for_tools_is_measured_each_time() -> None:
    """The time between requires_action and what follows it."""
    state = new_state()
    outcome = fold(
        state,
        event("requires_action"),
        event("queued", at=2_000),
        event("requires_action", at=3_000),
        event("in_progress", at=3_500),
    )
    assert summary_of_all(outcome.tally).action_wait == Histogram(2_500, {"2000": 1, "500": 1})


def test_late_and_illegal_arrivals_change_nothing_and_are_counted() -> None:
    """Rules 13 and 24: counted as anomalies; all that an illegal one leaves behind is the note that it was told."""
    state = new_state()
    fold(state, event("completed", completed_at=CREATED + 1))
    before = state.runs["run_1"]
    outcome = fold(state, event("in_progress", at=1), event("failed", at=2), event("paused", at=3))
    assert outcome.transitions == []
    assert [alert.kind for alert in outcome.alerts] == ["illegal"]
    before.alerts = (outcome.alerts[0].alert_id,)
    assert state.runs["run_1"] == before
    assert outcome.tally.verdicts == {Verdict.STALE: 2, Verdict.ILLEGAL: 1}
    assert outcome.tally.anomalies == {"stale": 2, "illegal": 1, "unknown_status": 1}


def test_keys_are_ignored_but_counted_when_absent_or_different() -> None:
    """Rule 1: producers key by run or thread."""
    state = new_state()
    outcome = fold(
        state,
        event("queued", key=None),
        event("in_progress", at=1, key=b"run_1"),
        event("requires_action", at=2, key=b"thread_1"),
        event("queued", at=3, key=b"\xff"),
    )
    assert outcome.tally.anomalies == {"key_absent": 1, "key_mismatch": 1}


def test_ids_that_are_missing_later_are_kept() -> None:
    """Nearly everything is optional; what was known stays known."""
    state = new_state()
    outcome = fold(state, event("queued"), event("in_progress", at=1, thread_id=None, assistant_id=None, model=None))
    run, change = state.runs["run_1"], outcome.transitions[1]
    assert (run.thread_id, run.assistant_id, run.model) == ("thread_1", "asst_1", "gpt-4o")
    assert (change.thread_id, change.assistant_id, change.model) == ("thread_1", "asst_1", "gpt-4o")
