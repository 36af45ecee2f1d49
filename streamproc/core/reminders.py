"""Whose deadlines to look at when: in a partition's stream time, and by the clock once it is caught up (rules.md 16).

The two differ for runs of late events only: each time gives those as much more time as they were late by it.
"""

from collections.abc import Iterator

from streamproc.core.calendar import Calendar
from streamproc.core.deadlines import TICK_MS, Deadlines
from streamproc.core.lifecycle import Profile
from streamproc.core.model import Run


class Reminders:
    """Run ids by when to look at them. `in_time`: those that both times look at alike."""

    def __init__(self) -> None:
        self.in_time: Calendar[str] = Calendar(TICK_MS)
        self.late_by_stream: Calendar[str] = Calendar(TICK_MS)
        self.late_by_clock: Calendar[str] = Calendar(TICK_MS)

    def add(self, run: Run, deadlines: Deadlines, profile: Profile) -> None:
        """Look at the run when its next deadline passes, if it has one."""
        if not run.stream_lag_ms and not run.clock_lag_ms:
            due = deadlines.next_at(run, profile)
            if due is not None:
                self.in_time.add(run.run_id, due)
            return
        by_lag = (self.late_by_stream, run.stream_lag_ms), (self.late_by_clock, run.clock_lag_ms)
        for calendar, late_ms in by_lag:
            due = deadlines.next_at(run, profile, late_ms)
            if due is not None:
                calendar.add(run.run_id, due)

    def due(self, now: int, *, by_clock: bool) -> Calendar[str] | None:
        """Return where the next look is due at `now`, None where none is; of several the earliest."""
        late = self.late_by_clock if by_clock else self.late_by_stream
        first = self.in_time if self.in_time.next_at <= late.next_at else late
        return first if first.next_at <= now else None

    def is_due(self, stream_time: int) -> bool:
        """Tell whether a look is due in stream time; `due` for the hot path."""
        return self.in_time.next_at <= stream_time or self.late_by_stream.next_at <= stream_time

    def keep(self) -> None:
        """Let what was taken be gone: the commit that it led to is confirmed."""
        for calendar in self._all():
            calendar.keep()

    def rewind(self) -> None:
        """Put back what was taken for a commit that never came about."""
        for calendar in self._all():
            calendar.rewind()

    def _all(self) -> Iterator[Calendar[str]]:
        yield from (self.in_time, self.late_by_stream, self.late_by_clock)
