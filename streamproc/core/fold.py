"""One arrival against one run: the verdict, and the run as it is afterwards.

The merge rules follow real payloads (docs/domain.md 2): `started_at` moves when a run resumes, so the first value
stays; `expires_at` turns null at the end, so the last value that was not null stays. Tokens and error of a run are
those of its end (rules.md 12): earlier ones were not final, or the run got over them.
"""

from streamproc.core.lateness import IN_TIME, Lateness
from streamproc.core.lifecycle import Move, Profile
from streamproc.core.model import Moment, Reason, Ruling, Run, RunEvent, Transition, Verdict
from streamproc.core.payloads import IN_HAND

REWRITE = Move(Verdict.APPLIED, expected=True)
DUPLICATE = Move(Verdict.DUPLICATE, expected=True)


def judge(run: Run | None, event: RunEvent, profile: Profile, *, repeats: bool) -> Move:
    """Give the arrival its verdict (rules.md 12 to 14). `run` is None if the run is not known.

    `repeats`: the event equals the last applied one, byte for byte.
    """
    if run is None:
        return profile.judge(None, event.status)
    if run.status != event.status:
        return profile.judge(run.status, event.status)
    if run.status in profile.outcomes:
        brings_news = (run.usage is None and event.usage is not None) or (
            run.error_code is None and event.error_code is not None
        )
        return REWRITE if brings_news else DUPLICATE
    return DUPLICATE if repeats else REWRITE


def opened(event: RunEvent, profile: Profile, at: Moment, late: Lateness = IN_TIME) -> Run:
    """Return a new run from its first event."""
    by_stream_ms, by_clock_ms = late
    # By position: by name it takes eight times as long, and this is the hot path.
    return Run(
        event.run_id,
        event.thread_id,
        event.assistant_id,
        event.model,
        event.status,
        event.timestamp,  # status_since
        event.offset,  # status_offset
        event.timestamp,  # first_seen_at
        at.wall_ms,  # retained_from
        event.created_at,
        event.started_at,
        event.expires_at,
        ended_at(event, profile),
        1,  # transitions
        event.usage,
        event.error_code,
        event.required_tools,
        (),  # alerts
        event.offset,
        event.schema,
        event.payload,
        1,  # attempt
        None,  # previous_end
        by_stream_ms,
        by_clock_ms,
    )


def advanced(run: Run, event: RunEvent, profile: Profile, at: Moment, late: Lateness = IN_TIME) -> Run:
    """Return a copy of `run` with an applied event merged in; the committed `run` itself stays unchanged."""
    ends, moves = event.status in profile.outcomes, event.status != run.status
    if moves and run.status in profile.outcomes:
        return _reopened(run, event, profile, at, late)
    new: Run = run.__copy__()  # type: ignore[attr-defined]
    if moves:
        new.status = event.status
        new.status_since = event.timestamp
        new.status_offset = event.offset
        new.transitions = run.transitions + 1
        new.stream_lag_ms, new.clock_lag_ms = late
    if moves if ends else at.wall_ms > run.retained_from:
        new.retained_from = at.wall_ms
    _merge(new, event)
    if ends:
        _merge_end(new, event, profile, moves=moves)
    else:
        if event.usage is not None:
            new.usage = event.usage
        if moves or event.error_code is not None:
            new.error_code = event.error_code
    new.required_tools = event.required_tools
    new.offset = event.offset
    new.event_schema = event.schema
    new.event = event.payload
    new.payload = IN_HAND
    return new


def transition(before: Run | None, after: Run, event: RunEvent, profile: Profile, *, expected: bool) -> Transition:
    """Return the change of status that `event` made from `before` (None: a new run) to `after`."""
    return Transition(
        after.run_id,
        after.thread_id,
        after.assistant_id,
        after.model,
        None if before is None else before.status,
        event.status,
        event.timestamp,
        None if before is None else max(0, event.timestamp - before.status_since),
        expected,
        profile.outcomes.get(event.status),
        after.error_code,
        event.offset,
        after.attempt,
    )


def ruling(run: Run, event: RunEvent, verdict: Verdict, profile: Profile, *, repeats: bool = False) -> Ruling:
    """Return the verdict on an arrival that left the run in its status; the schema RunVerdict explains the reasons."""
    reason = reason_for(verdict, ended=run.status in profile.outcomes, repeats=repeats)
    return Ruling(
        run.run_id, verdict.value, run.status, event.status, event.timestamp, reason.value, event.offset, run.attempt
    )


def ended_at(event: RunEvent, profile: Profile) -> int | None:
    """Return the RunObject's own end in Unix seconds; None if the run is open, or the object has none."""
    field = profile.ended_by.get(event.status)
    end: int | None = getattr(event, field) if field else None
    return end


def reason_for(verdict: Verdict, *, ended: bool, repeats: bool) -> Reason:
    """Return why an arrival with this verdict changed no status. `ended`: whether the run had ended."""
    match verdict:
        case Verdict.APPLIED:
            return Reason.COMPLETED if ended else Reason.REWRITTEN
        case Verdict.DUPLICATE:
            return Reason.REPEATED if repeats else Reason.NO_NEWS
        case Verdict.STALE:
            return Reason.ENDED if ended else Reason.NOT_ALLOWED
        case Verdict.ILLEGAL:
            return Reason.OTHER_END


def _reopened(run: Run, event: RunEvent, profile: Profile, at: Moment, late: Lateness) -> Run:
    """Return the run as a new attempt, without values of the attempt before that the object may still contain."""
    new = opened(event, profile, at, late)
    new.attempt = run.attempt + 1
    new.previous_end = run.status_since // 1000 if run.ended_at is None else run.ended_at
    new.transitions = run.transitions + 1
    new.thread_id = event.thread_id if event.thread_id is not None else run.thread_id
    new.assistant_id = event.assistant_id if event.assistant_id is not None else run.assistant_id
    new.model = event.model if event.model is not None else run.model
    new.created_at = _own(event.created_at, new)
    if new.created_at is None and event.status not in profile.outcomes:
        new.created_at = event.timestamp // 1000  # Its beginning was observed.
    new.started_at = _own(event.started_at, new)
    new.expires_at = _own(event.expires_at, new)
    new.ended_at = _own_end(new.ended_at, new)
    if event.status not in profile.outcomes:
        # Equal values are left over from the end before.
        new.usage = None if event.usage == run.usage else event.usage
        new.error_code = None if event.error_code == run.error_code else event.error_code
    return new


def _merge(new: Run, event: RunEvent) -> None:
    """Merge names and expiry, the last that are not null, and creation and start, the first that are not null."""
    if event.thread_id is not None:
        new.thread_id = event.thread_id
    if event.assistant_id is not None:
        new.assistant_id = event.assistant_id
    if event.model is not None:
        new.model = event.model
    if new.attempt > 1:
        _merge_own(new, event)
        return
    if new.created_at is None:
        new.created_at = event.created_at
    if new.started_at is None:
        new.started_at = event.started_at
    if event.expires_at is not None:
        new.expires_at = event.expires_at


def _merge_own(new: Run, event: RunEvent) -> None:
    """Merge the times of a further attempt; its creation stays as its first event set it."""
    if new.started_at is None:
        new.started_at = _own(event.started_at, new)
    expires_at = _own(event.expires_at, new)
    if expires_at is not None:
        new.expires_at = expires_at


def _own(time: int | None, run: Run) -> int | None:
    """Return a time of the object; None if it belongs to an attempt before the present one."""
    if time is None or run.previous_end is None or time >= run.previous_end:
        return time
    return None


def _own_end(time: int | None, run: Run) -> int | None:
    """Return an end of the object; None if it is that of an attempt before, which the object may still contain."""
    return None if time == run.previous_end else _own(time, run)


def _merge_end(new: Run, event: RunEvent, profile: Profile, *, moves: bool) -> None:
    """Merge time, tokens and error of the end; the first value of each stays."""
    if moves:
        new.usage, new.error_code = event.usage, event.error_code
    else:
        new.usage = event.usage if new.usage is None else new.usage
        new.error_code = event.error_code if new.error_code is None else new.error_code
    if new.ended_at is None:
        new.ended_at = _own_end(ended_at(event, profile), new)
