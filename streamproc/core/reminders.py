"""When to examine which run's deadlines: in stream time, and by the clock once caught up (rules.md 16).

The two differ only for runs of late events: each time gives such a run as much more time as its event was late by it.
Once stream time is where the clock was at the event's arrival, as when live events follow old ones, it gives what the
clock gives: a stream that jumped there proves nothing about other late events.
"""

from collections.abc import Callable, Iterable
from itertools import chain

from streamproc.core.calendar import NEVER, Calendar, CalendarOverlay
from streamproc.core.deadlines import TICK_MS, Deadlines
from streamproc.core.lifecycle import Profile
from streamproc.core.model import MAX_LATE_MS, Run

UNFILED_ROOM = 10_000
"""How many late runs are tracked before those that have ended are removed."""

GetOpen = Callable[[str], Run | None]
"""Returns a run that has not ended, by its id."""


class Reminders:
    """Run ids by when to examine them, as of the last commit.

    `by_clock`: runs that are examined alike by both times, and late runs by the clock; `by_stream`: late runs by stream
    time. `unfiled`: late runs that are not in `by_clock` yet; none has to be examined there before `unfiled_from`: a
    backlog brings them by the thousand, and most end before that. `next_at`: the instant from which a run may have to
    be examined in stream time, in milliseconds.
    """

    def __init__(self, deadlines: Deadlines, profile: Profile) -> None:
        self.deadlines = deadlines
        self.profile = profile
        self.by_clock: Calendar[str] = Calendar(TICK_MS)
        self.by_stream: Calendar[str] = Calendar(TICK_MS)
        self.unfiled: dict[str, None] = {}
        self.unfiled_from = NEVER
        self.next_at = NEVER
        self._room = UNFILED_ROOM

    def arm(self, runs: Iterable[Run], get_open: GetOpen) -> None:
        """File restored runs."""
        overlay = RemindersOverlay(self)
        for run in runs:
            overlay.watch(run)
        self.merge(overlay, get_open)

    def merge(self, overlay: "RemindersOverlay", get_open: GetOpen) -> None:
        """Apply what an overlay took and added; `get_open`: looks up runs as they are committed by now."""
        self.by_clock.merge(overlay.by_clock)
        self.by_stream.merge(overlay.by_stream)
        if overlay.has_filed:
            self.unfiled = {}
        if overlay.unfiled:
            self.unfiled |= overlay.unfiled
        self.unfiled_from = overlay.unfiled_from
        self.next_at = overlay.next_at
        if len(self.unfiled) > self._room:
            # A backlog of days is longer than any state: most of its runs have ended.
            self.unfiled = {run_id: None for run_id in self.unfiled if get_open(run_id) is not None}
            self._room = 2 * len(self.unfiled) + UNFILED_ROOM
            if not self.unfiled:
                self.unfiled_from = NEVER
                self.next_at = min(self.by_clock.next_at, self.by_stream.next_at)


class RemindersOverlay:
    """The reminders that a commit takes and adds: an overlay on `Reminders`, which it does not change.

    `has_filed`: the unfiled runs of the base are in `by_clock` by now; `next_at`: the instant from which a run may have
    to be examined in stream time, in milliseconds; `due` tells in which calendar.
    """

    def __init__(self, base: Reminders) -> None:
        self._base = base
        self._fires_at = base.deadlines.fires_at
        self._profile = base.profile
        self.by_clock = CalendarOverlay(base.by_clock)
        self.by_stream = CalendarOverlay(base.by_stream)
        self.unfiled: dict[str, None] = {}
        self.unfiled_from = base.unfiled_from
        self.has_filed = False
        self.next_at = base.next_at

    def watch(self, run: Run) -> None:
        """File the run under its next deadline, if it has one."""
        if run.clock_lag_ms or run.stream_lag_ms:
            self._add(self.by_stream, run, run.stream_lag_ms)
            if self.unfiled_from == NEVER:
                self.unfiled_from = run.status_since + _longer_lag(run)
                self.next_at = min(self.next_at, self.unfiled_from)
            self.unfiled[run.run_id] = None
        else:
            self._add(self.by_clock, run, 0)

    def _add(self, calendar: Calendar[str], run: Run, late_ms: int) -> None:
        stuck_at, overdue_at = self._fires_at(run, self._profile, late_ms)
        due = stuck_at if stuck_at < overdue_at else overdue_at  # noqa: FURB136  min() is a call
        if due < NEVER:
            calendar.add(run.run_id, due)
            if calendar.next_at < self.next_at:  # noqa: PLR1730  min() is a call
                self.next_at = calendar.next_at

    def file(self, now: int, look: GetOpen) -> None:
        """File late runs by the clock too, once `now` is where the clock was at their arrival.

        `look` returns an open run as it is by now.
        """
        if now < self.unfiled_from:
            return
        for run in map(look, chain(() if self.has_filed else self._base.unfiled, self.unfiled)):
            if run is not None:
                self._add(self.by_clock, run, _longer_lag(run))
        self.has_filed = True
        self.unfiled = {}
        self.unfiled_from = NEVER

    def due(self, now: int, *, by_clock: bool) -> CalendarOverlay[str] | None:
        """Return the calendar whose next run is due at `now`, the earlier one if both are; None if neither is."""
        first = self.by_clock
        if not by_clock and self.by_stream.next_at < first.next_at:
            first = self.by_stream
        return first if first.next_at <= now else None

    def find_next(self) -> None:
        """Recompute `next_at`, after reminders were taken."""
        self.next_at = min(self.unfiled_from, self.by_clock.next_at, self.by_stream.next_at)


def more_ms(run: Run, now: int, *, by_clock: bool) -> int:
    """Return how much more time a run has when it is examined at `now`."""
    if not run.clock_lag_ms and not run.stream_lag_ms:
        return 0
    is_behind = now <= run.status_since + run.clock_lag_ms - MAX_LATE_MS
    return run.stream_lag_ms if is_behind and not by_clock else _longer_lag(run)


def _longer_lag(run: Run) -> int:
    return max(run.stream_lag_ms, run.clock_lag_ms)
