"""One partition's task on the fake Kafka, rule by rule (rules.md 4 to 11, 16, 17, 22, 24)."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from streamproc.codec.schemas import bundled_book
from streamproc.core.lifecycle import ASSISTANTS
from streamproc.core.model import Retention
from streamproc.errors import ConfigError, TaskInvalid
from streamproc.local.simulate import simulate
from streamproc.runtime import task as task_module
from streamproc.runtime.config import CommitSettings, TopicSettings
from streamproc.runtime.observer import CommitReport, Observer, TaskState
from streamproc.runtime.ports import Committed, NewTopic
from streamproc.runtime.task import Job, PartitionTask
from streamproc.runtime.topics import check_topics, create_topics
from streamproc.runtime.worker import Worker
from tests.support.events import RETENTION
from tests.support.fake_kafka import FakeGroup, FakeKafka
from tests.support.waiting import eventually

TOPICS = TopicSettings()
MIB = 1_048_576


class Seen(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.states: list[TaskState] = []
        self.reports: list[CommitReport] = []
        self.failures: list[str] = []

    def task_state(self, partition: int, state: TaskState) -> None:  # noqa: ARG002
        self.states.append(state)

    def committed(self, report: CommitReport) -> None:
        self.reports.append(report)

    def transaction_failed(self, partition: int, cause: str) -> None:  # noqa: ARG002
        self.failures.append(cause)


class Bench:
    """A fake cluster with one partition of input, a clock, and tasks on it."""

    def __init__(self, retention: Retention = RETENTION) -> None:
        self.kafka = FakeKafka(TOPICS.events)
        self.group = FakeGroup(self.kafka)
        self.kafka.members.append(self.group)
        self.seen = Seen()
        self.now_s = 1_717_200_100.0
        self.job = Job(
            kafka=self.kafka,
            application_id="app",
            topics=TOPICS,
            profile=ASSISTANTS,
            retention=retention,
            commit=CommitSettings(),
            max_record_bytes=MIB,
            book=bundled_book(),
            observer=self.seen,
            clock=lambda: self.now_s,
        )

    async def prepare(self, events: int = 50) -> "Bench":
        await create_topics(self.kafka, TOPICS, 1, MIB)
        self.add(events)
        return self

    def add(self, events: int, seed: int = 1) -> None:
        for event in simulate(seed=seed, events=events):
            self.log(TOPICS.events).append((event.key, event.value, event.timestamp_ms, []), "committed")

    def log(self, topic: str) -> Any:
        return self.kafka.logs[topic][0]

    def task(self, partitions: int = 1, **changes: Any) -> PartitionTask:
        return PartitionTask(msgspec.structs.replace(self.job, **changes), self.group, 0, partitions)

    @property
    def committed(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.kafka.offsets[0].metadata)
        return fields

    def is_done(self) -> bool:
        return 0 in self.kafka.offsets and self.kafka.offsets[0].offset == self.log(TOPICS.events).end

    async def work(self, task: PartitionTask, until: Callable[[], bool] | None = None) -> None:
        """Run the task until the condition holds, then revoke it."""
        ours = True
        run = asyncio.ensure_future(task.run(lambda: ours))
        waiting = asyncio.ensure_future(eventually(until or self.is_done))
        await asyncio.wait({run, waiting}, return_when=asyncio.FIRST_COMPLETED)
        ours = False
        if not waiting.done():
            waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        await run


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(task_module, "MIN_BACKOFF_S", 0.0)
    monkeypatch.setattr(task_module, "MEMBERSHIP_POLL_S", 0.001)
    return await Bench().prepare()


async def test_each_commit_carries_what_proves_the_state(bench: Bench) -> None:
    """Rule 5: format, profile, sequence, live keys, stream time, partition count."""
    task = bench.task()
    await bench.work(task)
    assert task.state is not None
    assert bench.committed == {
        "format": 1,
        "profile": "assistants",
        "sequence": len(bench.seen.reports),
        "live_keys": len(task.state.runs),
        "stream_time": task.state.stream_time,
        "partitions": 1,
    }


async def test_a_kept_state_is_reused_where_offset_and_sequence_match(bench: Bench) -> None:
    """Rule 5: no restore after a rebalance that changed nothing."""
    task = bench.task()
    await bench.work(task)
    before = task.state
    bench.add(10, seed=2)
    await bench.work(task)
    assert task.state is before


async def test_a_kept_state_is_dropped_where_another_worker_committed(bench: Bench) -> None:
    """Rule 5: restored from run-state instead."""
    task, other = bench.task(), bench.task()
    await bench.work(task)
    before = task.state
    bench.add(10, seed=2)
    await bench.work(other)
    bench.add(10, seed=3)
    await bench.work(task)
    assert task.state is not before
    assert task.state is not None
    assert len(task.state.runs) == bench.committed["live_keys"]


@pytest.mark.parametrize("point", ["before the end", "after the end"])
async def test_an_unknown_outcome_is_settled_by_the_committed_offset(bench: Bench, point: str) -> None:
    """Rule 7: whether the commit happened or not, nothing is lost or counted twice."""
    failed = False

    def fault(at: str) -> None:
        nonlocal failed
        if at == point and not failed:
            failed = True
            raise TaskInvalid("the answer is lost")

    bench.kafka.fault = fault
    await bench.work(bench.task())
    transitions = [record.headers[-2] for record in bench.log(TOPICS.transitions).stable(0)]
    assert failed
    assert len(transitions) == len(set(transitions)) > 0
    assert bench.seen.failures == ["TaskInvalid"]
    counted = sum(report.records for report in bench.seen.reports)
    assert counted == (50 if point == "before the end" else 0)


async def test_nobody_is_fenced_without_a_confirmed_membership(bench: Bench) -> None:
    """Rule 7: a stalled worker that wakes up leaves the owner alone."""
    bench.kafka.members.clear()
    asked = 0

    def fault(at: str) -> None:
        nonlocal asked
        asked += at == "heartbeat"
        assert at != "fence"

    bench.kafka.fault = fault
    await bench.work(bench.task(), until=lambda: asked > 5)
    assert bench.kafka.epochs[0] == 0


async def test_states_without_a_committed_offset_are_refused(bench: Bench) -> None:
    """Rule 6: offsets expire in a group that is left empty."""
    await bench.work(bench.task())
    bench.kafka.offsets.clear()
    with pytest.raises(ConfigError, match=r"no committed offset.*Ways out"):
        await bench.work(bench.task())


async def test_a_recreated_state_topic_is_refused(bench: Bench) -> None:
    """Rule 6: never from an empty state in silence."""
    await bench.work(bench.task())
    await bench.kafka.create([NewTopic(TOPICS.state, 1, {"cleanup.policy": "compact"})])
    with pytest.raises(ConfigError, match=r"run-state partition 0 holds 0 runs.*Ways out"):
        await bench.work(bench.task())


async def test_a_state_ahead_of_its_offset_is_refused(bench: Bench) -> None:
    """The offset was set back by hand, the state was not."""
    await bench.work(bench.task())
    bench.kafka.offsets[0] = Committed(3, bench.kafka.offsets[0].metadata)
    with pytest.raises(ConfigError, match="ahead of the committed offset 3"):
        await bench.work(bench.task())


async def test_a_changed_partition_count_is_refused_at_the_start(bench: Bench) -> None:
    """Rule 4: with the way to migrate."""
    await bench.work(bench.task())
    with pytest.raises(ConfigError, match=r"had 1 partitions and has 3 now.*STREAMPROC_APPLICATION_ID"):
        await bench.work(bench.task(partitions=3))


async def test_another_profile_is_refused(bench: Bench) -> None:
    """The state was made by other tables."""
    await bench.work(bench.task())
    metadata = bench.kafka.offsets[0].metadata.replace("assistants", "langgraph")
    bench.kafka.offsets[0] = Committed(bench.kafka.offsets[0].offset, metadata)
    with pytest.raises(ConfigError, match="profile langgraph, now it is assistants"):
        await bench.work(bench.task())


@pytest.mark.parametrize("metadata", ["", "{}", "[1]", '{"format":9}', "not json"])
async def test_an_offset_of_somebody_else_is_refused(bench: Bench, metadata: str) -> None:
    """Another consumer used the group's name."""
    bench.kafka.offsets[0] = Committed(3, metadata)
    with pytest.raises(ConfigError, match="was not committed by this version"):
        await bench.work(bench.task())


async def test_an_oversized_record_stops_the_service_with_its_offset(bench: Bench) -> None:
    """Rule 10."""
    bench.log(TOPICS.events).append((b"k", b"x" * 2_000, 1, []), "committed")
    with pytest.raises(ConfigError, match="offset 50 has 2"):
        await bench.work(bench.task(max_record_bytes=1_999))


async def test_only_the_last_state_of_a_run_is_written_in_one_commit(bench: Bench) -> None:
    """design.md, decision 3."""
    await bench.work(bench.task())
    assert len(bench.seen.reports) == 1
    keys = [record.key for record in bench.log(TOPICS.state).stable(0)]
    assert len(keys) == len(set(keys))


async def test_a_forgotten_run_gets_one_tombstone_with_the_time_used() -> None:
    """Rules 16, 17 and 22: once the partition is caught up, by the wall clock, with the sequence in ce_id."""
    bench = await Bench(Retention(1_000, 1_000)).prepare(30)
    await bench.work(bench.task(), until=lambda: bench.is_done() and bench.committed["live_keys"] == 0)
    gone = [record for record in bench.log(TOPICS.state).stable(0) if record.value is None]
    forgotten = [record.key for record in gone]
    assert len(forgotten) == len(set(forgotten)) > 0
    headers = dict(gone[-1].headers)
    topic, partition, offset, sequence = headers["ce_id"].decode().split(":")
    assert (topic, partition) == (TOPICS.events, "0")
    assert int(offset) < 30
    assert int(sequence) <= bench.committed["sequence"]
    assert headers["ce_time"] == b"2024-06-01T00:01:40.000Z"  # The bench's clock.


async def test_counters_move_only_after_a_confirmed_commit(bench: Bench) -> None:
    """Rule 24."""

    def fault(at: str) -> None:
        if at == "send":
            assert bench.seen.reports == []
            if len(bench.seen.failures) < 3:
                raise TaskInvalid("the broker refused")

    bench.kafka.fault = fault
    await bench.work(bench.task())
    assert bench.seen.failures == ["TaskInvalid"] * 3
    assert sum(report.records for report in bench.seen.reports) == 50


async def test_the_life_cycle_is_fence_restore_run(bench: Bench) -> None:
    """design.md, decision 2; and suspended in the end."""
    await bench.work(bench.task())
    assert bench.seen.states == [
        TaskState.FENCED,
        TaskState.RESTORING,
        TaskState.RUNNING,
        TaskState.SUSPENDED,
    ]


def test_an_illegal_step_is_an_error() -> None:
    """The table is checked."""
    task = Bench().task()
    task.close()
    with pytest.raises(RuntimeError, match="from closed to fenced"):
        task._become(TaskState.FENCED)


async def test_partitions_added_while_running_stop_the_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 4."""
    monkeypatch.setattr("streamproc.runtime.worker.POLL_S", 0.01)
    monkeypatch.setattr("streamproc.runtime.worker.PARTITION_CHECK_S", 0.02)
    bench.kafka.members.clear()
    run = asyncio.ensure_future(Worker(bench.job).run())
    await eventually(bench.is_done)
    bench.kafka.logs[TOPICS.events].append(type(bench.log(TOPICS.events))())
    with pytest.raises(ConfigError, match="had 1 partitions and has 2 now"):
        await run


async def test_a_topic_check_names_every_flaw_and_its_fix() -> None:
    """Missing topics, unequal counts, a state that would be deleted, limits that are too small."""
    kafka = FakeKafka(TOPICS.events)
    with pytest.raises(ConfigError, match=r"run-events does not exist: run `streamproc topics create`"):
        await check_topics(kafka, TOPICS, MIB)
    await create_topics(kafka, TOPICS, 4, MIB)
    assert await check_topics(kafka, TOPICS, MIB) == 4
    await kafka.create([NewTopic(TOPICS.transitions, 2, {}), NewTopic(TOPICS.state, 4, {})])
    with pytest.raises(ConfigError) as refused:
        await check_topics(kafka, TOPICS, MIB)
    message = str(refused.value)
    assert "run-transitions has 2 partitions, run-events has 4" in message
    assert "run-state has cleanup.policy=delete, it must be compact" in message
    assert "run-state has max.message.bytes=1048588" in message


async def test_created_topics_follow_the_input() -> None:
    """An input that exists decides the partition count."""
    kafka = FakeKafka(TOPICS.events)
    await kafka.create([NewTopic(TOPICS.events, 7, {})])
    created = await create_topics(kafka, TOPICS, 4, MIB)
    assert TOPICS.events not in created
    assert {await kafka.partition_count(name) for name in created} == {7}
