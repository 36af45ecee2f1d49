"""The committed state of one partition. Only a confirmed commit changes it."""

from collections.abc import Mapping

from streamproc.core.model import Retention, Run
from streamproc.core.retention import Calendar, due_at


class State:
    """What one partition remembers: its runs, and how far its stream time has come. Changed only by `merge`."""

    def __init__(self, retention: Retention, terminal: Mapping[str, str]) -> None:
        self.runs: dict[str, Run] = {}
        self.stream_time = 0
        self._retention = retention
        self._terminal = terminal
        self._calendar = Calendar(retention)

    def put(self, run: Run) -> None:
        """Set a run's latest state."""
        before = self.runs.get(run.run_id)
        self.runs[run.run_id] = run
        # An end brings the due time forward; every other change only moves it back, and the calendar finds that out.
        if before is None or (run.status in self._terminal and before.status not in self._terminal):
            self._calendar.add(run.run_id, self.due_at(run))

    def due_at(self, run: Run) -> int:
        """Return the instant, in milliseconds, from which the run is forgotten."""
        return due_at(run, self._retention, terminal=run.status in self._terminal)

    def candidates(self, now: int) -> tuple[list[str], int]:
        """Return ids of runs that may be due to be forgotten, and the horizon they were looked for up to."""
        return self._calendar.candidates(now)

    def merge(self, changed: Mapping[str, Run | None], stream_time: int, horizon: int) -> None:
        """Take over what a confirmed commit changed; None: forgotten."""
        for run_id, run in changed.items():
            if run is None:
                self.runs.pop(run_id, None)
            else:
                self.put(run)
        self.stream_time = stream_time
        for run_id in list(self._calendar.take(horizon)):
            kept = self.runs.get(run_id)
            if kept is not None:
                self._calendar.add(run_id, self.due_at(kept))

    def live_after(self, changed: Mapping[str, Run | None]) -> int:
        """Return the number of keys once `changed` is merged."""
        runs = self.runs
        return len(runs) + sum((run is not None) - (run_id in runs) for run_id, run in changed.items())
