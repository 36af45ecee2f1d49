"""One contract for the port of runtime/writer.py, held by the fake and by aiokafka on a real Kafka."""

from collections.abc import AsyncIterator, Callable

import pytest

from streamproc.codec.arrival import Arrival
from streamproc.codec.message import Message
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.local.kafka import local_kafka
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.aio.writer import AioWriter
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Kafka, NewTopic, TopicPartition
from streamproc.runtime.reading import read_all
from streamproc.runtime.writer import Writer
from tests.support.fake_kafka import FakeKafka
from tests.support.fake_writer import FakeWriter

PARTITIONS = 3


class Setup:
    """A cluster, a topic that is not there yet, and a writer to it."""

    def __init__(self, kafka: Kafka, topic: str, writer: Writer) -> None:
        self.kafka, self.topic, self.writer = kafka, topic, writer

    async def create(self) -> None:
        """Create the topic."""
        await self.kafka.create([NewTopic(self.topic, PARTITIONS, {"cleanup.policy": "compact"})])

    async def records(self, key: str) -> list[Arrival]:
        """Return what the partition of a key holds."""
        place = TopicPartition(self.topic, self.kafka.partition_of(key.encode(), PARTITIONS))
        return [record async for records in read_all(self.kafka, place) for record in records]


@pytest.fixture(params=["fake", "real"])
async def setup(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> AsyncIterator[Setup]:
    """Both implementations."""
    topic = unique("written")
    if request.param == "fake":
        fake = FakeKafka()
        setup = Setup(fake, topic, FakeWriter(fake, topic))
    else:
        settings = KafkaSettings(bootstrap_servers=request.getfixturevalue("kafka_bootstrap"))
        setup = Setup(AioKafka(settings, unique("group")), topic, AioWriter(settings, topic))
    yield setup
    await setup.writer.close()
    await setup.kafka.close()


def message(key: str, value: bytes | None = b"v") -> Message:
    """Return a message with a header."""
    return key.encode(), value, 1_700_000_000_000, [("name", b"\xff\x00")]


async def test_a_record_is_written_as_it_is_to_the_partition_of_its_key(setup: Setup) -> None:
    """Key, value, timestamp and headers; a null is a tombstone; all of a key are in order."""
    await setup.create()
    for key, value in (("one", b"1"), ("two", b"2"), ("one", b"3"), ("one", None)):
        await setup.writer.write(message(key, value))
    assert [record.value for record in await setup.records("one") if record.key == b"one"] == [b"1", b"3", None]
    [two] = [record for record in await setup.records("two") if record.key == b"two"]
    assert (two.value, two.timestamp, list(two.headers)) == (b"2", 1_700_000_000_000, [("name", b"\xff\x00")])


async def test_a_topic_that_is_not_there_is_named_and_not_created(setup: Setup) -> None:
    """A broker with its default settings would create it, with another policy; once it is there, the writer goes on."""
    for _ in range(2):
        with pytest.raises(ConfigError, match=rf"{setup.topic} does not exist: run `streamproc topics create`"):
            await setup.writer.write(message("one"))
        assert await setup.kafka.partition_count(setup.topic) == 0
    await setup.create()
    await setup.writer.write(message("one"))
    assert len(await setup.records("one")) == 1


async def test_a_broker_that_is_away_is_said_and_may_come_back(unique: Callable[[str], str]) -> None:
    """In a bounded time, whether the connection was there before or not."""
    async with local_kafka() as broker:
        settings, topic = KafkaSettings(bootstrap_servers=broker.bootstrap_servers), unique("written")
        kafka, writer = AioKafka(settings, unique("group")), AioWriter(settings, topic)
        setup = Setup(kafka, topic, writer)
        await setup.create()
        await writer.write(message("one", b"1"))
        await broker.kill()
        for _ in range(2):
            with pytest.raises(BrokerUnavailable):
                await writer.write(message("one", b"2"))
        await broker.start_again()
        await writer.write(message("one", b"3"))
        assert (await setup.records("one"))[-1].value == b"3"
        await writer.close()
        await kafka.close()
