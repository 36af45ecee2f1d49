"""A batch of arrivals, and the passing of time, against the state of a partition.

`step` decides and returns; it never changes committed state (rules.md 9). The Outcome is an overlay: what the state
will be once the commit is confirmed, and what that commit has to say.
"""

from collections.abc import Sequence

from msgspec import Struct, field

from streamproc.core.fold import advanced, judge, opened, transition
from streamproc.core.lifecycle import Profile
from streamproc.core.model import MAX_AHEAD_MS, Moment, Run, RunEvent, Transition, Verdict
from streamproc.core.state import State
from streamproc.core.tally import Tally


class Outcome(Struct):
    """What one commit changes and sends.

    `runs`: the last state of each run touched, None where it is forgotten; `forgotten`: the offsets of those runs' last
    applied events.
    """

    runs: dict[str, Run | None] = field(default_factory=dict)
    forgotten: dict[str, int] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    stream_time: int = 0
    now: int = 0
    horizon: int = 0


def step(
    state: State, events: Sequence[RunEvent], at: Moment, profile: Profile, outcome: Outcome | None = None
) -> Outcome:
    """Fold `events` in the order of arrival onto `state`, on top of `outcome` where a commit spans several batches.

    Cutting the events into other batches gives the same runs, transitions and verdicts.
    """
    out = outcome if outcome is not None else Outcome(stream_time=state.stream_time)
    latest_credible = at.wall_ms + MAX_AHEAD_MS
    for event in events:
        if out.stream_time < event.timestamp <= latest_credible:
            out.stream_time = event.timestamp
        _arrive(state, out, event, profile, at)
    return out


def forget(state: State, at: Moment, out: Outcome) -> Outcome:
    """Mark the runs whose retention is over as forgotten (rules.md 17), by the partition's `now` (rules.md 16)."""
    out.now = at.wall_ms if at.caught_up else out.stream_time
    ids, out.horizon = state.due(out.now)
    for run_id in ids:
        run = out.runs.get(run_id, state.runs.get(run_id))
        if run is not None and state.due_at(run) <= out.now:
            out.runs[run_id] = None
            out.forgotten[run_id] = run.offset
    return out


def _arrive(state: State, out: Outcome, event: RunEvent, profile: Profile, at: Moment) -> None:
    run_id = event.run_id
    run = out.runs[run_id] if run_id in out.runs else state.runs.get(run_id)
    old = run is not None and run.retained_from + state.shortest_ms <= out.stream_time
    if run is not None and old and state.due_at(run) <= out.stream_time:
        run = None  # Forgotten by stream time, whether or not a commit has said so yet.
    move = judge(run, event, profile)
    out.tally.arrival(event, move.verdict, profile)
    if move.verdict is Verdict.APPLIED:
        _apply(out, run, event, profile, at, expected=move.expected)
    elif move.verdict is not Verdict.DUPLICATE:
        out.tally.anomalies[move.verdict.value] += 1


def _apply(out: Outcome, run: Run | None, event: RunEvent, profile: Profile, at: Moment, *, expected: bool) -> None:
    after = opened(event, profile, at) if run is None else advanced(run, event, profile, at)
    out.runs[event.run_id] = after
    out.forgotten.pop(event.run_id, None)
    if run is None or run.status != event.status:
        change = transition(run, after, event, profile, expected=expected)
        out.transitions.append(change)
        out.tally.moved(run, after, change, profile)
    elif run.usage is None and event.status in profile.outcomes:
        out.tally.tokens_of(after)
