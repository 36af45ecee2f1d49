"""What the service says it did: the sum of its confirmed commits."""

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from heapq import nsmallest
from statistics import median
from typing import NamedTuple

from streamproc.core.alerts import AlertKind, AlertState, kind_of
from streamproc.core.calendar import NEVER
from streamproc.core.model import Run, Verdict
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.runtime.observer import CommitReport, FoldReport, Observer, StageState, TaskState, WindowReport
from streamproc.runtime.ports import TopicPartition

RECENT_COMMITS = 100


class Waiting(NamedTuple):
    """An open run in its status. Milliseconds: `for_ms` so far, `limit_ms` at most, `left_ms` below 0 once it is over.

    None where there is no limit. `left_ms` also goes by its expiry; `is_told`: an alert about it fires.
    """

    run_id: str
    status: str
    for_ms: int
    limit_ms: int | None
    left_ms: int | None
    is_told: bool


class OpenRuns(NamedTuple):
    """How many are open, of how many a limit has passed, and those with the least time left."""

    total: int = 0
    late: int = 0
    nearest: tuple[Waiting, ...] = ()


class Figures(Observer):
    """Adds up commit reports, and looks into the states of running tasks."""

    def __init__(self) -> None:
        self.events = self.transitions = self.alerts = self.revisions = self.commits = self.failures = 0
        self.alerts_by: Counter[tuple[str, str]] = Counter()
        self.tokens: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.verdicts: Counter[Verdict] = Counter()
        self.rejected: Counter[str] = Counter()
        self._held: dict[TopicPartition, State] = {}
        self._runs: dict[TopicPartition, Counter[str]] = {}
        self._left: dict[TopicPartition, tuple[Rules, Iterable[Run]]] = {}
        self._lags: dict[TopicPartition, int] = {}
        self._states: dict[TopicPartition, TaskState] = {}
        self._recent: deque[FoldReport] = deque(maxlen=RECENT_COMMITS)

    @property
    def runs_by_status(self) -> Counter[str]:
        """The runs of all partitions, those of a task that has stopped as they were when it stopped."""
        counts = (*self._runs.values(), *(state.by_status for state in self._held.values()))
        return sum(counts, Counter[str]())

    @property
    def firing(self) -> Counter[str]:
        """How many alerts fire, by kind; occurrences are told once, and resolve never."""
        states = AlertState.FIRING, AlertState.RESOLVED
        kinds = {kind for kind, _ in self.alerts_by} - {AlertKind.ILLEGAL.value}
        began, ended = (Counter({kind: self.alerts_by[kind, state] for kind in kinds}) for state in states)
        return began - ended

    def open_runs(self, now_ms: int, shown: int) -> OpenRuns:
        """Look at the open runs, those of a task that has stopped as they were then; `shown`: so many in detail."""
        held = [(state.rules, state.open_runs()) for state in self._held.values()]
        runs = [_waiting(run, rules, now_ms) for rules, each in (*held, *self._left.values()) for run in each]
        nearest = nsmallest(shown, runs, key=lambda run: (NEVER if run.left_ms is None else run.left_ms, -run.for_ms))
        late = sum(run.left_ms is not None and run.left_ms <= 0 for run in runs)
        return OpenRuns(len(runs), late, tuple(nearest))

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

    def running(self, source: TopicPartition, held: StageState) -> None:
        """Look into the state from now on, until the task leaves RUNNING."""
        if isinstance(held, State):
            self._held[source] = held
            self._runs.pop(source, None)
            self._left.pop(source, None)

    def committed(self, report: CommitReport) -> None:
        """Add a commit of either stage."""
        self.alerts += report.alerts.total()
        self.alerts_by.update(report.alerts)
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
        for (_, outcome), count in report.tally.ended.items():
            self.ended[outcome] += count
        for (_, _, kind), count in report.tally.tokens.items():
            self.tokens[kind] += count
        self._recent.append(report)

    def transacted(self, partitions: int, duration_s: float) -> None:  # noqa: ARG002  the fold tells how long it takes
        """Count a transaction."""
        self.commits += 1

    def transaction_failed(self, sources: Collection[TopicPartition], cause: str, why: str = "") -> None:  # noqa: ARG002  the log says more
        """Count it: a commit of unknown outcome is in the topics, but in no report."""
        self.failures += 1

    def task_state(self, source: TopicPartition, state: TaskState) -> None:
        """Note what a task is doing; what it held when it stopped is the last that is known."""
        self._states[source] = state
        if state is not TaskState.RUNNING and (held := self._held.pop(source, None)):
            self._runs[source] = Counter(held.by_status)
            self._left[source] = held.rules, tuple(held.open_runs())

    def lag(self, source: TopicPartition, records: int, seconds: float) -> None:  # noqa: ARG002  latency says more here
        """Note how far behind a task is."""
        self._lags[source] = records

    def caught_up(self, source: TopicPartition) -> None:
        """Note that a task has nothing to read."""
        self._lags[source] = 0


def _waiting(run: Run, rules: Rules, now_ms: int) -> Waiting:
    limit_at, expires_at = rules.deadlines.ends(run, rules.profile)
    due = min(limit_at, expires_at)
    return Waiting(
        run.run_id,
        run.status,
        max(0, now_ms - run.status_since),
        limit_at - run.status_since if limit_at < NEVER else None,
        due - now_ms if due < NEVER else None,
        any(kind_of(identity) != AlertKind.ILLEGAL for identity in run.alerts),
    )


class Growth:
    """By how much totals that only grow have grown in the last `over_s` seconds."""

    def __init__(self, over_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._over_s = over_s
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()

    def measure(self, count: int) -> int:
        """Take note of a total; return its growth."""
        now = self._clock()
        self._samples.append((now, count))
        while now - self._samples[0][0] > self._over_s:
            self._samples.popleft()
        return count - self._samples[0][1]

    def per_s(self, count: int) -> float:
        """Take note of a total; return its growth per second."""
        growth, (began, _) = self.measure(count), self._samples[0]
        now, _ = self._samples[-1]
        return growth / (now - began) if now > began else 0.0
