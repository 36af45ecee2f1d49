"""Counting and following topics: committed records only, and no key that was forgotten."""

import asyncio

import pytest

from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.core.model import Transition
from streamproc.demo import topics
from streamproc.interrupts import cancelled
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import Committed, Member, NewTopic, TopicPartition
from tests.support.fake_kafka import FakeKafka
from tests.support.waiting import eventually

NAMES = TopicSettings()
ENCODER = OutputEncoder(OutputSource("app", NAMES.events, 0))
NOON_MS = 1_767_268_800_000


def record(key, value=b"value"):
    return key.encode(), value, NOON_MS, []


def transition(run_id, start="queued", to="in_progress"):
    return Transition(run_id, None, None, "gpt-4o", start, to, NOON_MS, 1_500, True, None, None, 7)


@pytest.fixture
async def kafka():
    kafka = FakeKafka()
    names = NAMES.by_role().values()
    await kafka.create([NewTopic(name, 2, {}) for name in names])
    return kafka


async def commit(kafka, outputs, partition=0, commits=True):
    placed = {TopicPartition(topic, partition): messages for topic, messages in outputs.items()}
    source = TopicPartition(NAMES.events, partition)
    transactions = kafka.transactions(source)
    await transactions.fence()
    if commits:
        await transactions.commit(placed, {source: Committed(0, "")})
    else:
        with pytest.raises(Exception, match="refuses the offsets"):
            await transactions.commit(placed, {source: Committed(0, "")}, Member(1, "nobody"))


async def test_counts_what_is_committed(kafka):
    for partition in (0, 1):
        outputs = {
            NAMES.events: [record("a")] * 5,
            NAMES.transitions: [record("a")] * 3,
            NAMES.verdicts: [record("a")] * 6,
            NAMES.dead_letters: [record("a")],
            NAMES.alerts: [record("a")] * 2,
            NAMES.metrics: [record("a")] * 4,
            NAMES.state: [record(f"a{partition}"), record(f"b{partition}"), record(f"a{partition}")],
        }
        await commit(kafka, outputs, partition, commits=False)
        await commit(kafka, outputs, partition)
    assert await topics.holdings(kafka, NAMES) == topics.TopicCounts(10, 2, 6, 12, 4, 4, 8)


async def test_forgotten_runs_are_no_live_keys(kafka):
    await commit(kafka, {NAMES.state: [record("a"), record("b"), record("a", None), record("c", None), record("c")]})
    assert (await topics.holdings(kafka, NAMES)).runs == 2


async def test_empty_topics_hold_nothing(kafka):
    assert await topics.holdings(kafka, NAMES) == topics.TopicCounts(0, 0, 0, 0, 0, 0, 0)


async def test_a_topic_that_is_not_used_holds_nothing(kafka):
    unused = NAMES.model_copy(update={"verdicts": None})
    assert (await topics.holdings(kafka, unused)).verdicts == 0


async def test_follows_every_partition(kafka):
    for partition in (0, 1):
        changes = [transition(f"run_{partition}"), transition(f"new_{partition}", None, "queued")]
        await commit(kafka, {NAMES.transitions: ENCODER.transitions(changes, NOON_MS)}, partition)
    seen = []
    following = asyncio.create_task(topics.follow(kafka, NAMES.transitions, topics.change_of, seen.extend))
    await eventually(lambda: len(seen) == 4)
    await cancelled(following)
    assert {change.run_id for change in seen} == {"run_0", "new_0", "run_1", "new_1"}
    first = next(change for change in seen if change.run_id == "run_0")
    assert first.at.isoformat() == "2026-01-01T12:00:00+00:00"
    assert first[2:] == ("queued", "in_progress", 1_500, True, "gpt-4o")


async def test_a_backlog_is_skipped_but_for_its_end(kafka):
    many = [transition(f"run_{number}") for number in range(5_000)]
    await commit(kafka, {NAMES.transitions: ENCODER.transitions(many, NOON_MS)})
    seen = []
    following = asyncio.create_task(topics.follow(kafka, NAMES.transitions, topics.change_of, seen.extend))
    await eventually(lambda: seen and seen[-1].run_id == "run_4999")
    await cancelled(following)
    assert len(seen) < 100
