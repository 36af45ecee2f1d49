"""What the service says it did: the sum of its confirmed commits."""

import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from statistics import median

from streamproc.core.model import Verdict
from streamproc.core.state import State
from streamproc.runtime.observer import CommitReport, FoldReport, Held, Observer, TaskState, WindowReport
from streamproc.runtime.ports import TopicPartition

RECENT_COMMITS = 100
SPEED_OVER_S = 5.0


class Figures(Observer):
    """Adds up commit reports, and looks into the states of running tasks."""

    def __init__(self) -> None:
        self.events = self.transitions = self.alerts = self.revisions = self.commits = self.failures = 0
        self.verdicts: Counter[Verdict] = Counter()
        self.rejected: Counter[str] = Counter()
        self._held: dict[TopicPartition, State] = {}
        self._runs: dict[TopicPartition, Counter[str]] = {}
        self._lags: dict[TopicPartition, int] = {}
        self._states: dict[TopicPartition, TaskState] = {}
        self._recent: deque[FoldReport] = deque(maxlen=RECENT_COMMITS)

    @property
    def runs_by_status(self) -> Counter[str]:
        """The runs of all partitions, those of a task that has stopped as they were when it stopped."""
        counts = (*self._runs.values(), *(state.by_status for state in self._held.values()))
        return sum(counts, Counter[str]())

    @property
    def behind(self) -> int:
        """Records not read yet by either stage, as of each task's last fetch."""
        return sum(self._lags.values())

    @property
    def tasks(self) -> int:
        """How many tasks are running."""
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

    def running(self, source: TopicPartition, held: Held) -> None:
        """Look into the state from now on, until the task leaves RUNNING."""
        if isinstance(held, State):
            self._held[source] = held
            self._runs.pop(source, None)

    def committed(self, report: CommitReport) -> None:
        """Add a commit of either stage."""
        self.alerts += report.alerts.total()
        report.tell(self)

    def summed(self, report: WindowReport) -> None:
        """Add one of the windows."""
        self.revisions += report.closed + report.revised

    def folded(self, report: FoldReport) -> None:
        """Add one of the fold: how long commits take is told of it."""
        self.events += report.records
        self.transitions += report.tally.transitions.total()
        self.verdicts.update(report.tally.verdicts)
        self.rejected.update(report.rejected)
        self._recent.append(report)

    def transacted(self, partitions: int, duration_s: float) -> None:  # noqa: ARG002  the fold tells how long it takes
        """Count a transaction."""
        self.commits += 1

    def transaction_failed(self, sources: Collection[TopicPartition], cause: str) -> None:  # noqa: ARG002  the log says more
        """Count it: a commit of unknown outcome is in the topics, but in no report."""
        self.failures += 1

    def task_state(self, source: TopicPartition, state: TaskState) -> None:
        """Note what a task is doing; what it held when it stopped is the last that is known."""
        self._states[source] = state
        if state is not TaskState.RUNNING and (held := self._held.pop(source, None)):
            self._runs[source] = Counter(held.by_status)

    def lag(self, source: TopicPartition, records: int, seconds: float) -> None:  # noqa: ARG002  latency says more here
        """Note how far behind a task is."""
        self._lags[source] = records

    def caught_up(self, source: TopicPartition) -> None:
        """Note that a task has nothing to read."""
        self._lags[source] = 0


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
