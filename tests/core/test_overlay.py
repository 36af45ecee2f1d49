"""A commit is an overlay on the state of its partition: dropped, it was never there (rules.md 9)."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.deadlines import Deadlines
from streamproc.core.model import Moment, RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import CommitOutcome, State
from streamproc.core.step import begin, pass_time, step
from tests.support.contents import contents
from tests.support.events import START_MS, TRAFFIC_ARRIVES, event, traffic

LIMITS = Deadlines(allowance_ms=2_000, limits={"queued": 5_000, "in_progress": 20_000, "cancelling": 3_000})
SHORT = Retention(terminal_ms=60_000, open_ms=100_000)
DAY_MS = 86_400_000


def _state(retention: Retention = SHORT) -> State:
    """Return an empty state in which few groups are told apart, so that even that is put to use."""
    return State(Rules(ASSISTANTS, retention, LIMITS, max_groups=1))


def _attempt(state: State, events: Sequence[RunEvent], at: int, *, caught_up: bool = False) -> CommitOutcome:
    out = begin(state)
    for half in (events[: len(events) // 2], events[len(events) // 2 :]):
        step(state, half, Moment(START_MS + at, caught_up=False), out)
    return pass_time(state, Moment(START_MS + at, caught_up), out)


def _parts(events: list[RunEvent], where: Sequence[int]) -> list[list[RunEvent]]:
    edges = [0, *where, len(events)]
    return [events[start:end] for start, end in pairwise(edges)]


cuts = st.lists(st.integers(0, 30), max_size=4).map(sorted)
clocks = st.sampled_from((0, 7_000, 50_000, 110_000, TRAFFIC_ARRIVES, TRAFFIC_ARRIVES + 120_000))


@given(traffic(), cuts, clocks, clocks)
def test_a_commit_that_is_dropped_leaves_the_state_as_it_was(
    events: list[RunEvent], where: list[int], arrives: int, dropped_at: int
) -> None:
    """Runs, reminders and all: late events or not, whatever it fired or forgot, by the stream or by the clock."""
    state = _state()
    for part in _parts(events, where):
        before = contents(state)
        _attempt(state, part, dropped_at)
        _attempt(state, part, dropped_at, caught_up=True)
        assert contents(state) == before
        state.merge(_attempt(state, part, arrives, caught_up=True))


def test_a_commit_that_does_all_there_is_leaves_the_state_as_it_was() -> None:
    """That the property above says something: deadlines, late runs that are filed, runs that are forgotten."""
    state = _state()
    late = event("queued", run="run_late", at=-DAY_MS, offset=1)
    state.merge(_attempt(state, [event("queued", run="run_old", offset=0), late], 0))
    before = contents(state)
    events = [event("queued", run=f"run_{n}", at=90_000, offset=n, assistant_id=f"asst_{n}") for n in range(2, 5)]
    out = _attempt(state, events, 100_000, caught_up=True)
    states = Counter((alert.run_id, alert.state.value) for alert in out.alerts)
    assert (
        states.items() >= {(run, told): 1 for run in ("run_old", "run_late") for told in ("firing", "resolved")}.items()
    )
    assert states["run_2", "firing"] == 1
    assert out.forgotten.keys() == {"run_old", "run_late"}
    assert out.limits.has_filed
    assert contents(state) == before
    state.merge(out)
    assert contents(state) != before


@given(
    traffic(), cuts, st.lists(st.integers(0, 2_000_000), max_size=4).map(sorted), st.sampled_from((0, TRAFFIC_ARRIVES))
)
def test_what_was_looked_at_in_vain_is_not_looked_at_again(
    events: list[RunEvent], where: list[int], ticks: list[int], arrives: int
) -> None:
    """A quiet partition has a look at each cycle; that it took note of what was due changes nothing of what comes."""
    dropping, settling = _state(), _state()
    said: list[list[CommitOutcome]] = [[], []]
    for part in _parts(events, where):
        for state, outcomes in zip((dropping, settling), said, strict=True):
            outcomes.append(_attempt(state, part, arrives))
            state.merge(outcomes[-1])
        for at in ticks:
            for state, outcomes in zip((dropping, settling), said, strict=True):
                out = _attempt(state, [], arrives + at, caught_up=True)
                if out.runs:
                    outcomes.append(out)
                    state.merge(out)
                elif state is settling:
                    state.settle(out)
                    again = begin(state)
                    assert again.limits.due(START_MS + arrives + at, by_clock=True) is None
                    assert again.forgetting.next_at > START_MS + arrives + at
    for state, outcomes in zip((dropping, settling), said, strict=True):
        outcomes.append(_attempt(state, [], 10**9, caught_up=True))
        state.merge(outcomes[-1])
    dropped, settled = ([alert for out in outcomes for alert in out.alerts] for outcomes in said)
    assert sorted(map(repr, settled)) == sorted(map(repr, dropped))
    assert settling.runs == dropping.runs


@pytest.mark.parametrize("is_settled", [True, False])
def test_a_run_that_moved_on_is_looked_at_once(is_settled: bool) -> None:
    """Where the look was in vain, and nobody took note, it is looked at again."""
    state = _state()
    state.merge(_attempt(state, [event("queued"), event("in_progress", at=1_000)], 1_000))
    out = _attempt(state, [], 8_000, caught_up=True)
    assert out.runs == {}
    if is_settled:
        state.settle(out)
    assert begin(state).limits.next_at == START_MS + (23_000 if is_settled else 7_000)
