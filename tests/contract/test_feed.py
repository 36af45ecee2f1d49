"""One contract for the Feed port, held by the fake and by aiokafka on a real Kafka."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.new_topic import NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete

from streamproc.codec.arrival import Arrival
from streamproc.codec.message import Message
from streamproc.runtime.aio.feed import AioFeed
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.feed import Assigned, Brought, Feed, Start
from streamproc.runtime.ports import Committed
from tests.support.fake_feed import FakeTopic
from tests.support.waiting import eventually

PARTITIONS = 2


def message(text: str) -> Message:
    return b"key", text.encode(), 1_000, [("name", b"\xff\x00")]


class FakeSetup:
    """The fake."""

    def __init__(self) -> None:
        self.topic = FakeTopic(PARTITIONS)

    async def publish(self, *texts: str, partition: int = 0) -> None:
        self.topic.publish(*map(message, texts), partition=partition)

    async def forget(self, before: int) -> None:
        self.topic.first[0] = before

    def feed(self) -> Feed:
        return self.topic.feed("group")


class RealSetup:
    """A topic and a group of its own on a real broker."""

    def __init__(self, bootstrap: str, topic: str, group: str) -> None:
        self._settings = KafkaSettings(bootstrap_servers=bootstrap)
        self._topic = topic
        self._group = group

    async def create(self) -> None:
        # Records of 1970 are over every retention: Kafka would remove them in the middle of a test.
        new = NewTopic(self._topic, PARTITIONS, 1, topic_configs={"retention.ms": "-1"})
        await self._administer(lambda admin: admin.create_topics([new]))

    async def publish(
        self, *texts: str, partition: int = 0, transaction: str | None = None, commit: bool = True
    ) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.bootstrap_servers,
            transactional_id=transaction and f"{self._topic}-{transaction}",
        )
        async with producer:
            if transaction is not None:
                await producer.begin_transaction()
            for key, value, timestamp, headers in map(message, texts):
                await producer.send_and_wait(
                    self._topic, value, key, partition, timestamp_ms=timestamp, headers=list(headers)
                )
            if transaction is not None:
                await (producer.commit_transaction() if commit else producer.abort_transaction())

    async def forget(self, before: int) -> None:
        place = TopicPartition(self._topic, 0)
        await self._administer(lambda admin: admin.delete_records({place: RecordsToDelete(before)}))

    def feed(self) -> Feed:
        return AioFeed(self._settings, self._group, self._topic)

    async def _administer(self, work: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._settings.bootstrap_servers)
        await admin.start()
        try:
            await work(admin)
        finally:
            await admin.close()


class Reader:
    """A subscription, and what it brought since its last assignment."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.starts: dict[int, Start] | None = None
        self.records: dict[int, list[Arrival]] = {}
        self.caught_up: frozenset[int] = frozenset()

    async def start(self) -> "Reader":
        await self.feed.start(self._revoked)
        return self

    async def read(self) -> None:
        """Fetch once."""
        match await self.feed.fetch(0.2):
            case Assigned(starts):
                self.starts, self.records, self.caught_up = dict(starts), {}, frozenset()
            case Brought(records, caught_up):
                for partition, found in records.items():
                    self.records.setdefault(partition, []).extend(found)
                self.caught_up = caught_up

    def values(self, partition: int = 0) -> list[str]:
        return [(record.value or b"").decode() for record in self.records.get(partition, ())]

    def _revoked(self) -> None:
        self.starts = None


Setup = FakeSetup | RealSetup


@pytest.fixture(params=["fake", "real"])
async def setup(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> Setup:
    """Both implementations."""
    if request.param == "fake":
        return FakeSetup()
    real = RealSetup(request.getfixturevalue("kafka_bootstrap"), unique("feed"), unique("group"))
    await real.create()
    return real


@pytest.fixture
async def readers(setup: Setup) -> AsyncIterator[Callable[[], Awaitable[Reader]]]:
    """Makes members of the group; they go at the end."""
    made: list[Reader] = []

    async def make() -> Reader:
        made.append(Reader(setup.feed()))
        return await made[-1].start()

    yield make
    for reader in made:
        await reader.feed.close()


Make = Callable[[], Awaitable[Reader]]


async def until(condition: Callable[[], bool], *readers: Reader) -> None:
    """Let the readers read until it holds."""

    async def holds() -> bool:
        for reader in readers:
            await reader.read()
        return condition()

    await eventually(holds)


async def test_without_an_offset_it_starts_at_the_beginning(setup: Setup, readers: Make) -> None:
    await setup.publish("a", "b")
    reader = await readers()
    await until(lambda: reader.caught_up == {0, 1}, reader)
    assert reader.starts == {0: Start(None, 0, 2), 1: Start(None, 0, 0)}
    (a, b) = reader.records[0]
    assert (a.offset, a.key, a.value, list(a.headers)) == (0, b"key", b"a", [("name", b"\xff\x00")])
    assert (b.offset, b.value) == (1, b"b")


async def test_what_comes_later_is_brought_too(setup: Setup, readers: Make) -> None:
    reader = await readers()
    await until(lambda: reader.caught_up == {0, 1}, reader)
    await setup.publish("a", partition=1)
    await until(lambda: reader.values(1) == ["a"], reader)
    assert reader.caught_up == {0, 1}


async def test_it_starts_where_the_group_was_with_what_was_stored_there(setup: Setup, readers: Make) -> None:
    await setup.publish("a", "b", "c")
    reader = await readers()
    await until(lambda: len(reader.values()) == 3, reader)
    assert await reader.feed.commit({0: Committed(1, '{"x": 1}'), 1: Committed(0, "")})
    await reader.feed.close()
    again = await readers()
    await until(lambda: again.caught_up == {0, 1}, again)
    assert again.starts == {0: Start(Committed(1, '{"x": 1}'), 1, 3), 1: Start(Committed(0, ""), 0, 0)}
    assert again.values() == ["b", "c"]


async def test_members_share_and_what_was_not_stored_comes_again(setup: Setup, readers: Make) -> None:
    """The one that has to give up a partition hears of it at once, and can no longer store for it."""
    for partition in range(PARTITIONS):
        await setup.publish("a", "b", partition=partition)
    one = await readers()
    await until(lambda: one.values(0) == one.values(1) == ["a", "b"], one)
    assert await one.feed.commit({0: Committed(1, ""), 1: Committed(1, "")})
    other = await readers()
    await until(lambda: len(one.starts or ()) == len(other.starts or ()) == 1, one, other)
    await until(lambda: len(one.caught_up) == len(other.caught_up) == 1, one, other)
    (mine,), (theirs,) = one.starts or (), other.starts or ()
    assert {mine, theirs} == {0, 1}
    assert one.values(mine) == other.values(theirs) == ["b"]
    assert not await one.feed.commit({theirs: Committed(2, "")})
    assert await one.feed.commit({mine: Committed(2, "")})
    await other.feed.close()
    await until(lambda: one.caught_up == {0, 1}, one)
    assert (one.starts or {})[theirs].committed == Committed(1, "")
    assert one.values(theirs) == ["b"]


async def test_what_the_topic_no_longer_holds_is_left_out(setup: Setup, readers: Make) -> None:
    """`begin` beyond what was committed tells."""
    await setup.publish("a", "b", "c")
    reader = await readers()
    await until(lambda: reader.caught_up == {0, 1}, reader)
    assert await reader.feed.commit({0: Committed(1, "")})
    await reader.feed.close()
    await setup.forget(2)
    again = await readers()
    await until(lambda: again.caught_up == {0, 1}, again)
    assert (again.starts or {})[0] == Start(Committed(1, ""), 2, 3)
    assert again.values() == ["c"]


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(setup: Setup, readers: Make) -> None:
    """The stored offset is beyond its end."""
    await setup.publish("a", "b")
    reader = await readers()
    await until(lambda: reader.caught_up == {0, 1}, reader)
    assert await reader.feed.commit({0: Committed(9, "")})
    await reader.feed.close()
    again = await readers()
    await until(lambda: again.caught_up == {0, 1}, again)
    assert (again.starts or {})[0] == Start(Committed(9, ""), 0, 2)
    assert again.values() == ["a", "b"]


async def test_more_members_than_partitions(setup: Setup, readers: Make) -> None:
    members = [await readers() for _ in range(3)]
    await until(lambda: sorted(len(it.starts) if it.starts is not None else 9 for it in members) == [0, 1, 1], *members)


async def test_only_what_is_committed_is_read_and_the_end_is_reached_behind_it(
    kafka_bootstrap: str, unique: Callable[[str], str]
) -> None:
    """Transactions, as the pipeline writes: markers take offsets, aborted records are not seen."""
    setup = RealSetup(kafka_bootstrap, unique("feed"), unique("group"))
    await setup.create()
    await setup.publish("a", transaction="1")
    await setup.publish("aborted", transaction="2", commit=False)
    await setup.publish("b", transaction="3")
    await setup.publish("aborted", transaction="4", commit=False)
    reader = await Reader(setup.feed()).start()
    try:
        await until(lambda: reader.caught_up == {0, 1}, reader)
        assert reader.values() == ["a", "b"]
    finally:
        await reader.feed.close()
