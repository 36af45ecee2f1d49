"""Whose deadlines to look at when: in a partition's stream time, and by the clock once it is caught up (rules.md 16).

The two differ for runs of late events only: each time gives those as much more time as they were late by it. Once the
stream is where the clock was at their arrival, as where live events follow old ones, it gives what the clock gives: a
stream that jumped there tells nothing of what else is late.
"""

from collections.abc import Callable

from streamproc.core.calendar import NEVER, Calendar
from streamproc.core.deadlines import TICK_MS, Deadlines
from streamproc.core.lifecycle import Profile
from streamproc.core.model import MAX_LATE_MS, Run

UNFILED_ROOM = 10_000
"""Late runs that are kept track of without looking which of them have ended."""


class Reminders:
    """Run ids by when to look at them. `in_time`: those that both times look at alike."""

    def __init__(self, deadlines: Deadlines, profile: Profile) -> None:
        self._deadlines = deadlines
        self._profile = profile
        self.in_time: Calendar[str] = Calendar(TICK_MS)
        self.late_by_stream: Calendar[str] = Calendar(TICK_MS)
        self.late_by_clock: Calendar[str] = Calendar(TICK_MS)
        # A backlog brings late runs by the thousand, and most end before anybody looks at them by the clock.
        self._unfiled: dict[str, None] = {}
        self._unfiled_from = NEVER
        self._room = UNFILED_ROOM
        self._filed: dict[str, None] = {}
        self._filed_from = NEVER
        self.next_at = NEVER
        """The instant from which a look in stream time may be due, in milliseconds; `due` tells where."""
        self._by_clock = (self.in_time, self.late_by_clock)
        self._in_stream = (*self._by_clock, self.late_by_stream)

    def watch(self, run: Run) -> None:
        """Look at the run when its next deadline passes, if it has one."""
        if run.clock_lag_ms or run.stream_lag_ms:
            self._add(self.late_by_stream, run, run.stream_lag_ms)
            if not self._unfiled:
                self._unfiled_from = run.status_since + _longer_lag(run)
                self.next_at = min(self.next_at, self._unfiled_from)
            self._unfiled[run.run_id] = None
        else:
            self._add(self.in_time, run, 0)

    def _add(self, calendar: Calendar[str], run: Run, late_ms: int) -> None:
        due = self._deadlines.next_at(run, self._profile, late_ms)
        if due is not None:
            calendar.add(run.run_id, due)
            if calendar.next_at < self.next_at:  # noqa: PLR1730  min() is a call
                self.next_at = calendar.next_at

    def file(self, now: int, look: Callable[[str], Run | None]) -> None:
        """See to it that late runs are looked at by the clock, once `now` is where it was at their arrival.

        `look` returns an open run as it is by now.
        """
        if now < self._unfiled_from:
            return
        for run in map(look, self._unfiled):
            if run is not None:
                self._add(self.late_by_clock, run, _longer_lag(run))
        self._filed = {**self._filed, **self._unfiled}
        self._filed_from = min(self._filed_from, self._unfiled_from)
        self._unfiled = {}
        self._unfiled_from = NEVER

    def due(self, now: int, *, by_clock: bool) -> Calendar[str] | None:
        """Return where the next look is due at `now`, None where none is; of several the earliest."""
        first = min(self._by_clock if by_clock else self._in_stream, key=lambda calendar: calendar.next_at)
        return first if first.next_at <= now else None

    def find_next(self) -> None:
        """Find out anew when a look in stream time may be due, once some were taken."""
        self.next_at = min(self._unfiled_from, *(calendar.next_at for calendar in self._in_stream))

    def keep(self, get_open: Callable[[str], Run | None]) -> None:
        """Let what was taken be gone: the commit that it led to is confirmed. `get_open`: of committed runs."""
        for calendar in self._in_stream:
            calendar.keep()
        self._filed = {}
        self._filed_from = NEVER
        if len(self._unfiled) > self._room:
            # A backlog of days is longer than any state: most of its runs have ended.
            self._unfiled = {run_id: None for run_id in self._unfiled if get_open(run_id) is not None}
            self._room = 2 * len(self._unfiled) + UNFILED_ROOM

    def rewind(self) -> None:
        """Put back what was taken for a commit that never came about."""
        for calendar in self._in_stream:
            calendar.rewind()
        if self._filed:
            # The aborted commit may have held the end of one of them: it was not filed.
            self._unfiled = {**self._filed, **self._unfiled}
            self._unfiled_from = min(self._filed_from, self._unfiled_from)
            self._filed = {}
            self._filed_from = NEVER
        self.find_next()


def more_ms(run: Run, now: int, *, by_clock: bool) -> int:
    """Return how much more time a run has, where it is looked at at `now`."""
    is_behind = now <= run.status_since + run.clock_lag_ms - MAX_LATE_MS
    return run.stream_lag_ms if is_behind and not by_clock else _longer_lag(run)


def _longer_lag(run: Run) -> int:
    return max(run.stream_lag_ms, run.clock_lag_ms)
