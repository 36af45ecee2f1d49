"""One application on the fake Kafka: what arrives, who works, what was committed; only the test moves its clock."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from math import gcd
from typing import Any

from streamproc.codec.decode import decode
from streamproc.codec.measurements import decode_measurements
from streamproc.core.deadlines import Deadlines
from streamproc.core.measure import Mark, Measurement, Measurements
from streamproc.core.model import RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.windowstate import WindowRules
from streamproc.runtime.config import CommitSettings, DeadLetterSettings, TopicSettings
from streamproc.runtime.fold import FoldSettings
from streamproc.runtime.job import Job
from streamproc.runtime.learning import Registry
from streamproc.runtime.observer import CommitReport, FoldReport, Observer, Pause, WindowReport
from streamproc.runtime.ports import Reader, TopicPartition
from streamproc.runtime.stages import Stages, stages
from streamproc.runtime.taskstates import TaskState
from streamproc.runtime.topics import create_topics
from streamproc.runtime.worker import Worker
from tests.support.books import bundled_book
from tests.support.fake_kafka import Entry, FakeKafka, Fault
from tests.support.metrics_oracle import Revision, Said, WindowOf, alerts, revisions
from tests.support.oracle import FOREVER, NO_DEADLINES
from tests.support.runobjects import START_MS, framed, run_object
from tests.support.waiting import DEADLINE_S, eventually

MAX_RECORD_BYTES = 10_000
WINDOWS = WindowRules(sources=0, stream="run-events", silence_ms=0)


class Told(Observer):
    """Takes down what the observer is told: of the fold stage, and of the windows apart from it."""

    def __init__(self, events: str) -> None:
        self.events = events
        self.reports: list[FoldReport] = []
        self.states: list[tuple[int, TaskState]] = []
        self.failures: list[str] = []
        self.windows: list[WindowReport] = []
        self.window_states: list[tuple[int, TaskState]] = []
        self.failed_sources: Collection[TopicPartition] = ()
        self.rounds = 0
        self.pauses: dict[TopicPartition, tuple[Pause, str]] = {}
        self.paused_times = 0
        self.without_snapshots: list[str] = []
        self.lags: dict[TopicPartition, tuple[int, float]] = {}
        self.were_caught_up: set[TopicPartition] = set()

    def paused(self, source: TopicPartition, why: Pause, message: str) -> None:
        """Take down what a partition waits for."""
        self.pauses[source] = why, message
        self.paused_times += 1

    def has_no_snapshots(self, partition: int, why: str) -> None:  # noqa: ARG002  which one is of no matter
        """Take down why there are none."""
        self.without_snapshots.append(why)

    def resumed(self, source: TopicPartition) -> None:
        """Take down that it waits no longer."""
        self.pauses.pop(source, None)

    def committed(self, report: CommitReport) -> None:
        """Take down a commit that had records, or forgot something."""
        if isinstance(report, FoldReport) and (report.records or report.forgotten or report.alerts):
            self.reports.append(report)
        if isinstance(report, WindowReport):
            self.windows.append(report)

    def task_state(self, source: TopicPartition, state: TaskState) -> None:
        """Take down a step of a task's life."""
        known = self.states if source.topic == self.events else self.window_states
        known.append((source.partition, state))

    def lag(self, source: TopicPartition, records: int, seconds: float) -> None:
        """Take down how far behind a partition is."""
        self.lags[source] = records, seconds

    def caught_up(self, source: TopicPartition) -> None:
        """Take down that a partition was caught up once."""
        self.were_caught_up.add(source)

    def transaction_failed(self, sources: Collection[TopicPartition], cause: str, why: str = "") -> None:  # noqa: ARG002  the cause is enough
        """Take down a failure."""
        self.failures.append(cause)
        self.failed_sources = sources

    def progress(self) -> None:
        """Count the worker's rounds."""
        self.rounds += 1

    @property
    def records(self) -> int:
        """How many records were reported as committed."""
        return sum(report.records for report in self.reports)


class WatchedKafka(FakeKafka):
    """A fake that remembers which partitions' states were read back."""

    def __init__(self, topics: TopicSettings) -> None:
        super().__init__()
        self.state_topic = topics.state
        self.restored: list[int] = []
        self.read_back: list[str] = []

    async def reader(self, topic: str, partition: int) -> Reader:
        """Return a reader."""
        if topic == self.state_topic:
            self.restored.append(partition)
        self.read_back.append(topic)
        return await super().reader(topic, partition)


class Application:
    """See the module. `kafka.fault` decides what goes wrong; rules count from the next worker on."""

    def __init__(
        self,
        retention: Retention = FOREVER,
        max_records: int = 100,
        deadlines: Deadlines = NO_DEADLINES,
        windows: WindowRules = WINDOWS,
    ) -> None:
        self.topics = TopicSettings()
        self.kafka = WatchedKafka(self.topics)
        self.told = Told(self.topics.events)
        self.now_ms = START_MS
        self.retention = retention
        self.deadlines = deadlines
        self.windows = windows
        self.book = bundled_book()
        self.registry: Registry | None = None
        self.dead_letters = DeadLetterSettings()
        self.interval_ms = 1
        self._max_records = max_records

    def stages(self) -> Stages:
        """Return what the workers do."""
        rules = Rules(ASSISTANTS, self.retention, self.deadlines, gcd(*self.windows.sizes_ms))
        commit = self.job().commit
        settings = FoldSettings("app", self.topics, rules, self.book, commit, self.kafka.partition_of)
        return stages(settings, self.windows)

    def worker(self) -> Worker:
        """Return a worker, not yet running."""
        return Worker(self.job(), self.stages())

    def job(self) -> Job:
        """Return what the workers go by."""
        return Job(
            kafka=self.kafka,
            topics=self.topics,
            commit=CommitSettings(max_records=self._max_records, interval_ms=self.interval_ms),
            max_record_bytes=MAX_RECORD_BYTES,
            registry=self.registry,
            dead_letters=self.dead_letters,
            observer=self.told,
            clock=lambda: self.now_ms / 1000,
        )

    def send(self, status: str, run: str = "run_1", partition: int = 0, at_ms: int | None = None, **fields: Any) -> int:
        """Add an event to the input, at the clock's time unless told otherwise; return its offset."""
        value = framed("v2_1", run_object(id=run, status=status, thread_id="thread_1", **fields))
        return self.send_bytes(value, partition, at_ms)

    def send_bytes(
        self,
        value: bytes | None,
        partition: int = 0,
        at_ms: int | None = None,
        headers: Any = (),
        key: Any = b"thread_1",
    ) -> int:
        """Add any record to the input; return its offset."""
        timestamp = self.now_ms if at_ms is None else at_ms
        return (
            self.kafka.logs[self.topics.events][partition].append((key, value, timestamp, headers), "committed").offset
        )

    def output(self, role: str, partition: int = 0) -> list[Entry]:
        """Return what may be read of an output topic, by the name of its setting."""
        return self.kafka.logs[getattr(self.topics, role)][partition].stable(0)

    def ids(self, role: str, partition: int = 0) -> list[str]:
        """Return the ce_id of each record of an output topic."""
        return [dict(entry.headers)["ce_id"].decode() for entry in self.output(role, partition)]

    def outputs(self, role: str) -> list[Entry]:
        """Return what may be read of an output topic, partition after partition."""
        return [entry for log in self.kafka.logs[getattr(self.topics, role)] for entry in log.stable(0)]

    def revisions(self) -> dict[WindowOf, list[Revision]]:
        """Return what run-metrics holds, by window."""
        return revisions(self.outputs("metrics"))

    def alerts(self) -> list[Said]:
        """Return what run-alerts holds."""
        return alerts(self.outputs("alerts"))

    def events(self, partition: int = 0) -> list[RunEvent]:
        """Return the good events of an input partition."""
        return decode(self.kafka.logs[self.topics.events][partition].stable(0), bundled_book()).events

    def measurements(self, partition: int = 0) -> list[Measurement]:
        """Return the sums that a measurement partition was sent."""
        return [measurement for record in self._measured(partition) for measurement in record.sums]

    def marks(self, partition: int = 0) -> list[Mark]:
        """Return the marks that a measurement partition was sent."""
        return [mark for record in self._measured(partition) for mark in record.marks]

    def _measured(self, partition: int) -> list[Measurements]:
        return decode_measurements(self.output("measurements", partition)).arrivals

    def metadata(self, partition: int = 0) -> dict[str, Any]:
        """Return what was committed along with the offset."""
        return dict(json.loads(self.kafka.offsets[self.source(partition)].metadata))

    def source(self, partition: int = 0) -> TopicPartition:
        """Return a partition of the input."""
        return TopicPartition(self.topics.events, partition)

    def measured(self, partition: int = 0) -> TopicPartition:
        """Return a partition of the measurements."""
        return TopicPartition(self.topics.measurements, partition)

    def is_drained(self) -> bool:
        """Whether the whole input is committed."""
        ends = {number: log.end for number, log in enumerate(self.kafka.logs[self.topics.events])}
        found = self.kafka.offsets
        return all(
            (found[self.source(number)].offset if self.source(number) in found else 0) == end
            for number, end in ends.items()
        )

    def is_summed(self) -> bool:
        """Whether the input is committed, and all that was measured of it."""
        found, topic = self.kafka.offsets, self.topics.measurements
        committed = {place.partition: each.offset for place, each in found.items() if place.topic == topic}
        logs = enumerate(self.kafka.logs[topic])
        return self.is_drained() and not any(log.stable(committed.get(number, 0)) for number, log in logs)

    async def summed(self) -> None:
        """Wait until the input and what was measured of it are committed."""
        await eventually(self.is_summed)

    async def all_run(self) -> None:
        """Wait until each source runs, and has said so to the windows."""
        sources = {self.source(number) for number in range(len(self.kafka.logs[self.topics.events]))}
        await eventually(lambda: sources <= self.kafka.offsets.keys())

    async def drained(self) -> None:
        """Wait until the whole input is committed and reported."""
        await eventually(self.is_drained)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[Worker]:
        """Run a worker for the length of the block."""
        worker = self.worker()
        run = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(run, DEADLINE_S)

    async def run_to_its_end(self) -> None:
        """Run a worker that is expected to end by itself."""
        await asyncio.wait_for(self.worker().run(), DEADLINE_S)


async def application(partitions: int = 1, **settings: Any) -> Application:
    """Return an application with its topics."""
    it = Application(**settings)
    await create_topics(it.kafka, it.topics, partitions, MAX_RECORD_BYTES)
    return it


def once(point: str, error: BaseException) -> Fault:
    """Return a fault that raises `error` the first time that `point` is passed."""
    left = [error]

    def fault(at: str) -> None:
        if at == point and left:
            raise left.pop()

    return fault


def always(point: str, make: Callable[[], BaseException]) -> Fault:
    """Return a fault that raises whenever `point` is passed."""

    def fault(at: str) -> None:
        if at == point:
            raise make()

    return fault
