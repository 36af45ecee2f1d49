"""Time limits of a run: overdue, or stuck in a status. Judged at every full second of a partition's time.

A deadline fires `allowance_ms` after it passed: a terminal event that is only late must raise no alarm. Nor must a
status that a late event entered: `late_ms`, its lateness by the time in use (`lateness`), gives the run that much more.
"""

from collections.abc import Mapping

from msgspec import Struct, field

from streamproc.core.alerts import Alert, AlertKind, AlertState, kind_of
from streamproc.core.calendar import NEVER
from streamproc.core.lifecycle import Profile
from streamproc.core.model import Run, RunEvent

TICK_MS = 1_000
NEWS_MS = 300_000
"""How long an occurrence is news: the end time of its alert."""
# Looked up once: there may be as many alerts as events, and an enum's member costs half as much as an alert.
OVERDUE, STUCK, ILLEGAL = AlertKind.OVERDUE.value, AlertKind.STUCK.value, AlertKind.ILLEGAL.value
_OVERDUE_IS, _STUCK_IS, _ILLEGAL_IS = AlertKind.OVERDUE.severity, AlertKind.STUCK.severity, AlertKind.ILLEGAL.severity


class Deadlines(Struct, frozen=True):
    """The limits in force. Milliseconds by status; `assistants` go before `limits`; 0: none.

    An ended run has none, nor has one in an unknown status (rules.md 14).
    """

    allowance_ms: int = 30_000
    overdue: bool = True
    limits: Mapping[str, int] = field(default_factory=dict)
    assistants: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def fires_at(self, run: Run, profile: Profile, late_ms: int = 0) -> tuple[int, int]:
        """Return when the limit of the run's status fires, and when its expiry; NEVER for none, or if it fires."""
        if run.status not in profile.documented:
            return NEVER, NEVER
        counts_from = run.status_since + late_ms
        limit = self._limit(run) if self.assistants else self.limits.get(run.status)
        stuck_at = counts_from + limit + self.allowance_ms if limit else NEVER
        overdue_at = NEVER
        if run.expires_at is not None and self.overdue:
            overdue_at = run.expires_at * 1000 + self.allowance_ms
            # An expiry that was still to come at the event was set by the producer's clock, whatever Kafka's time was.
            if late_ms and run.expires_at * 1000 <= counts_from:
                overdue_at += late_ms
        for identity in run.alerts:
            if kind_of(identity) == OVERDUE:
                overdue_at = NEVER
            elif stuck_at < NEVER and identity == _stuck_id(run):
                stuck_at = NEVER
        return stuck_at, overdue_at

    def ends(self, run: Run, profile: Profile) -> tuple[int, int]:
        """Return when the limit of the run's status ends, and when the run expires; NEVER for none.

        Without the allowance, and whether or not the alert has fired.
        """
        if run.status not in profile.documented:
            return NEVER, NEVER
        limit = self._limit(run)
        is_watched = run.expires_at is not None and self.overdue
        return run.status_since + limit if limit else NEVER, (run.expires_at or 0) * 1000 if is_watched else NEVER

    def passed(self, run: Run, profile: Profile, now: int, late_ms: int = 0) -> list[Alert]:
        """Return the alerts that begin to fire for the run at `now`."""
        stuck_at, overdue_at = self.fires_at(run, profile, late_ms)
        fired = []
        if stuck_at <= now:
            fired.append(_stuck(run, self._limit(run), now))
        if overdue_at <= now:
            fired.append(_overdue(run, now))
        return fired

    def resolved(self, before: Run, after: Run | None, profile: Profile, at: int, now: int) -> list[Alert]:
        """Return the resolutions of alerts that fire for `before` but not for `after` (None: the run is forgotten).

        `at`: when the run moved on. An overdue run that changes its status and is still open stays overdue.
        """
        is_open = after is not None and after.status in profile.documented
        gone: list[Alert] = []
        for identity in before.alerts:
            kind = kind_of(identity)
            if kind == ILLEGAL or (is_open and after is not None and self._still_holds(kind, before, after)):
                continue
            gone.append(_resolved(identity, kind, before, at, now))
        return gone

    def _limit(self, run: Run) -> int:
        """Return how long the run may be in its status."""
        own = self.assistants.get(run.assistant_id) if run.assistant_id is not None else None
        limit = self.limits.get(run.status, 0)
        return limit if own is None else own.get(run.status, limit)

    def _still_holds(self, kind: str, before: Run, after: Run) -> bool:
        """Tell whether an alert of this kind that fires for `before` still fires for `after`, which is open."""
        if kind == OVERDUE:
            return self.overdue and after.expires_at is not None and after.expires_at * 1000 == _since(kind, before)
        is_same_entry = after.status_offset == before.status_offset and kind == STUCK + after.status
        return is_same_entry and after.status_since == before.status_since and self._limit(after) > 0


def illegal(run: Run, event: RunEvent, now: int) -> Alert:
    """Return the alert for a second, different end of a run: an occurrence, nothing to resolve."""
    since = min(event.timestamp, now)
    return Alert(
        f"{ILLEGAL}:{run.run_id}:{run.status}:{event.status}:{run.status_offset}",
        ILLEGAL,
        _ILLEGAL_IS,
        AlertState.FIRING,
        since,
        now,
        f"run {run.run_id} had ended as {run.status} when an event said {event.status}",
        run.run_id,
        run.thread_id,
        run.assistant_id,
        run.model,
        event.status,
        ends_at=since + NEWS_MS,
        source_offset=event.offset,
    )


def _stuck_id(run: Run) -> str:
    """Return the id of the alert on the run's status: kind, run, and the offset of its entry (rules.md 21)."""
    return f"{STUCK}{run.status}:{run.run_id}:{run.status_offset}"


def _stuck(run: Run, limit_ms: int, now: int) -> Alert:
    what = f"run {run.run_id} has been in {run.status} for more than {limit_ms // 1000} s"
    return _firing(run, _stuck_id(run), STUCK + run.status, run.status_since, run.status_since + limit_ms, now, what)


def _overdue(run: Run, now: int) -> Alert:
    # With the offset of the run's last event: within a status it may be overdue twice, when its expires_at is moved.
    identity, expired_at = f"{OVERDUE}:{run.run_id}:{run.offset}", _since(OVERDUE, run)
    return _firing(run, identity, OVERDUE, expired_at, expired_at, now, f"run {run.run_id} is past its expires_at")


def _firing(run: Run, identity: str, kind: str, since: int, deadline_at: int, now: int, summary: str) -> Alert:
    # By position: by name it takes several times as long, and there may be as many alerts as events.
    return Alert(
        identity,
        kind,
        _OVERDUE_IS if kind == OVERDUE else _STUCK_IS,
        AlertState.FIRING,
        since,
        now,
        summary,
        run.run_id,
        run.thread_id,
        run.assistant_id,
        run.model,
        run.status,
        deadline_at,
        None,  # ends_at
        None,  # source_topic
        None,  # source_partition
        run.offset,
    )


def _resolved(identity: str, kind: str, run: Run, at: int, now: int) -> Alert:
    what = OVERDUE if kind == OVERDUE else f"stuck in {kind.removeprefix(STUCK)}"
    since = _since(kind, run)
    return Alert(
        identity,
        kind,
        _OVERDUE_IS if kind == OVERDUE else _STUCK_IS,
        AlertState.RESOLVED,
        since,
        now,
        f"run {run.run_id} is no longer {what}",
        run.run_id,
        run.thread_id,
        run.assistant_id,
        run.model,
        run.status,
        None,  # deadline_at
        max(since, min(at, now)),
        None,  # source_topic
        None,  # source_partition
        run.offset,
    )


def _since(kind: str, run: Run) -> int:
    return run.expires_at * 1000 if kind == OVERDUE and run.expires_at is not None else run.status_since
