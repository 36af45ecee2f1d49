"""The reports of an instance on the fake Kafka: they are in nobody's way, and the topic tells what is known last."""

import asyncio
import os
from collections.abc import Callable
from functools import partial

import pytest
from structlog.testing import capture_logs

from streamproc.codec.instances import Instance, InstanceEncoder, decode_instance
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.instances import reporter as module
from streamproc.instances.partitions import reported
from streamproc.instances.process import host, instance_id, usage
from streamproc.instances.reporter import Identity, ReportedParts, Reporter
from streamproc.runtime.ports import NewTopic
from streamproc.runtime.taskstates import TaskState
from streamproc.runtime.topics import absent
from tests.observe.reports import report, source
from tests.support.fake_kafka import Entry, FakeKafka, no_fault
from tests.support.fake_writer import FakeWriter
from tests.support.waiting import eventually
from tests.support.watched import watched_health

TOPIC = "run-instances"
LOST, WORKS = "this instance does not get its report through", "this instance gets its report through again"


class Bench:
    """An instance on a cluster with its topic."""

    def __init__(self) -> None:
        self.kafka = FakeKafka()
        self.writer = FakeWriter(self.kafka, TOPIC)
        self.health = watched_health()
        self.tries = 0
        self.kafka.fault = self.count
        watched = ReportedParts(self.health.readyz, partial(reported, self.health.records))
        encoder = InstanceEncoder("app")
        self.reporter = Reporter(Identity("it-1", "app", "assistants"), 0.01, watched, encoder, self.writer)

    def count(self, _: str) -> None:
        """Count what is tried."""
        self.tries += 1

    def fails(self, make: Callable[[], BaseException]) -> None:
        """Fail from now on."""

        def fault(point: str) -> None:
            self.count(point)
            raise make()

        self.kafka.fault = fault

    @property
    def entries(self) -> list[Entry]:
        """What the topic holds."""
        return self.kafka.logs[TOPIC][0].stable(0)

    @property
    def said(self) -> list[Instance]:
        """The reports."""
        return [decode_instance(entry) for entry in self.entries if entry.value is not None]

    async def tried(self, times: int = 3) -> None:
        """Wait until it was tried so many times more."""
        before = self.tries
        await eventually(lambda: self.tries >= before + times)


@pytest.fixture
async def bench() -> Bench:
    it = Bench()
    await it.kafka.create([NewTopic(TOPIC, 1, {})])
    return it


async def test_an_instance_says_who_it_is_and_how(bench: Bench) -> None:
    """rules.md 26: what the console needs, without asking the instance."""
    observer = bench.health
    observer.rebalanced(frozenset([source()]))
    for state in (TaskState.FENCED, TaskState.RESTORING, TaskState.RUNNING):
        observer.task_state(source(), state)
    observer.committed(report(offset=41))
    observer.caught_up(source())
    async with bench.reporter:
        await eventually(lambda: bool(bench.said))
    found = bench.said[0]
    assert (found.instance_id, found.application_id, found.profile) == ("it-1", "app", "assistants")
    assert (found.host, found.interval_ms, found.ready, found.status) == (host(), 10, True, "running")
    assert found.message == bench.health.readyz()[1]["message"]
    assert found.started_at <= found.reported_at
    assert found.memory_bytes > 1 << 20
    assert found.cpu_seconds > 0
    [partition] = found.partitions
    assert (partition.state, partition.lag_records, partition.offset) == ("running", 0, 41)
    assert partition.last_commit_at is not None


async def test_reports_come_again_and_again_under_one_key(bench: Bench) -> None:
    """rules.md 26: so that the compacted topic holds the latest one of each."""
    async with bench.reporter:
        await eventually(lambda: len(bench.said) >= 3)
    assert {entry.key for entry in bench.entries} == {b"it-1"}
    times = [each.reported_at for each in bench.said]
    assert times == sorted(times)


async def test_a_stop_leaves_a_tombstone(bench: Bench) -> None:
    """rules.md 26: the last word; `stop` may be said twice."""
    async with bench.reporter as reporter:
        await eventually(lambda: bool(bench.said))
        reporter.stop()
        reporter.stop()
    assert (bench.entries[-1].key, bench.entries[-1].value) == (b"it-1", None)
    assert [entry.value for entry in bench.entries].count(None) == 1
    assert bench.writer.is_closed


async def test_an_instance_that_fails_leaves_its_last_report(bench: Bench) -> None:
    """rules.md 26: it was not stopped; that it is gone shows in the report's age."""
    await bench.reporter.__aenter__()
    await eventually(lambda: bool(bench.said))
    await bench.reporter.__aexit__(RuntimeError, RuntimeError(), None)
    assert len(bench.said) == len(bench.entries)
    assert bench.writer.is_closed


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BrokerUnavailable("no broker answers"), "no broker answers"),
        (lambda: ConfigError("the user needs the permission Write on it"), "permission Write"),
        (lambda: ValueError("a payload"), "ValueError"),
    ],
    ids=["away", "denied", "a bug"],
)
async def test_what_fails_is_said_once_and_tried_again(
    bench: Bench, make: Callable[[], BaseException], words: str
) -> None:
    """And once more when it works: the log is no place for each try, nor for what an unknown error may show."""
    bench.fails(make)
    with capture_logs() as lines:
        async with bench.reporter as reporter:
            await bench.tried()
            assert [line["event"] for line in lines] == [LOST]
            assert words in lines[0]["why"]
            assert "a payload" not in lines[0]["why"]
            bench.kafka.fault = no_fault
            await eventually(lambda: bool(bench.said))
            reporter.stop()
    assert [line["event"] for line in lines] == [LOST, WORKS]


async def test_another_trouble_is_said_too(bench: Bench) -> None:
    """Somebody mends the one, and would not hear of the other."""
    with capture_logs() as lines:
        async with bench.reporter:
            for error in (BrokerUnavailable("away"), ConfigError("no topic"), ConfigError("denied")):
                bench.fails(lambda it=error: it)
                await bench.tried()
    assert [line["why"] for line in lines] == ["away", "no topic", "denied"]


async def test_a_topic_that_is_missing_is_named_with_both_ways_out() -> None:
    """After an upgrade, say: created later, it is written to."""
    bench = Bench()
    with capture_logs() as lines:
        async with bench.reporter:
            await bench.tried()
            await bench.kafka.create([NewTopic(TOPIC, 1, {})])
            await eventually(lambda: bool(bench.said))
    assert lines[0]["why"] == absent(TOPIC)
    assert "STREAMPROC_INSTANCES__ENABLED=false" in lines[0]["advice"]


async def test_no_report_piles_up_behind_one_that_hangs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """rules.md 26: each says how it is when it is sent."""
    hanging, write, waiting = asyncio.Event(), bench.writer.write, []

    async def slow(message: object) -> None:
        waiting.append(message)
        await hanging.wait()
        await write(message)

    monkeypatch.setattr(bench.writer, "write", slow)
    async with bench.reporter:
        await eventually(lambda: bool(waiting))
        bench.health.blocked("the registry")
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(waiting) == 1
        hanging.set()
        await eventually(lambda: len(bench.said) >= 2)
    assert "registry" not in bench.said[0].message
    assert bench.said[1].message == "the registry"


async def test_a_stop_waits_for_no_broker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """rules.md 26: the service ends in time, with a report on its way for ever."""
    monkeypatch.setattr(module, "STOP_S", 0.05)
    writing = asyncio.Event()

    async def hang(_: object) -> None:
        writing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(bench.writer, "write", hang)
    async with bench.reporter as reporter:
        await writing.wait()
        reporter.stop()
    assert bench.writer.is_closed


def test_an_instance_has_its_own_name_or_one_that_no_other_has() -> None:
    """rules.md 26: static members keep theirs across restarts."""
    assert instance_id("worker-3") == "worker-3"
    one, other = instance_id(None), instance_id(None)
    assert one != other
    assert one.startswith(f"{host()}-{os.getpid()}-")


def test_usage_is_that_of_this_process() -> None:
    before = usage()
    after = usage()
    assert after.cpu_seconds >= before.cpu_seconds > 0
    assert after.memory_bytes > 1 << 20
