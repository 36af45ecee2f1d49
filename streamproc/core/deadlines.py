"""Time limits of a run: overdue, or stuck in a status. Judged at every full second of a partition's time.

A deadline fires once `allowance_ms` after it passed: a terminal event that is only late must raise no alarm. Nor must
an event that was late itself: `late_ms`, by the time that is judged by (`lateness`), gives the run as much more time.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct, field

from streamproc.core.alerts import ILLEGAL, OVERDUE, STUCK, Alert, AlertState, Severity, kind_of
from streamproc.core.lifecycle import Profile
from streamproc.core.model import Run, RunEvent

TICK_MS = 1_000
NEWS_MS = 300_000
"""How long an occurrence is news: its alert has this end time."""


class Deadline(NamedTuple):
    """A limit that a run has. Times in milliseconds."""

    kind: str
    since: int
    deadline_at: int


class Deadlines(Struct, frozen=True):
    """The limits in force. Milliseconds by status; `assistants` go before `limits`; 0: none."""

    allowance_ms: int = 30_000
    overdue: bool = True
    limits: Mapping[str, int] = field(default_factory=dict)
    assistants: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def of(self, run: Run, profile: Profile) -> Iterator[Deadline]:
        """Yield the deadlines of a run as it is now; none for an ended one, nor for an unknown status (rules.md 14)."""
        if run.status not in profile.documented:
            return
        own = self.assistants.get(run.assistant_id) if run.assistant_id is not None else None
        limit = self.limits.get(run.status, 0) if own is None else own.get(run.status, self.limits.get(run.status, 0))
        if limit:
            yield Deadline(STUCK + run.status, run.status_since, run.status_since + limit)
        if self.overdue and run.expires_at is not None:
            yield Deadline(OVERDUE, run.expires_at * 1000, run.expires_at * 1000)

    def next_at(self, run: Run, profile: Profile, late_ms: int = 0) -> int | None:
        """Return when the run has to be looked at, in milliseconds; None: not as it is now."""
        if run.alerts or run.assistant_id in self.assistants:
            open_dues = (due for due in self.of(run, profile) if alert_id(due.kind, run) not in run.alerts)
            return min((self._fires_at(due, run, late_ms) for due in open_dues), default=None)
        # The same without the detour: this is the hot path.
        if run.status not in profile.documented:
            return None
        limit, counts_from = self.limits.get(run.status), run.status_since + late_ms
        if run.expires_at is None or not self.overdue:
            return counts_from + limit + self.allowance_ms if limit else None
        expires_ms = run.expires_at * 1000
        if late_ms and expires_ms <= counts_from:
            expires_ms += late_ms
        if limit and counts_from + limit < expires_ms:
            return counts_from + limit + self.allowance_ms
        return expires_ms + self.allowance_ms

    def passed(self, run: Run, profile: Profile, now: int, late_ms: int = 0) -> list[Alert]:
        """Return the alerts that fire for the run at `now`, those that fire already left out."""
        return [
            _firing(due, run, now)
            for due in self.of(run, profile)
            if self._fires_at(due, run, late_ms) <= now and alert_id(due.kind, run) not in run.alerts
        ]

    def _fires_at(self, due: Deadline, run: Run, late_ms: int) -> int:
        # An expiry that was still to come when the run was heard of is the producer's own clock, whatever Kafka's was.
        is_ahead = due.kind == OVERDUE and due.deadline_at > run.status_since + late_ms
        return due.deadline_at + self.allowance_ms + (0 if is_ahead else late_ms)

    def resolved(self, before: Run, after: Run | None, profile: Profile, at: int, now: int) -> list[Alert]:
        """Return the resolutions of what fires for `before` and does no longer for `after` (None: it is forgotten).

        `at`: when the run moved on. An overdue run that changes its status and is still open stays overdue.
        """
        held = [] if after is None else [(due.kind, due.since) for due in self.of(after, profile)]
        gone: list[Alert] = []
        for identity in before.alerts:
            kind = kind_of(identity)
            if kind == ILLEGAL:
                continue
            since = _since(kind, before)
            same_entry = after is not None and (kind == OVERDUE or after.status_offset == before.status_offset)
            if not (same_entry and (kind, since) in held):
                gone.append(_resolved(identity, kind, since, before, at, now))
        return gone


def alert_id(kind: str, run: Run) -> str:
    """Return the id of a run's alert: kind, run, and the offset of its entry into the status (rules.md 21).

    An overdue run keeps its alert when it changes its status, so there an id that fires already stands. It may be
    overdue twice in a status, when its expires_at is moved; so there the offset is that of its last event.
    """
    if kind == OVERDUE:
        fires = (identity for identity in run.alerts if kind_of(identity) == OVERDUE)
        return next(fires, f"{OVERDUE}:{run.run_id}:{run.offset}")
    return f"{kind}:{run.run_id}:{run.status_offset}"


def illegal(run: Run, event: RunEvent, now: int) -> Alert:
    """Return the alert for a second, different end of a run: an occurrence, nothing to resolve."""
    since = min(event.timestamp, now)
    return _about(
        run,
        alert_id=f"{ILLEGAL}:{run.run_id}:{run.status}:{event.status}:{run.status_offset}",
        kind=ILLEGAL,
        state=AlertState.FIRING,
        since=since,
        decided_at=now,
        summary=f"run {run.run_id} had ended as {run.status} when an event said {event.status}",
        status=event.status,
        ends_at=since + NEWS_MS,
        source_offset=event.offset,
    )


def _firing(due: Deadline, run: Run, now: int) -> Alert:
    limit_s = (due.deadline_at - due.since) // 1000
    what = "is past its expires_at" if due.kind == OVERDUE else f"has been in {run.status} for more than {limit_s} s"
    return _about(
        run,
        alert_id=alert_id(due.kind, run),
        kind=due.kind,
        state=AlertState.FIRING,
        since=due.since,
        decided_at=now,
        summary=f"run {run.run_id} {what}",
        deadline_at=due.deadline_at,
    )


def _since(kind: str, run: Run) -> int:
    return run.expires_at * 1000 if kind == OVERDUE and run.expires_at is not None else run.status_since


def _resolved(identity: str, kind: str, since: int, run: Run, at: int, now: int) -> Alert:
    what = "overdue" if kind == OVERDUE else f"stuck in {kind.removeprefix(STUCK)}"
    return _about(
        run,
        alert_id=identity,
        kind=kind,
        state=AlertState.RESOLVED,
        since=since,
        decided_at=now,
        summary=f"run {run.run_id} is no longer {what}",
        ends_at=max(since, min(at, now)),
    )


def _about(run: Run, **said: Any) -> Alert:
    """Return an alert about a run, as of its last event unless it is said otherwise."""
    fields = {"status": run.status, "source_offset": run.offset, **said}
    return Alert(
        severity=Severity.WARNING,
        run_id=run.run_id,
        thread_id=run.thread_id,
        assistant_id=run.assistant_id,
        model=run.model,
        **fields,
    )
