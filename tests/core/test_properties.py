"""Properties of the core, over arbitrary streams."""

from collections import Counter, defaultdict

from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.model import Ruling, Run, RunEvent, Transition, Verdict
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.state import CommitOutcome
from streamproc.core.step import begin, step
from tests.support.events import fold, moment, new_state, streams
from tests.support.states import runs_of

AT = moment(10_000_000)


def _result(*outcomes: CommitOutcome) -> tuple[Counter[Verdict], list[Transition], list[Ruling]]:
    verdicts: Counter[Verdict] = Counter()
    transitions: list[Transition] = []
    rulings: list[Ruling] = []
    for outcome in outcomes:
        verdicts += outcome.tally.verdicts
        transitions += outcome.transitions
        rulings += outcome.rulings
    return verdicts, transitions, rulings


def _runs(events: list[RunEvent]) -> tuple[dict[str, Run], list[Transition]]:
    state = new_state()
    outcome = fold(state, *events)
    return runs_of(state), outcome.transitions


@given(streams(), st.data())
def test_cutting_a_batch_anywhere_changes_nothing(events: list[RunEvent], data: st.DataObject) -> None:
    """Into commits, and into several batches of one commit."""
    cut = data.draw(st.integers(0, len(events)))
    whole, commits, batches = new_state(), new_state(), new_state()
    once = fold(whole, *events)
    twice = fold(commits, *events[:cut]), fold(commits, *events[cut:])
    assert _result(*twice) == _result(once)
    assert runs_of(commits) == runs_of(whole)
    gathered = step(batches, events[:cut], AT, begin(batches))
    gathered = step(batches, events[cut:], AT, gathered)
    assert _result(gathered) == _result(once)
    assert gathered.runs == runs_of(whole)
    assert batches.live_after(gathered.runs) == len(whole.runs)


@given(streams())
def test_each_arrival_is_a_transition_or_a_ruling(events: list[RunEvent]) -> None:
    """Exactly one of the two, in the order of arrival: so the topics tell the fate of each event (rules.md 2)."""
    outcome = fold(new_state(), *events)
    changes, rulings = outcome.transitions, outcome.rulings
    assert sorted([change.offset for change in changes] + [ruling.source_offset for ruling in rulings]) == [
        event.offset for event in events
    ]
    assert changes == sorted(changes, key=lambda change: change.offset)
    assert rulings == sorted(rulings, key=lambda ruling: ruling.source_offset)
    told = Counter(Verdict(ruling.verdict) for ruling in rulings) + Counter({Verdict.APPLIED: len(changes)})
    assert told == outcome.tally.verdicts


@given(streams())
def test_repeating_each_event_changes_nothing(events: list[RunEvent]) -> None:
    """An event delivered twice in a row leaves the same runs and transitions."""
    repeated = [copy for event in events for copy in (event, event)]
    assert _runs(repeated) == _runs(events)


@given(streams())
def test_runs_do_not_affect_each_other(events: list[RunEvent]) -> None:
    """Each run alone ends as it does among others."""
    runs, transitions = _runs(events)
    alone: dict[str, list[RunEvent]] = defaultdict(list)
    for event in events:
        alone[event.run_id].append(event)
    for run_id, own in alone.items():
        own_runs, own_transitions = _runs(own)
        assert own_runs == {run_id: runs[run_id]}
        assert own_transitions == [change for change in transitions if change.run_id == run_id]


@given(streams())
def test_terminal_absorbs(events: list[RunEvent]) -> None:
    """No transition leaves a terminal status; each run has at most one transition into one."""
    _, transitions = _runs(events)
    assert not [change for change in transitions if change.from_status in ASSISTANTS.outcomes]
    ends = Counter(change.run_id for change in transitions if change.outcome is not None)
    assert set(ends.values()) <= {1}


@given(streams())
def test_each_arrival_gets_exactly_one_verdict(events: list[RunEvent]) -> None:
    """rules.md 12: total."""
    state = new_state()
    outcome = step(state, events, AT, begin(state))
    assert outcome.tally.verdicts.total() == len(events)


@given(streams())
def test_counts_by_status_follow_the_runs(events: list[RunEvent]) -> None:
    """The gauge is the state's own, not an increment that drifts."""
    state = new_state()
    for event in events:
        fold(state, event)
        assert state.by_status == Counter(run.status for run in state.runs.values())


@given(streams())
def test_transitions_of_a_run_form_a_chain(events: list[RunEvent]) -> None:
    """Each starts where the one before ended, in the order of offsets; the state counts them."""
    runs, transitions = _runs(events)
    for run_id, run in runs.items():
        own = [change for change in transitions if change.run_id == run_id]
        assert [change.from_status for change in own] == [None, *(change.to_status for change in own[:-1])]
        assert [change.offset for change in own] == sorted(change.offset for change in own)
        assert (run.transitions, run.status) == (len(own), own[-1].to_status)
