"""Prometheus metrics of what the runtime reports.

Counters move only with a confirmed commit (rules.md 24); those of rebalances and failures count what is no commit.
Gauges are made of the running tasks' latest reports when somebody reads. Sums over replicas are the reader's business.
"""

import platform
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from msgspec import Struct, field
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder

from streamproc.core.lifecycle import Profile
from streamproc.observe import names
from streamproc.observe.counters import PipelineCounters, RunCounters
from streamproc.runtime.observer import CommitReport, Observer, TaskState

LIVING_STATES = tuple(state for state in TaskState if state is not TaskState.CLOSED)


class _Task(Struct):
    """What one partition's task reported last; a new one for each state, so that no report outlives the state."""

    state: TaskState
    remaining: int = 0
    lag: tuple[int, float] | None = None
    runs: Counter[str] = field(default_factory=Counter)


class MetricsObserver(Observer):
    """Exports what it is told, on a registry of its own. A model beyond the first `max_models` is `other`."""

    def __init__(self, profile: Profile, *, max_models: int = 20) -> None:
        self._pipeline = PipelineCounters()
        self._runs = RunCounters(profile, max_models)
        self._tasks: dict[int, _Task] = {}
        self._build = _build()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics and their content type, text or OpenMetrics, as the HTTP Accept header `accept` asks."""
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # prometheus_client cannot compare a version like 1.x.
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Family]:
        """Yield every family: the registry calls this when the metrics are read."""
        yield self._build
        yield from self._pipeline.families()
        yield from self._runs.families()
        yield from self._gauges()

    def task_state(self, partition: int, state: TaskState) -> None:
        """Forget what the partition reported in its state before: it may have had another owner since."""
        if state is TaskState.CLOSED:
            self._tasks.pop(partition, None)
        else:
            self._tasks[partition] = _Task(state)

    def committed(self, report: CommitReport) -> None:
        """Count what a confirmed commit did."""
        self._pipeline.add(report)
        self._runs.add(report.tally, report.forgotten)
        if task := self._tasks.get(report.partition):
            task.runs = report.runs_by_status

    def transaction_failed(self, partition: int, cause: str) -> None:  # noqa: ARG002  a cause is not a partition's own
        """Count a failure."""
        self._pipeline.failed(cause)

    def restoring(self, partition: int, remaining: int) -> None:
        """Note how much is left to read."""
        if task := self._tasks.get(partition):
            task.remaining = remaining

    def restored(self, partition: int, runs_by_status: Counter[str]) -> None:
        """Note the runs of a partition that may stay idle for long."""
        if task := self._tasks.get(partition):
            task.runs = runs_by_status

    def lag(self, partition: int, records: int, seconds: float) -> None:
        """Note how far behind the partition is: 0 s where nothing is unread, however old the last record is."""
        if task := self._tasks.get(partition):
            task.lag = records, seconds if records else 0.0

    def caught_up(self, partition: int) -> None:
        """Note that nothing is unread."""
        self.lag(partition, 0, 0.0)

    def rebalanced(self, partitions: frozenset[int]) -> None:  # noqa: ARG002  how many is what task_state says
        """Count a rebalance, when it is over."""
        self._pipeline.rebalances.add(1)

    def _gauges(self) -> Iterator[Family]:
        tasks = self._tasks.values()
        states = Counter(task.state for task in tasks)
        yield _gauge(names.TASK_STATE, {state.value: states[state] for state in LIVING_STATES})
        yield GaugeMetricFamily(*names.RESTORE_REMAINING[:2], sum(task.remaining for task in tasks))
        running = {str(number): task for number, task in self._tasks.items() if task.state is TaskState.RUNNING}
        yield _gauge(names.RUNS, self._runs.by_status(task.runs for task in running.values()))
        lag = {number: task.lag for number, task in running.items() if task.lag is not None}
        yield _gauge(names.CONSUMER_LAG_RECORDS, {number: records for number, (records, _) in lag.items()})
        yield _gauge(names.CONSUMER_LAG_SECONDS, {number: seconds for number, (_, seconds) in lag.items()})


def _gauge(metric: names.Metric, values: dict[str, int] | dict[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.documentation, labels=metric.labels)
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def _build() -> InfoMetricFamily:
    try:
        installed = version("streamproc")
    except PackageNotFoundError:  # A checkout on the path, not installed.
        installed = "unknown"
    about = {"version": installed, "python": platform.python_version()}
    return InfoMetricFamily(names.BUILD.name, names.BUILD.documentation, about)
