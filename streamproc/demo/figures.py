"""What the service says it did: the sum of its confirmed commits."""

import time
from collections import Counter, deque
from collections.abc import Callable
from statistics import median

from streamproc.core.model import Verdict
from streamproc.runtime.observer import CommitReport, Observer, TaskState

RECENT_COMMITS = 100
SPEED_OVER_S = 5.0


class Figures(Observer):
    """Adds up commit reports, and keeps each partition's latest."""

    def __init__(self) -> None:
        self.events = self.transitions = self.commits = self.failures = 0
        self.verdicts: Counter[Verdict] = Counter()
        self.rejected: Counter[str] = Counter()
        self._runs: dict[int, Counter[str]] = {}
        self._lags: dict[int, int] = {}
        self._states: dict[int, TaskState] = {}
        self._recent: deque[CommitReport] = deque(maxlen=RECENT_COMMITS)

    @property
    def runs_by_status(self) -> Counter[str]:
        """The runs of all partitions."""
        return sum(self._runs.values(), Counter[str]())

    @property
    def behind(self) -> int:
        """Records not read yet, as of each partition's last fetch."""
        return sum(self._lags.values())

    @property
    def running(self) -> int:
        """How many partitions are running."""
        return sum(state is TaskState.RUNNING for state in self._states.values())

    @property
    def commit_s(self) -> float | None:
        """The median time that a recent commit took, None before the first."""
        return median(report.duration_s for report in self._recent) if self._recent else None

    @property
    def latency_s(self) -> float | None:
        """The median time from a record's arrival to its confirmed commit; that of each commit's oldest record."""
        latencies = [report.latency_s for report in self._recent if report.records]
        return median(latencies) if latencies else None

    def restored(self, partition: int, runs_by_status: Counter[str]) -> None:
        """Take over what is there from before."""
        self._runs[partition] = runs_by_status

    def committed(self, report: CommitReport) -> None:
        """Add a commit."""
        self.commits += 1
        self.events += report.records
        self.transitions += report.tally.transitions.total()
        self.verdicts.update(report.tally.verdicts)
        self.rejected.update(report.rejected)
        self._runs[report.partition] = report.runs_by_status
        self._recent.append(report)

    def transaction_failed(self, partition: int, cause: str) -> None:  # noqa: ARG002  the log tells which and why
        """Count it: a commit of unknown outcome is in the topics, but in no report."""
        self.failures += 1

    def task_state(self, partition: int, state: TaskState) -> None:
        """Note what a partition is doing."""
        self._states[partition] = state

    def lag(self, partition: int, records: int, seconds: float) -> None:  # noqa: ARG002  latency says more here
        """Note how far behind a partition is."""
        self._lags[partition] = records

    def caught_up(self, partition: int) -> None:
        """Note that a partition has nothing to read."""
        self._lags[partition] = 0


class Speed:
    """How many a second, over the last few seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()

    def measure(self, count: int) -> float:
        """Take note of a total that only grows; return its growth per second."""
        now = self._clock()
        self._samples.append((now, count))
        while now - self._samples[0][0] > SPEED_OVER_S:
            self._samples.popleft()
        began, before = self._samples[0]
        return (count - before) / (now - began) if now > began else 0.0
