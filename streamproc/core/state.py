"""The committed state of one partition. Only a confirmed commit, or a restore, changes it."""

from collections import Counter
from collections.abc import Mapping

from streamproc.core.model import Retention, Run
from streamproc.core.retention import MAX_FORGOTTEN_PER_COMMIT, Calendar, due_at
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
        if before is None:
            # At the earliest time that it may be due, ended or not: then it is looked at again, and filed anew.
            self._calendar.add(run.run_id, run.retained_from + self.shortest_ms)

    def remove(self, run_id: str) -> None:
        """Forget a run, if it is there."""
        run = self.runs.get(run_id)
        if run is not None:
            del self.runs[run_id]
            self._leave(run.status)

    def due_at(self, run: Run) -> int:
        """Return the instant, in milliseconds, from which the run is forgotten."""
        return due_at(run, self._retention, terminal=run.status in self._outcomes)

    def due(self, now: int) -> tuple[list[str], int]:
        """Return the ids of runs to be forgotten, as many as one commit may, and the horizon that these reach."""
        ids: list[str] = []
        horizon = 0
        for horizon_of_bucket, bucket in self._calendar.due_buckets(now):
            for run_id in bucket:
                run = self.runs.get(run_id)
                if run is not None and self.due_at(run) <= now:
                    ids.append(run_id)
                    if len(ids) >= MAX_FORGOTTEN_PER_COMMIT:
                        return ids, horizon
            horizon = horizon_of_bucket
        return ids, horizon

    def settle(self, horizon: int) -> None:
        """File the runs of the calendar anew up to `horizon`, as `due` returned it."""
        for run_id in list(self._calendar.take(horizon)):
            kept = self.runs.get(run_id)
            if kept is not None:
                self._calendar.add(run_id, self.due_at(kept))

    def merge(self, changed: Mapping[str, Run | None], stream_time: int, horizon: int) -> None:
        """Take over what a confirmed commit changed; None: forgotten."""
        for run_id, run in changed.items():
            if run is None:
                self.remove(run_id)
            else:
                self.put(run)
        self.stream_time = stream_time
        self.settle(horizon)

    def live_after(self, changed: Mapping[str, Run | None]) -> int:
        """Return the number of keys once `changed` is merged."""
        runs = self.runs
        return len(runs) + sum((run is not None) - (run_id in runs) for run_id, run in changed.items())

    def _leave(self, status: str) -> None:
        self.by_status[status] -= 1
        if not self.by_status[status]:
            del self.by_status[status]
