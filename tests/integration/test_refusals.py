"""Where somebody has to step in, the service ends with exit code 1 and says what to do."""

import random
from functools import partial
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from streamproc.local.simulate import simulate
from streamproc.runtime.topics import create_topics
from tests.support.runobjects import START_MS, framed, run_object
from tests.support.service import MAX_RECORD_BYTES, Fleet, Worker
from tests.support.waiting import eventually

QUEUED, COMPLETED = (framed("v2_1", run_object(id="run_1", status=status)) for status in ("queued", "completed"))


async def _refused(worker: Worker, *words: str) -> None:
    """Wait for the end, and hold what it says against `words`."""
    assert await worker.end() == 1
    said = worker.log.read_text()
    assert "Traceback" not in said
    message = said[said.index("streamproc:") :]
    for word in words:
        assert word in message


async def test_partitions_added_while_running(service: Fleet) -> None:
    """rules.md 4: keys moved, the states no longer fit; the way to migrate."""
    worker = service.start()
    await eventually(worker.is_ready)
    topic = service.topics.events
    await service.administer(lambda admin: admin.create_partitions({topic: NewPartitions(5)}))
    words = f"{topic} had 4 partitions and has 5 now", "STREAMPROC_APPLICATION_ID", "streamproc topics create"
    await _refused(worker, *words)
    # At the start it is the check of the topics that finds out.
    await _refused(service.start(), f"{service.topics.state} has 4 partitions, {topic} has 5")


@pytest.mark.parametrize("compression", ["none", "zstd"])
async def test_a_record_that_is_too_large_is_no_reason(service: Fleet, compression: str) -> None:
    """rules.md 10: its dead letter is whole where the topic admits that, of several megabytes, compressed or not.

    It was refused before, again at each start.
    """
    limits = {"max.message.bytes": str(16 << 20)}
    for topic in (service.topics.events, service.topics.dead_letters):
        raised = ConfigResource(ConfigResourceType.TOPIC, topic, limits)
        await service.administer(lambda admin, raised=raised: admin.alter_configs([raised]))
    large = [random.Random(seed).randbytes(5 << 20) for seed in range(3)]
    async with AIOKafkaProducer(
        bootstrap_servers=service.settings.bootstrap_servers, max_request_size=16 << 20
    ) as producer:
        for value in (QUEUED, *large, COMPLETED):
            await eventually(partial(_sent, producer, service.topics.events, value))
    worker = service.start(KAFKA__COMPRESSION=compression)
    await eventually(service.is_done)
    assert worker.stop() == 0
    letters = await service.read(service.topics.dead_letters, 0)
    assert [letter.value for letter in letters] == large
    assert {dict(letter.headers)["streamproc.error.reason"] for letter in letters} == {b"too_large"}
    assert letters[0].headers[0] == ("h", b"\xff")
    assert len(await service.read(service.topics.transitions, 0)) == 2


async def _sent(producer: AIOKafkaProducer, topic: str, value: bytes) -> bool:
    """Whether the broker has taken a record: it hears of a limit after the controller's answer."""
    try:
        await producer.send_and_wait(topic, value, b"run_1", 0, headers=[("h", b"\xff")])
    except MessageSizeTooLargeError:
        return False
    return True


async def test_an_output_that_its_topic_does_not_admit(service: Fleet) -> None:
    """Sent again and again it would be: the topic's limit was lowered while the service ran."""
    worker = service.start()
    await eventually(worker.is_ready)
    low = ConfigResource(ConfigResourceType.TOPIC, service.topics.transitions, {"max.message.bytes": "100"})
    await service.administer(lambda admin: admin.alter_configs([low]))
    await eventually(lambda: _refuses(service, service.topics.transitions, bytes(200)))
    await service.send_records((b"run_1", QUEUED, START_MS, []))
    await _refused(worker, f"{service.topics.events} partition 0 before offset 1", "max.message.bytes")
    committed = await service.kafka.committed(service.source(0))
    assert committed is not None
    assert committed.offset == 0


async def _refuses(service: Fleet, topic: str, value: bytes) -> bool:
    """Whether the broker has heard of the limit: it does so after the controller's answer."""
    async with AIOKafkaProducer(bootstrap_servers=service.settings.bootstrap_servers) as producer:
        try:
            await producer.send_and_wait(topic, value)
        except MessageSizeTooLargeError:
            return True
        return False


@pytest.fixture
async def stopped(service: Fleet) -> Fleet:
    """An application that has states and stopped."""
    worker = service.start()
    await service.send(simulate(seed=1, events=200, bad_ratio=0))
    await eventually(service.is_done)
    assert worker.stop() == 0
    return service


async def test_a_state_topic_that_was_recreated(stopped: Fleet) -> None:
    """rules.md 6: never from an empty state in silence."""
    state = stopped.topics.state

    async def is_gone() -> bool:
        return await stopped.kafka.partition_count(state) == 0

    await stopped.administer(lambda admin: admin.delete_topics([state]))
    await eventually(is_gone)
    await create_topics(stopped.kafka, stopped.topics, 4, MAX_RECORD_BYTES)
    await _refused(stopped.start(), f"{state} partition", "holds 0 keys", "recreated", "Ways out")


async def test_a_group_without_offsets(stopped: Fleet) -> None:
    """rules.md 6: states are there, but what they belong to is unknown; as under another group's name."""
    words: tuple[Any, ...] = (f"{stopped.topics.state} partition", "no committed offset", "Ways out")
    await _refused(stopped.start(APPLICATION_ID=f"{stopped.name}-other"), *words)
