"""The committed state of one partition. Only a confirmed commit, or a restore, changes it."""

from collections import Counter
from collections.abc import Mapping, ValuesView

from streamproc.core.calendar import Calendar
from streamproc.core.model import Run
from streamproc.core.reminders import Reminders
from streamproc.core.rules import Rules
from streamproc.core.runs import Runs
from streamproc.core.tally import Limiter


class State:
    """What one partition remembers: its runs, and how far its stream time has come.

    `forgetting` says which runs to look at when for retention, `limits` for deadlines.
    """

    def __init__(self, rules: Rules, stream_time: int = 0) -> None:
        """Start empty."""
        self.rules = rules
        self.runs = Runs(rules.profile.outcomes)
        self.by_status: Counter[str] = Counter()
        self.stream_time = stream_time
        self.shortest_ms = rules.retention.shortest_ms
        self.limiter = Limiter(rules.max_groups)
        self.forgetting: Calendar[str] = Calendar(rules.retention.bucket_ms)
        self.limits = Reminders(rules.deadlines, rules.profile)

    @property
    def live_keys(self) -> int:
        """How many keys run-state holds."""
        return len(self.runs)

    def open_runs(self) -> ValuesView[Run]:
        """Return the runs that have not ended."""
        return self.runs.open_runs()

    def put(self, run: Run) -> None:
        """Set a run's latest state."""
        before = self.runs.get(run.run_id)
        self.runs[run.run_id] = run
        if before is None or before.status != run.status:
            self.by_status[run.status] += 1
            if before is not None:
                self._leave(before.status)
        if before is None or self._ends(before, run):
            # At the earliest time that it may be due, ended or not: then it is looked at again, and filed anew.
            self.forgetting.add(run.run_id, run.retained_from + self.shortest_ms)

    def arm(self) -> None:
        """Watch the deadlines of a state that was read back."""
        for run in self.runs.open_runs():
            self.limits.watch(run)
        self.settle()

    def remove(self, run_id: str) -> None:
        """Forget a run, if it is there."""
        run = self.runs.get(run_id)
        if run is not None:
            del self.runs[run_id]
            self._leave(run.status)

    def due_at(self, run: Run) -> int:
        """Return the instant, in milliseconds, from which the run is forgotten."""
        return self.rules.retention.due_at(run, terminal=run.status in self.rules.profile.outcomes)

    def merge(self, changed: Mapping[str, Run | None], stream_time: int) -> None:
        """Take over what a confirmed commit changed; None: forgotten."""
        for run_id, run in changed.items():
            if run is None:
                self.remove(run_id)
            else:
                self.put(run)
        self.stream_time = stream_time
        self.settle()

    def settle(self) -> None:
        """Let the reminders that were looked at be gone."""
        self.forgetting.keep()
        self.limits.keep(self.runs.get_open)

    def rewind(self) -> None:
        """Put back the reminders that an aborted commit had looked at."""
        self.forgetting.rewind()
        self.limits.rewind()

    def live_after(self, changed: Mapping[str, Run | None]) -> int:
        """Return the number of keys once `changed` is merged."""
        runs = self.runs
        return len(runs) + sum((run is not None) - (run_id in runs) for run_id, run in changed.items())

    def _ends(self, before: Run, run: Run) -> bool:
        """Tell whether the run ended: while it was open it may have been filed for long after that."""
        outcomes = self.rules.profile.outcomes
        return before.status != run.status and run.status in outcomes

    def _leave(self, status: str) -> None:
        self.by_status[status] -= 1
        if not self.by_status[status]:
            del self.by_status[status]
