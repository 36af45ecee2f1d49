"""Workers on the fake Kafka under random faults: crashes, unknown outcomes, outages, rebalances, zombies.

Every seed is a schedule of its own; whatever happens, the outputs of both stages equal a plain replay. Run one again
with `pytest tests/sim -k "seed7"`, many more with `-m slow`.
"""

import asyncio
import math
from collections import defaultdict
from contextlib import suppress
from functools import partial
from itertools import chain
from random import Random
from zlib import crc32

import pytest
from msgspec import structs

from streamproc.codec.decode import decode
from streamproc.codec.framing import confluent
from streamproc.core.alerts import Severity
from streamproc.core.deadlines import Deadlines
from streamproc.core.failures import FailureRules
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.rules import Rules
from streamproc.errors import BrokerUnavailable, RegistryUnavailable, TaskInvalid
from streamproc.local.simulate import simulate
from streamproc.runtime.config import CommitSettings, TopicSettings
from streamproc.runtime.fold import FoldSettings
from streamproc.runtime.job import Job
from streamproc.runtime.observer import CommitReport, FoldReport, Observer
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.stages import stages
from streamproc.runtime.topics import create_topics
from streamproc.runtime.worker import Worker
from streamproc.settings.profiles import book_of
from streamproc.store.store import UNBOUNDED, StoreSettings
from tests.support.application import WINDOWS
from tests.support.books import bundled_book, writer_schema
from tests.support.disks import FAULTS, FaultyDisk
from tests.support.fake_kafka import Entry, FakeKafka, Log
from tests.support.fake_registry import IDS, FakeRegistry, full_book
from tests.support.impatience import wait_for_nothing
from tests.support.metrics_oracle import (
    FailureLimits,
    Limits,
    Said,
    SourcePass,
    alerts,
    failure_alerts,
    latest,
    one_pass,
    read,
    revisions,
    windows,
)
from tests.support.oracle import FOREVER, replay, written
from tests.support.runobjects import framed, run_object
from tests.support.waiting import eventually

PARTITIONS = 3
EVENTS = 600
EVENTS_PER_S = 20
UNKNOWN_RATIO = 0.01
START_MS = 1_717_200_000_000
WALL_S = START_MS / 1000 + 100_000
LAST_MS = 2_000_000
"""When the last event of each partition is, after START_MS."""
OFTENER = {"disk snapshot": 12, "disk label": 6}
"""There are few of these in a schedule: else it would take too many to see each fault."""
LOOK_S = 0.05
"""By so much the clock goes on whenever somebody looks at it."""

SIZES_MS, GRACE_MS = (2_000, 10_000), 1_000
LIMITS = Limits(1, overdue=True, stuck_s={"queued": 1, "in_progress": 4, "requires_action": 6, "cancelling": 1})
RATES = {"warning": "0.3", "critical": "0.6"}
RULES = Rules(
    ASSISTANTS,
    FOREVER,
    Deadlines(1_000, overdue=True, limits={status: 1_000 * limit for status, limit in LIMITS.stuck_s.items()}),
    base_ms=2_000,
)
WINDOW_RULES = structs.replace(
    WINDOWS,
    sizes_ms=SIZES_MS,
    grace_ms=GRACE_MS,
    retention_ms=10**12,
    conditions=(
        FailureRules(2_000, tuple((Severity(name), float(rate)) for name, rate in RATES.items()), min_ended=2),
    ),
)
FAILURES = FailureLimits(2_000, GRACE_MS, min_ended=2, rates=RATES)


class Crash(BaseException):
    """The process ends at once."""


class Reported(Observer):
    """Adds up what was reported as committed."""

    def __init__(self) -> None:
        self.records = 0

    def committed(self, report: CommitReport) -> None:
        """Add one commit of the fold stage."""
        if isinstance(report, FoldReport):
            self.records += report.records


class Faults:
    """Decides by a seed what goes wrong at which point; `calm` from then on nothing does."""

    def __init__(self, seed: int, rate: float) -> None:
        self.random = Random(seed)
        self.rate = rate
        self.seen: set[tuple[str, str]] = set()
        self.crashes_next = False

    def calm(self) -> None:
        """Let everything succeed from here on."""
        self.rate = 0.0

    def of_disk(self, point: str) -> str | None:
        """Return what a disk does wrong at `point`, if anything. A crash is that of whatever the worker does next."""
        if self.random.random() >= OFTENER.get(point, 3) * self.rate:
            return None
        kind = self.random.choice((*FAULTS, "crash"))
        self.seen.add((point, kind))
        if kind == "crash":
            self.crashes_next = True
            return None
        return kind

    def __call__(self, point: str) -> None:
        """Raise what goes wrong at `point`, if anything."""
        if self.crashes_next:
            self.crashes_next = False
            raise Crash(point)
        if point == "heartbeat" or self.random.random() >= self.rate:
            return
        kind = self.random.choice(("crash", "failure"))
        self.seen.add((point, kind))
        if kind == "crash":
            raise Crash(point)
        if point == "registry":
            raise RegistryUnavailable(point)
        raise (
            TaskInvalid(point)
            if point in ("fence", "send", "before the end", "after the end")
            else BrokerUnavailable(point)
        )


class Simulation:
    """A cluster, its input, and workers that come and go."""

    def __init__(self, seed: int, rate: float) -> None:
        self.topics = TopicSettings()
        self.kafka = FakeKafka()
        self.faults = Faults(seed, rate)
        self.totals = Reported()
        self.workers: dict[Worker, asyncio.Task[None]] = {}
        self.holders: dict[Worker, object] = {}
        """Who holds the disks that a worker has opened."""
        self.looks = self.windows = self.told = 0
        # Where nothing comes late, it is determined which windows fail; else it depends on when they close.
        self.late_ratio = 0.01 if seed % 2 else 0.0
        # Some schedules have producers that register their schemas; a few of their ids do not exist.
        self.is_registered = seed // 2 % 2 == 1
        self.full_book = full_book() if self.is_registered else bundled_book()
        # Most have hardly any memory for payloads, and of these half have disks that outlive a worker.
        self.disks = {number: FaultyDisk(self.faults.of_disk) for number in range(PARTITIONS)}
        self.is_lasting = seed % 4 >= 2
        self.is_bounded = seed % 4 > 0

    async def fill(self, seed: int) -> None:
        """Create the topics and write the input."""
        await create_topics(self.kafka, self.topics, PARTITIONS, 1_000_000)
        for event in simulate(
            seed=seed,
            events=EVENTS,
            bad_ratio=0.02,
            illegal_ratio=0.005,
            late_ratio=self.late_ratio,
            schema_version="mixed",
            start_ms=START_MS,
            rate_per_s=EVENTS_PER_S,
        ):
            log = self.input(crc32(event.key) % PARTITIONS)
            value = _registered(event.value, Random(f"{seed} {log.end}")) if self.is_registered else event.value
            log.append((event.key, value, event.timestamp_ms, []), "committed")
        for partition in range(PARTITIONS):
            # Later than all deadlines: what the stream left late is told in its own time, whenever it is read.
            last = framed("v2_1", run_object(id=f"last_{partition}", status="completed"))
            self.input(partition).append((b"thread_1", last, START_MS + LAST_MS, []), "committed")
        passes = self.expected()
        self.windows = len(windows((fact for each in passes for fact in each.facts), SIZES_MS))
        self.told = sum(len(each.alerts) for each in passes)

    def input(self, partition: int) -> Log:
        """Return an input partition."""
        return self.kafka.logs[self.topics.events][partition]

    def worker(self) -> Worker:
        """Return a worker, which learns schemas for itself."""
        book = book_of(ASSISTANTS, registered=True) if self.is_registered else bundled_book()
        commit = CommitSettings(max_records=25, interval_ms=1)
        holder = object()
        store = self.store(holder)
        fold = FoldSettings("sim", self.topics, RULES, book, commit, self.kafka.partition_of, store=store)
        job = Job(
            kafka=self.kafka,
            topics=self.topics,
            commit=commit,
            max_record_bytes=1_000_000,
            registry=FakeRegistry(book, partial(self.faults, "registry")) if self.is_registered else None,
            observer=self.totals,
            clock=self.look,
            snapshot_interval_s=0.001 if self.is_lasting else math.inf,
        )
        worker = Worker(job, stages(fold, WINDOW_RULES))
        self.holders[worker] = holder
        return worker

    def store(self, holder: object) -> StoreSettings:
        """Return the limits of a worker, and its disks."""
        return StoreSettings(
            memory_bytes=3 * 2_000 if self.is_bounded else UNBOUNDED,
            disk_bytes=3 * 200_000 if self.is_bounded else UNBOUNDED,
            lasting=(lambda number: self.disks[number].open(holder)) if self.is_lasting else None,
            scratch=lambda: FaultyDisk(self.faults.of_disk).open(is_lasting=False),
        )

    def look(self) -> float:
        """Return the time, long after the events."""
        self.looks += 1
        return WALL_S + self.looks * LOOK_S

    def start(self) -> None:
        """Add a worker."""
        worker = self.worker()
        self.workers[worker] = asyncio.ensure_future(_until_crash(worker))

    async def bury(self) -> None:
        """Take crashed workers out of the group, and start others for them."""
        for worker, run in list(self.workers.items()):
            if run.done():
                del self.workers[worker]
                holder = self.holders.pop(worker)
                for disk in self.disks.values():
                    disk.released(holder)
                if (error := run.exception()) is not None:
                    raise error
                self.start()
        if not self.workers:
            self.start()

    def disturb(self) -> None:
        """Add a worker, stop one, or only rebalance."""
        choice = self.faults.random.choice(("add", "stop", "rebalance", "nothing"))
        if choice == "add" and len(self.workers) < PARTITIONS:
            self.start()
        elif choice == "stop" and len(self.workers) > 1:
            self.faults.random.choice(list(self.workers)).stop()
        elif choice == "rebalance" and self.kafka.members:
            self.kafka.rebalance()

    def outputs(self, topic: str) -> list[Entry]:
        """Return what may be read of a topic, partition after partition."""
        return [entry for log in self.kafka.logs[topic] for entry in log.stable(0)]

    def expected(self) -> list[SourcePass]:
        """Return what one pass over each input partition makes of it."""
        found = []
        for partition in range(PARTITIONS):
            events = decode(self.input(partition).stable(0), self.full_book).events
            found.append(one_pass(events, int(WALL_S * 1000), LIMITS, partition))
        return found

    def is_done(self) -> bool:
        """Whether everything is committed, all windows are closed, and every deadline was told."""
        found, topics = self.kafka.offsets, self.topics
        committed = {(source.topic, source.partition): each.offset for source, each in found.items()}
        ends = [self.input(partition).end for partition in range(PARTITIONS)]
        logs = self.kafka.logs[topics.measurements]
        # A transaction that a crash left open holds back what stands behind it, until somebody fences it.
        return (
            [committed.get((topics.events, partition)) for partition in range(PARTITIONS)] == ends
            and all(log.last_stable == log.end for log in logs)
            and not any(log.stable(committed.get((topics.measurements, number), 0)) for number, log in enumerate(logs))
            and len(revisions(self.outputs(topics.metrics))) >= self.windows
            and len([said for said in alerts(self.outputs(topics.alerts)) if said.kind != "failure_rate"]) >= self.told
        )

    def standing(self) -> str:
        """Return where everything stands: what each task waits for, and what is not told yet."""
        topics = self.topics
        lines = [
            f"{source.topic}:{source.partition} committed {self.kafka.offsets.get(source)} of {log.end}, "
            f"stable to {log.last_stable}"
            for topic in (topics.events, topics.measurements)
            for number, log in enumerate(self.kafka.logs[topic])
            for source in (TopicPartition(topic, number),)
        ]
        for number, worker in enumerate(self.workers):
            lines += [
                f"worker {number}, {source.topic}:{source.partition}: {task.lifecycle.value}, {task.pauses._reported}, "
                f"{task.keeper and task.keeper.trouble}"
                for source, task in worker._tasks.items()
            ]
        found = len(revisions(self.outputs(topics.metrics))), len(alerts(self.outputs(topics.alerts)))
        return "\n".join([*lines, f"{found} windows and alerts; {self.windows} windows and {self.told} alerts are due"])

    async def run(self) -> None:
        """Disturb the workers until half is through, then let them finish."""
        self.kafka.fault = self.faults
        for step in range(2_000):
            if step == 150:
                self.faults.calm()
            if step < 150 and step % 5 == 0:
                self.disturb()
            await self.bury()
            if self.is_done():
                break
            await asyncio.sleep(0.002)
        self.faults.calm()
        try:
            await eventually(self._buried_and_done)
        except AssertionError as error:
            error.add_note(self.standing())
            raise
        for worker in self.workers:
            worker.stop()
        await asyncio.wait(self.workers.values())

    async def _buried_and_done(self) -> bool:
        await self.bury()
        return self.is_done()


def _registered(value: bytes | None, random: Random) -> bytes | None:
    """Frame what a producer wrote in the Confluent wire format; one in 100 refers to an id that nobody knows."""
    for version, schema_id in IDS.items():
        header = writer_schema(version).header
        if value is not None and value.startswith(header):
            number = 5_000 + random.randrange(5) if random.random() < UNKNOWN_RATIO else schema_id
            return confluent(number) + value[len(header) :]
    return value


async def _until_crash(worker: Worker) -> None:
    """A crash is a value here: the worker's tasks end, nothing is closed in good order."""
    with suppress(Crash):
        await worker.run()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for_nothing(monkeypatch)
    monkeypatch.setattr("streamproc.runtime.pausing.POLL_S", 0.001)
    monkeypatch.setattr("streamproc.runtime.pausing.MIN_DISK_S", 0.001)
    monkeypatch.setattr("streamproc.runtime.pausing.MAX_DISK_S", 0.01)
    monkeypatch.setattr("streamproc.store.keeper.TRY_AGAIN_S", 0.001)
    monkeypatch.setattr("streamproc.store.keeper.SLACK_BYTES", 2_000)
    monkeypatch.setattr("streamproc.store.keeper.SPARSE_AT_ONCE", 2)
    monkeypatch.setattr("streamproc.store.block.MAX_PAYLOADS", 5)
    monkeypatch.setattr("streamproc.store.snapshot.SPARE_RUNS", 20)


def _check(simulation: Simulation) -> None:
    passes = simulation.expected()
    for partition, expected in enumerate(passes):
        _check_runs(simulation, partition, expected)
    _check_windows(simulation, passes)


def _check_runs(simulation: Simulation, partition: int, expected: SourcePass) -> None:
    logs, topics = simulation.kafka.logs, simulation.topics
    transitions, verdicts, states, letters, told = (
        logs[name][partition].stable(0)
        for name in (topics.transitions, topics.verdicts, topics.state, topics.dead_letters, topics.alerts)
    )
    source = simulation.input(partition).stable(0)
    assert written(transitions, verdicts, states, letters) == replay(source, int(WALL_S * 1000), simulation.full_book)
    found = [alert for alert in alerts(told) if alert.kind != "failure_rate"]
    assert sorted(found, key=repr) == sorted(expected.alerts, key=repr)
    ended = {alert.alert_id for alert in found if alert.state == "resolved"}
    flags = {entry.key: read(entry, "run_state")["alerts"] for entry in states}
    assert sorted(chain(*flags.values())) == sorted({alert.alert_id for alert in found} - ended)


def _check_windows(simulation: Simulation, passes: list[SourcePass]) -> None:
    topics = simulation.topics
    expected = windows((fact for each in passes for fact in each.facts), SIZES_MS)
    assert latest(revisions(simulation.outputs(topics.metrics))) == expected
    said = [alert for alert in alerts(simulation.outputs(topics.alerts)) if alert.kind == "failure_rate"]
    if not simulation.late_ratio:
        assert sorted(said) == sorted(failure_alerts(expected, FAILURES))
    states: dict[str, list[Said]] = defaultdict(list)
    for alert in said:
        states[alert.alert_id].append(alert)
    assert all([alert.state for alert in pair] == ["firing", "resolved"] for pair in states.values())


async def test_without_faults_outputs_equal_a_plain_replay() -> None:
    """And each record is reported once."""
    simulation = Simulation(seed=0, rate=0.0)
    await simulation.fill(0)
    simulation.start()
    await eventually(simulation.is_done)
    for worker, run in simulation.workers.items():
        worker.stop()
        await run
    _check(simulation)
    assert simulation.totals.records == EVENTS + PARTITIONS


SEEN: set[tuple[str, str]] = set()
"""What went wrong in the schedules so far."""


async def _run_seed(seed: int) -> None:
    simulation = Simulation(seed, rate=0.03)
    await simulation.fill(seed)
    await simulation.run()
    _check(simulation)
    # Unknown outcomes are not counted (rules.md 24), nothing is counted twice.
    assert simulation.totals.records <= EVENTS + PARTITIONS
    SEEN.update(simulation.faults.seen)


@pytest.mark.parametrize("seed", range(20), ids=lambda seed: f"seed{seed}")
async def test_whatever_goes_wrong_outputs_equal_a_plain_replay(seed: int) -> None:
    """Nothing lost, nothing doubled, nothing out of order within a run."""
    await _run_seed(seed)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(100, 600), ids=lambda seed: f"seed{seed}")
async def test_whatever_goes_wrong_long_form(seed: int) -> None:
    """The same, many times."""
    await _run_seed(seed)


async def test_the_faults_do_happen() -> None:
    """Every point fails and crashes in some schedule, those above included; without faults they would prove nothing."""
    points = (
        "fence",
        "stable",
        "high_watermark",
        "bounds",
        "reader",
        "fetch",
        "send",
        "before the end",
        "after the end",
        "registry",
    )
    missing = {(point, kind) for point in points for kind in ("crash", "failure")}
    missing |= {(point, kind) for point in ("disk write", "disk snapshot") for kind in (*FAULTS, "crash")}
    missing |= {(point, "refuses") for point in ("disk read", "disk label")}
    for seed in range(1_000, 1_100):
        if missing <= SEEN:
            return
        await _run_seed(seed)
    assert missing <= SEEN, f"never happened: {missing - SEEN}"
