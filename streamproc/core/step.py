"""A batch of arrivals, and the passing of time, against the state of a partition.

`step` decides and returns; it never changes committed state (rules.md 9). The outcome is an overlay: the state after
the confirmed commit, and the outputs of that commit.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from streamproc.core import deadlines
from streamproc.core.alerts import Alert
from streamproc.core.calendar import CalendarOverlay
from streamproc.core.fold import advanced, judge, opened, ruling, transition
from streamproc.core.lateness import lateness
from streamproc.core.model import MAX_AHEAD_MS, NO_TIMESTAMP, OLD_MS, Moment, Run, RunEvent, Verdict
from streamproc.core.payloads import LET_GO
from streamproc.core.reminders import RemindersOverlay, more_ms
from streamproc.core.retention import MAX_FORGOTTEN_PER_COMMIT
from streamproc.core.rules import Rules
from streamproc.core.state import CommitOutcome, State
from streamproc.core.tally import FoldAnomaly, Tally

MAX_LOOKED_AT = 20_000
"""How many reminders one event, or one clock tick, processes: most are of runs that have moved on."""

OLD_TIMESTAMP, TIMESTAMP_ABSENT = FoldAnomaly.OLD_TIMESTAMP, FoldAnomaly.TIMESTAMP_ABSENT
FUTURE_TIMESTAMP = FoldAnomaly.FUTURE_TIMESTAMP
ODD_VERDICTS = {Verdict.STALE: FoldAnomaly.STALE, Verdict.ILLEGAL: FoldAnomaly.ILLEGAL}
CLOCK = -1
"""In `CommitOutcome.causes`: passing time, not an event."""


def begin(state: State) -> CommitOutcome:
    """Return the empty outcome of a new commit on top of `state`. One that is not committed is simply dropped."""
    tally = Tally(state.rules.base_ms, state.limiter.fork())
    return CommitOutcome(tally, state.stream_time, CalendarOverlay(state.forgetting), RemindersOverlay(state.limits))


def step(state: State, events: Sequence[RunEvent], at: Moment, out: CommitOutcome) -> CommitOutcome:
    """Fold `events` in the order of arrival onto `state`, on top of `out`: a commit may span several batches.

    Cutting the events into other batches gives the same runs, transitions, alerts and verdicts.
    """
    latest_credible, oldest_credible = at.wall_ms + MAX_AHEAD_MS, at.wall_ms - OLD_MS
    limits = out.limits
    for event in events:
        timestamp = event.timestamp
        if out.stream_time < timestamp <= latest_credible:
            out.stream_time = timestamp
        if timestamp < oldest_credible:
            event = _timed(event, at, out)  # noqa: PLW2901
        _arrive(state, out, event, at)
        # After each event, not at the end of a batch: else what fires would depend on where batches are cut.
        if limits.next_at <= out.stream_time and out.room > 0:
            _fire(state, out, out.stream_time, by_clock=False)
    return out


def pass_time(state: State, at: Moment, out: CommitOutcome) -> CommitOutcome:
    """Apply the partition's `now` (rules.md 16): deadlines, then retention."""
    out.now = at.wall_ms if at.caught_up else min(out.stream_time, at.wall_ms)
    if at.caught_up:
        _fire(state, out, out.now, by_clock=True)
    _forget(state, out)
    return out


def _timed(event: RunEvent, at: Moment, out: CommitOutcome) -> RunEvent:
    """Count an event whose timestamp is old or absent; return it with a valid time."""
    if event.timestamp > NO_TIMESTAMP:
        out.tally.anomalies[OLD_TIMESTAMP] += 1
        return event
    # It moves no stream time: in a backlog the clock is far ahead of what is unread.
    out.tally.anomalies[TIMESTAMP_ABSENT] += 1
    return replace(event, timestamp=at.wall_ms)


def _arrive(state: State, out: CommitOutcome, event: RunEvent, at: Moment) -> None:
    run_id, rules = event.run_id, state.rules
    run = out.runs[run_id] if run_id in out.runs else state.runs.get(run_id)
    # Retention counts by the clock; stream time may be a little ahead of it, and far behind in a backlog.
    now = out.stream_time if out.stream_time < at.wall_ms else at.wall_ms  # noqa: FURB136  min() is a call
    old = run is not None and run.retained_from + state.shortest_ms <= now
    if run is not None and old and state.due_at(run) <= now:
        _resolve(out, run, None, rules, now, now)
        run = None  # Forgotten by stream time, whether or not a commit has removed it yet.
    repeats = run is not None and run.status == event.status and state.holds(run, event)
    move = judge(run, event, rules.profile, repeats=repeats)
    out.tally.arrival(event, move.verdict, rules.profile)
    if move.verdict is Verdict.APPLIED:
        _apply(state, out, run, event, at, expected=move.expected)
        return
    if move.verdict is not Verdict.DUPLICATE:
        out.tally.anomalies[ODD_VERDICTS[move.verdict]] += 1
    assert run is not None  # noqa: S101  a new run is always applied (rules.md 12)
    out.rulings.append(ruling(run, event, move.verdict, rules.profile, repeats=repeats))
    if move.verdict is Verdict.ILLEGAL:
        _report_illegal(out, run, event, _now(out, event, at))
    elif run.status not in rules.profile.outcomes:
        _hear(out, run, event, rules, at)


def _hear(out: CommitOutcome, run: Run, event: RunEvent, rules: Rules, at: Moment) -> None:
    """Note that an open run was heard of (rules.md 17); not each time, since every note is a new state."""
    if at.wall_ms - run.retained_from >= rules.retention.heard_every_ms:
        new: Run = run.__copy__()  # type: ignore[attr-defined]
        new.retained_from = at.wall_ms
        out.runs[run.run_id] = new
        out.causes[run.run_id] = event.offset


def _apply(state: State, out: CommitOutcome, run: Run | None, event: RunEvent, at: Moment, *, expected: bool) -> None:
    rules, profile = state.rules, state.rules.profile
    late = lateness(event.timestamp, out.stream_time, at.wall_ms)
    after = opened(event, profile, at, late) if run is None else advanced(run, event, profile, at, late)
    out.runs[event.run_id] = after
    if out.forgotten:
        out.forgotten.pop(event.run_id, None)
    if out.causes:
        out.causes.pop(event.run_id, None)
    if run is not None and run.alerts:
        _resolve(out, run, after, rules, event.timestamp, _now(out, event, at))
    when = event.timestamp
    if when > at.wall_ms + MAX_AHEAD_MS:
        # Measured now, as far as is known: in a window of its own it would keep that open for years.
        when = out.stream_time or at.wall_ms
        out.tally.anomalies[FUTURE_TIMESTAMP] += 1
    if run is None or run.status != event.status:
        change = transition(run, after, event, profile, expected=expected)
        out.transitions.append(change)
        out.tally.moved(run, after, change, profile, when)
        if change.outcome is None:
            out.limits.watch(after)
        return
    out.rulings.append(ruling(run, event, Verdict.APPLIED, profile))
    if event.status in profile.outcomes:
        out.tally.completed(run, after, when)
    elif (run.expires_at, run.assistant_id) != (after.expires_at, after.assistant_id):
        out.limits.watch(after)


def _now(out: CommitOutcome, event: RunEvent, at: Moment) -> int:
    """Return what time it is where an event is judged: one without a timestamp brings the clock's, but moves none."""
    if event.timestamp <= at.wall_ms:
        return max(out.stream_time, event.timestamp)
    return out.stream_time or at.wall_ms


def _fire(state: State, out: CommitOutcome, now: int, *, by_clock: bool) -> None:
    """Fire deadlines that passed, each as of the full second under which it was filed."""
    rules, limits = state.rules, out.limits

    def look(run_id: str) -> Run | None:
        return out.runs[run_id] if run_id in out.runs else state.runs.get_open(run_id)

    looks = MAX_LOOKED_AT
    while looks > 0 and out.room > 0:
        # In every round: a late run that fired is filed anew, and its next deadline may have passed as well.
        limits.file(now, look)
        calendar = limits.due(now, by_clock=by_clock)
        if calendar is None:
            break
        tick = calendar.next_at
        ids = calendar.take(min(looks, out.room))
        looks -= len(ids)
        for run_id in ids:
            if out.room <= 0:
                calendar.add(run_id, tick)
                continue
            run = look(run_id)
            if run is None:
                continue
            fired = rules.deadlines.passed(run, rules.profile, tick, more_ms(run, now, by_clock=by_clock))
            # Not for a forgotten run, whether or not a commit has removed it yet.
            if fired and state.due_at(run) > tick:
                limits.watch(_flagged(out, run, fired, CLOCK))
                out.room -= len(fired)
    limits.find_next()


def _report_illegal(out: CommitOutcome, run: Run, event: RunEvent, now: int) -> None:
    """Fire once for each run and pair of statuses (rules.md 21)."""
    alert = deadlines.illegal(run, event, now)
    if run.payload == LET_GO:
        out.alerts.append(alert)  # Its state cannot be written, so the alert may be repeated.
    elif alert.alert_id not in run.alerts:
        _flagged(out, run, [alert], event.offset)


def _flagged(out: CommitOutcome, run: Run, fired: Sequence[Alert], cause: int) -> Run:
    """Send the alerts, and note in the run's state that they were sent."""
    new: Run = run.__copy__()  # type: ignore[attr-defined]
    new.alerts = (*run.alerts, *[alert.alert_id for alert in fired])
    out.runs[run.run_id] = new
    out.alerts += fired
    out.causes[run.run_id] = cause
    return new


def _resolve(out: CommitOutcome, before: Run, after: Run | None, rules: Rules, at: int, now: int) -> None:
    """Resolve alerts that fire for `before` but not for `after`; None: the run is forgotten."""
    gone = rules.deadlines.resolved(before, after, rules.profile, at, now)
    out.alerts += gone
    if gone and after is not None:
        ids = {alert.alert_id for alert in gone}
        after.alerts = tuple(identity for identity in after.alerts if identity not in ids)


def _forget(state: State, out: CommitOutcome) -> None:
    """Mark the runs whose retention is over as forgotten (rules.md 17)."""
    calendar, room = out.forgetting, MAX_FORGOTTEN_PER_COMMIT
    while room > 0 and calendar.next_at <= out.now:
        for run_id in calendar.take(room):
            run = out.runs[run_id] if run_id in out.runs else state.runs.get(run_id)
            if run is None:
                continue
            due = state.due_at(run)
            if due > out.now:
                calendar.add(run_id, due)
                continue
            _resolve(out, run, None, state.rules, out.now, out.now)
            out.runs[run_id] = None
            out.forgotten[run_id] = run.offset
            out.causes.pop(run_id, None)
            room -= 1
