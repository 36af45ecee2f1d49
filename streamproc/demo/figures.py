"""The figures reported by the service: the sum of its confirmed commits."""

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
from streamproc.runtime.observer import CommitReport, FoldReport, Observer, StageState, WindowReport
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskstates import TaskState

RECENT_COMMITS = 100


class WaitingRun(NamedTuple):
    """An open run in its status. `for_ms`: so far; `limit_ms`: its limit; `left_ms`: below 0 once the limit has passed.

    None where there is no limit. `left_ms` also respects the run's expiry; `is_told`: an alert about the run fires.
    """

    run_id: str
    status: str
    for_ms: int
    limit_ms: int | None
    left_ms: int | None
    is_told: bool


class OpenRuns(NamedTuple):
    """The count of open runs, of those past a limit, and the runs with the least time left."""

    total: int = 0
    late: int = 0
    nearest: tuple[WaitingRun, ...] = ()


class Figures(Observer):
    """Adds up commit reports, and looks into the states of running tasks."""

    def __init__(self) -> None:
        self.events = self.transitions = self.alerts = self.revisions = self.commits = self.failures = 0
        self.alerts_by: Counter[tuple[str, str]] = Counter()
        self.tokens: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.verdicts: Counter[Verdict] = Counter()
        self.rejected: Counter[str] = Counter()
        self._task_states: dict[TopicPartition, State] = {}
        self._runs: dict[TopicPartition, Counter[str]] = {}
        self._final_runs: dict[TopicPartition, tuple[Rules, Iterable[Run]]] = {}
        self._lags: dict[TopicPartition, int] = {}
        self._states: dict[TopicPartition, TaskState] = {}
        self._recent: deque[FoldReport] = deque(maxlen=RECENT_COMMITS)

    @property
    def runs_by_status(self) -> Counter[str]:
        """The runs of all partitions by status; for a task that has stopped, as of its stop."""
        counts = (*self._runs.values(), *(state.by_status for state in self._task_states.values()))
        return sum(counts, Counter[str]())

    @property
    def firing(self) -> Counter[str]:
        """How many alerts fire, by kind, without occurrences, which never resolve."""
        states = AlertState.FIRING, AlertState.RESOLVED
        kinds = {kind for kind, _ in self.alerts_by} - {AlertKind.ILLEGAL.value}
        began, ended = (Counter({kind: self.alerts_by[kind, state] for kind in kinds}) for state in states)
        return began - ended

    def open_runs(self, now_ms: int, shown: int) -> OpenRuns:
        """Return the open runs; for a task that has stopped, as of its stop. `shown`: how many in detail."""
        running_states = [(state.rules, state.open_runs()) for state in self._task_states.values()]
        runs = [
            _waiting(run, rules, now_ms)
            for rules, open_ in (*running_states, *self._final_runs.values())
            for run in open_
        ]
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

    def running(self, source: TopicPartition, state: StageState) -> None:
        """Read this state from now on, until the task leaves RUNNING."""
        if isinstance(state, State):
            self._task_states[source] = state
            self._runs.pop(source, None)
            self._final_runs.pop(source, None)

    def committed(self, report: CommitReport) -> None:
        """Add a commit of either stage."""
        self.alerts += report.alerts.total()
        self.alerts_by.update(report.alerts)
        report.tell(self)

    def summed(self, report: WindowReport) -> None:
        """Add a commit of the windows."""
        self.revisions += report.closed + report.revised

    def folded(self, report: FoldReport) -> None:
        """Add a commit of the fold, which also has the duration."""
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
        """Count a failure: a commit of unknown outcome may be in the topics, but in no report."""
        self.failures += 1

    def task_state(self, source: TopicPartition, state: TaskState) -> None:
        """Note a task's state. When it stops, keep the last figures of its runs."""
        self._states[source] = state
        if state is not TaskState.RUNNING and (final := self._task_states.pop(source, None)):
            self._runs[source] = Counter(final.by_status)
            self._final_runs[source] = final.rules, tuple(final.open_runs())

    def lag(self, source: TopicPartition, records: int, seconds: float) -> None:  # noqa: ARG002  latency says more here
        """Note how far behind a task is."""
        self._lags[source] = records

    def caught_up(self, source: TopicPartition) -> None:
        """Note that a task has nothing to read."""
        self._lags[source] = 0


def _waiting(run: Run, rules: Rules, now_ms: int) -> WaitingRun:
    limit_at, expires_at = rules.deadlines.ends(run, rules.profile)
    due = min(limit_at, expires_at)
    return WaitingRun(
        run.run_id,
        run.status,
        max(0, now_ms - run.status_since),
        limit_at - run.status_since if limit_at < NEVER else None,
        due - now_ms if due < NEVER else None,
        any(kind_of(identity) != AlertKind.ILLEGAL for identity in run.alerts),
    )


class Growth:
    """The growth of an increasing total in the last `over_s` seconds."""

    def __init__(self, over_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._over_s = over_s
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()

    def measure(self, count: int) -> int:
        """Add a sample of the total; return its growth."""
        clock_s = self._clock()
        self._samples.append((clock_s, count))
        while clock_s - self._samples[0][0] > self._over_s:
            self._samples.popleft()
        return count - self._samples[0][1]

    def per_s(self, count: int) -> float:
        """Add a sample of the total; return its growth per second."""
        growth, (first_s, _) = self.measure(count), self._samples[0]
        last_s, _ = self._samples[-1]
        return growth / (last_s - first_s) if last_s > first_s else 0.0
