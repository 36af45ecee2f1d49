"""Prometheus metrics of what the runtime reports.

Counters move only with a confirmed commit (rules.md 24); those of rebalances and failures count what is no commit.
Gauges are read from the running tasks' states when somebody asks. Sums over replicas are the reader's business.
"""

from collections.abc import Collection, Iterator, Mapping

from prometheus_client.core import Metric as Family

from streamproc.core.alerts import kinds_of
from streamproc.core.lifecycle import Profile
from streamproc.observe import names
from streamproc.observe.config import MetricsSettings
from streamproc.observe.counters import InputCounters, PipelineCounters, WindowCounters
from streamproc.observe.exposition import Process
from streamproc.observe.push import PushMetrics
from streamproc.observe.registry import RegistryMetrics
from streamproc.observe.runmetrics import RunCounters
from streamproc.observe.scrapes import Scrapes
from streamproc.observe.series import CounterSeries
from streamproc.observe.tasks import Tasks
from streamproc.runtime.config import StateSettings
from streamproc.runtime.observer import CommitReport, FoldReport, Observer, WindowReport
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskrecords import TaskRecords

DEFAULTS = MetricsSettings()
NO_REQUESTS: Mapping[str, int] = {}
STATE = StateSettings()


class MetricsObserver(Observer):
    """Exports what it observes, and the tasks in `records`. `push` and `registry`: the observers of those parts.

    `requests`: how many were sent to Kafka, by kind, as of now. `state`: what payloads may take.
    """

    def __init__(
        self,
        records: TaskRecords,
        profile: Profile,
        settings: MetricsSettings = DEFAULTS,
        requests: Mapping[str, int] = NO_REQUESTS,
        state: StateSettings = STATE,
    ) -> None:
        self.push = PushMetrics()
        self.registry = RegistryMetrics()
        self._pipeline = PipelineCounters(tuple(kinds_of(profile.documented)))
        self._input = InputCounters()
        self._runs = RunCounters(profile, settings)
        self._windows = WindowCounters()
        self._tasks = Tasks(records, profile, state)
        self._requests = requests
        self._process = Process(profile.name)
        self._scrapes = Scrapes(self.families)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics and their content type, text or OpenMetrics, as the HTTP Accept header `accept` asks.

        May be called again before it is done: those who wait share what is counted and written.
        """
        return await self._scrapes.exposition(accept)

    async def families(self) -> list[Family]:
        """Return all families as of the same moment, except that the runs are counted shortly before."""
        census = await self._tasks.census()
        return [*self._counters(), *self._tasks.families(census), *self._process.families()]

    def committed(self, report: CommitReport) -> None:
        """Count a confirmed commit."""
        self._pipeline.add(report)
        report.tell(self)

    def folded(self, report: FoldReport) -> None:
        """Count the results of events and runs."""
        self._input.add(report)
        self._runs.add(report)

    def summed(self, report: WindowReport) -> None:
        """Count the results of windows."""
        self._windows.add(report)

    def transacted(self, partitions: int, duration_s: float) -> None:  # noqa: ARG002  the stages' commits are timed
        """Count a confirmed transaction."""
        self._pipeline.transacted()

    def transaction_failed(self, sources: Collection[TopicPartition], cause: str, why: str = "") -> None:  # noqa: ARG002  a cause is nobody's own
        """Count a failure."""
        self._pipeline.failed(cause)

    def rebalanced(self, sources: frozenset[TopicPartition]) -> None:  # noqa: ARG002  how many is what task_state says
        """Count a rebalance, when it is over."""
        self._pipeline.rebalanced()

    def _counters(self) -> Iterator[Family]:
        requests = CounterSeries(names.KAFKA_REQUESTS)
        for kind, count in self._requests.items():
            requests.add(count, kind)
        yield requests.family()
        for part in (self._input, self._pipeline, self._runs, self._windows, self.push, self.registry):
            yield from part.families()
