"""The committed state of one partition. Only a confirmed commit, or a restore, changes it."""

from collections import Counter
from collections.abc import Mapping

from streamproc.core.model import Retention, Run
from streamproc.core.retention import Calendar, due_at
from streamproc.core.runs import Runs


class State:
    """What one partition remembers: its runs, and how far its stream time has come."""

    def __init__(self, retention: Retention, outcomes: Mapping[str, str]) -> None:
        """Start empty; the keys of `outcomes` are the profile's terminal statuses."""
        self.runs = Runs(outcomes)
        self.by_status: Counter[str] = Counter()
        self.stream_time = 0
        self.shortest_ms = min(retention.terminal_ms, retention.open_ms)
        self._retention = retention
        self._outcomes = outcomes
        self._calendar = Calendar(retention)

    def put(self, run: Run) -> None:
        """Set a run's latest state."""
        before = self.runs.get(run.run_id)
        self.runs[run.run_id] = run
        if before is None or before.status != run.status:
            self.by_status[run.status] += 1
            if before is not None:
                self._leave(before.status)
        # An end brings the due time forward; every other change only moves it back, and the calendar finds that out.
        if before is None or (run.status in self._outcomes and before.status not in self._outcomes):
            self._calendar.add(run.run_id, self.due_at(run))

    def remove(self, run_id: str) -> None:
        """Forget a run, if it is there."""
        run = self.runs.get(run_id)
        if run is not None:
            del self.runs[run_id]
            self._leave(run.status)

    def due_at(self, run: Run) -> int:
        """Return the instant, in milliseconds, from which the run is forgotten."""
        return due_at(run, self._retention, terminal=run.status in self._outcomes)

    def candidates(self, now: int) -> tuple[list[str], int]:
        """Return ids of runs that may be due to be forgotten, and the horizon they were looked for up to."""
        return self._calendar.candidates(now)

    def merge(self, changed: Mapping[str, Run | None], stream_time: int, horizon: int) -> None:
        """Take over what a confirmed commit changed; None: forgotten."""
        for run_id, run in changed.items():
            if run is None:
                self.remove(run_id)
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

    def _leave(self, status: str) -> None:
        self.by_status[status] -= 1
        if not self.by_status[status]:
            del self.by_status[status]
