"""Payloads that are let go for want of room (rules.md 17): of runs that the clock would have forgotten."""

import pytest

from streamproc.core.model import Verdict
from streamproc.core.payloads import LET_GO
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import State
from tests.support.events import START_MS, event, fold

ENDED = event("completed", run="run_1", at=2)


@pytest.fixture
def state() -> State:
    state = State(Rules(ASSISTANTS, Retention(terminal_ms=60_000, open_ms=70_000)))
    fold(state, event("queued", run="run_1"), event("queued", run="run_2", at=1), ENDED, at=10)
    return state


def _payload(state: State, run_id: str) -> int:
    run = state.runs.get(run_id)
    assert run is not None
    return run.payload


def test_only_ended_runs_whose_retention_is_over_lose_theirs(state: State) -> None:
    state.let_go(START_MS + 50_000)
    assert _payload(state, "run_1") > 0
    state.let_go(START_MS + 1_000_000)
    assert _payload(state, "run_1") == LET_GO
    assert _payload(state, "run_2") > 0, "what fires for it is written with its event"
    assert state.payloads.usage().in_memory == 1
    assert state.live_keys == 2, "nothing is forgotten by it"


def test_events_are_judged_as_before(state: State) -> None:
    state.let_go(START_MS + 1_000_000)
    out = fold(state, event("queued", run="run_1", at=3), event("completed", run="run_1", at=4), ENDED, at=20)
    assert out.tally.verdicts == {Verdict.STALE: 1, Verdict.DUPLICATE: 2}
    assert out.runs == {}
    late = fold(state, event("completed", run="run_1", at=5, usage=(1, 2, 3)), at=30)
    assert late.tally.verdicts == {Verdict.APPLIED: 1}
    assert _payload(state, "run_1") > 0


def test_an_illegal_event_is_told_though_the_state_cannot_be_written(state: State) -> None:
    """So it may be told again, under the same id: a receiver drops repeats."""
    state.let_go(START_MS + 1_000_000)
    first, second = (fold(state, event("failed", run="run_1", at=at), at=40) for at in (3, 4))
    assert [alert.alert_id for alert in first.alerts] == [alert.alert_id for alert in second.alerts]
    assert len(first.alerts) == 1
    assert first.runs == {}


def test_it_is_forgotten_when_the_stream_has_come_so_far(state: State) -> None:
    state.let_go(START_MS + 1_000_000)
    fold(state, event("queued", run="run_1", at=900_000), at=1_000_000)
    assert state.runs["run_1"].status == "queued", "a later event opens it anew"
    assert state.payloads.usage().in_memory == 2
    state.remove("run_1")
    assert state.payloads.usage().in_memory == 1
