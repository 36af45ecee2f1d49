"""One contract for the ports of runtime/ports.py, held by the fake and by aiokafka on a real Kafka."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as AioPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from streamproc.codec.message import Message
from streamproc.errors import TaskInvalid
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import (
    Committed,
    Fetcher,
    Gone,
    Kafka,
    Member,
    NewTopic,
    Reader,
    TopicPartition,
    Unreadable,
)
from tests.support.fake_kafka import FakeKafka
from tests.support.waiting import eventually

PARTITIONS = 2
ODD = b"\xff\xfe".decode("utf-8", "surrogateescape")
# Records of 1970 are over every retention: Kafka would remove them in the middle of a test.
LOG, TABLE = {"cleanup.policy": "delete", "retention.ms": "-1"}, {"cleanup.policy": "compact"}


class Setup:
    """A cluster with an input topic and two output topics."""

    def __init__(self, kafka: Kafka, events: str) -> None:
        self.kafka, self.events = kafka, events
        self.log, self.table = f"{events}-log", f"{events}-table"

    def source(self, partition: int) -> TopicPartition:
        """Return a partition of the input."""
        return TopicPartition(self.events, partition)

    async def create(self) -> None:
        """Create the topics."""
        topics = [(self.events, LOG), (self.log, LOG), (self.table, TABLE)]
        await self.kafka.create([NewTopic(name, PARTITIONS, config) for name, config in topics])


@pytest.fixture(params=["fake", "real"])
async def setup(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> AsyncIterator[Setup]:
    """Both implementations; the real one only where it is asked for, since a broker takes seconds."""
    events = unique("contract")
    if request.param == "fake":
        kafka: Kafka = FakeKafka()
    else:
        bootstrap = request.getfixturevalue("kafka_bootstrap")
        settings = KafkaSettings(bootstrap_servers=bootstrap, max_batch_bytes=2 << 20)
        kafka = AioKafka(settings, unique("group"))
    setup = Setup(kafka, events)
    await setup.create()
    yield setup
    await kafka.close()


def message(key: str, value: bytes | None = b"v", timestamp: int = 1_000) -> Message:
    """Return a message with a header."""
    return key.encode(), value, timestamp, [("name", b"\xff\x00")]


async def commit(setup: Setup, offset: int, *outputs: tuple[str, str], partition: int = 0) -> None:
    """Commit one message for each (topic, key) in a producer of its own."""
    transactions = setup.kafka.transactions(setup.source(partition))
    await transactions.fence()
    try:
        by_topic: dict[TopicPartition, list[Message]] = {}
        for topic, key in outputs:
            by_topic.setdefault(TopicPartition(topic, partition), []).append(message(key))
        await transactions.commit(by_topic, {setup.source(partition): Committed(offset, f"at {offset}")})
    finally:
        await transactions.close()
    await settle(setup, partition)


async def settle(setup: Setup, partition: int = 0) -> None:
    """Fence: a commit is confirmed before its records can be read, a fence waits for that. Restores rely on it."""
    transactions = setup.kafka.transactions(setup.source(partition))
    await transactions.fence()
    await transactions.close()


async def abort(setup: Setup, topic: str) -> None:
    """Leave an aborted record at the end of the topic."""
    async with open_transaction(setup, topic):
        pass


@asynccontextmanager
async def open_transaction(setup: Setup, topic: str) -> AsyncIterator[None]:
    """Keep somebody's transaction open at the end of the topic, then abort it."""
    if isinstance(setup.kafka, FakeKafka):
        entry = setup.kafka.logs[topic][0].append(message("a"), "open")
        yield
        entry.status = "aborted"
        setup.kafka.logs[topic][0].mark()
        return
    bootstrap = setup.kafka._settings.bootstrap_servers
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{topic}-other") as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"v", b"a", 0)
        yield
        await producer.abort_transaction()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{topic}-other"):
        pass  # Its start waits until the marker is written.


async def read_all(reader: Reader, end: int) -> list[str]:
    """Return the keys from the reader's position to `end`, which it must reach."""
    keys = []
    for _ in range(20):
        if await reader.position() >= end:
            return keys
        fetched = await reader.fetch(10, 1.0)
        keys += [record.key.decode() for record in fetched.records if record.key is not None]
    pytest.fail(f"the position stays at {await reader.position()}, the end is {end}")


async def all_keys(setup: Setup, topic: str, partition: int = 0) -> list[str]:
    """Return the keys of a partition, up to its last stable offset once nothing is held back any more."""

    async def is_stable() -> bool:
        _, last = await setup.kafka.bounds(topic, partition)
        return last == await setup.kafka.high_watermark(topic, partition)

    await eventually(is_stable)
    first, last = await setup.kafka.bounds(topic, partition)
    reader = await setup.kafka.reader(topic, partition)
    await reader.seek(first)
    keys = await read_all(reader, last)
    await reader.close()
    return keys


async def caught_up(reader: Reader) -> list[bytes | None]:
    """Fetch until nothing is left; return the keys."""
    keys: list[bytes | None] = []
    for _ in range(20):
        fetched = await reader.fetch(10, 1.0)
        keys += [record.key for record in fetched.records]
        if fetched.caught_up:
            return keys
    pytest.fail("never caught up")


class Listener:
    """Takes down what the group says."""

    def __init__(self) -> None:
        self.sources: frozenset[TopicPartition] | None = None
        self.member: Member | None = None

    def revoked(self) -> None:
        """Nothing is ours."""
        self.sources = self.member = None

    def assigned(self, sources: frozenset[TopicPartition], member: Member) -> None:
        """These are ours."""
        self.sources, self.member = sources, member


async def test_a_commit_stores_outputs_offset_and_metadata(setup: Setup) -> None:
    """All in one, per partition."""
    assert await setup.kafka.committed(setup.source(0)) is None
    await commit(setup, 7, (setup.log, "a"), (setup.table, "b"))
    assert await setup.kafka.committed(setup.source(0)) == Committed(7, "at 7")
    assert await setup.kafka.committed(setup.source(1)) is None
    for topic, key in ((setup.log, "a"), (setup.table, "b")):
        reader = await setup.kafka.reader(topic, 0)
        first, last = await setup.kafka.bounds(topic, 0)
        await reader.seek(first)
        assert await read_all(reader, last) == [key]
        await reader.close()


async def test_a_commit_without_outputs_moves_the_offset(setup: Setup) -> None:
    """A batch of duplicates has nothing to say."""
    await commit(setup, 3)
    assert await setup.kafka.committed(setup.source(0)) == Committed(3, "at 3")


async def test_bytes_arrive_as_they_were_sent(setup: Setup) -> None:
    """Value, null value, headers and timestamp; names of headers too, which need not be UTF-8."""
    transactions = setup.kafka.transactions(setup.source(0))
    await transactions.fence()
    odd = b"k", b"v", 5_500, [(ODD, b"1"), ("\u00e9", None), (ODD, b"")]
    sent = [message("a", b"\x00\xff", 5_000), odd, message("b", None, 6_000)]
    await transactions.commit({TopicPartition(setup.log, 0): sent}, {setup.source(0): Committed(1, "")})
    await settle(setup)
    reader = await setup.kafka.reader(setup.log, 0)
    await reader.seek(0)
    got = (await reader.fetch(10, 60)).records
    assert [(r.key, r.value, r.timestamp, list(r.headers)) for r in got] == sent
    await reader.close()
    await transactions.close()


async def test_a_record_without_a_timestamp_keeps_none_beside_others(setup: Setup) -> None:
    """Kafka's -1: aiokafka's builder gives a batch's first one the time of the next."""
    transactions = setup.kafka.transactions(setup.source(0))
    await transactions.fence()
    times = [-1, -1, 5_000, -1, 6_000, 7_000, -1]
    sent = [message(str(number), timestamp=at) for number, at in enumerate(times)]
    await transactions.commit({TopicPartition(setup.log, 0): sent}, {setup.source(0): Committed(1, "")})
    await transactions.close()
    await settle(setup)
    reader = await setup.kafka.reader(setup.log, 0)
    await reader.seek(0)
    found: list[int] = []
    while len(found) < len(times):
        found += [record.timestamp for record in (await reader.fetch(10, 2.0)).records]
    assert found == times
    await reader.close()


async def test_a_new_producer_fences_the_old_one(setup: Setup) -> None:
    """The stale owner's transaction fails, and nothing of it is seen."""
    old, new = setup.kafka.transactions(setup.source(0)), setup.kafka.transactions(setup.source(0))
    await old.fence()
    await old.commit({TopicPartition(setup.log, 0): [message("before")]}, {setup.source(0): Committed(1, "")})
    await new.fence()
    with pytest.raises(TaskInvalid):
        await old.commit({TopicPartition(setup.log, 0): [message("stale")]}, {setup.source(0): Committed(2, "")})
    await new.commit({TopicPartition(setup.log, 0): [message("after")]}, {setup.source(0): Committed(3, "")})
    await settle(setup)
    _, last = await setup.kafka.bounds(setup.log, 0)
    reader = await setup.kafka.reader(setup.log, 0)
    await reader.seek(0)
    assert await read_all(reader, last) == ["before", "after"]
    assert await setup.kafka.committed(setup.source(0)) == Committed(3, "")
    for part in (reader, old, new):
        await part.close()


async def test_partitions_do_not_fence_each_other(setup: Setup) -> None:
    """One transactional id for each input partition (rules.md 3)."""
    one, other = setup.kafka.transactions(setup.source(0)), setup.kafka.transactions(setup.source(1))
    await one.fence()
    await other.fence()
    await one.commit({TopicPartition(setup.log, 0): [message("a")]}, {setup.source(0): Committed(1, "")})
    await other.commit({TopicPartition(setup.log, 1): [message("b")]}, {setup.source(1): Committed(2, "")})
    await settle(setup, 0)
    await settle(setup, 1)
    assert [(await setup.kafka.committed(setup.source(p))) for p in (0, 1)] == [Committed(1, ""), Committed(2, "")]
    await one.close()
    await other.close()


async def test_one_transaction_holds_the_outputs_and_offsets_of_many_partitions(setup: Setup) -> None:
    """Commit after commit, by one and the same producer."""
    transactions = setup.kafka.transactions(setup.source(0))
    await transactions.fence()
    for number in range(1, 4):
        outputs = {
            TopicPartition(topic, partition): [message(f"{number}")]
            for topic in (setup.log, setup.table)
            for partition in range(PARTITIONS)
        }
        offsets = {setup.source(partition): Committed(number, f"{partition}") for partition in range(PARTITIONS)}
        await transactions.commit(outputs, offsets)
    await transactions.close()
    await settle(setup)
    for partition in range(PARTITIONS):
        assert await setup.kafka.committed(setup.source(partition)) == Committed(3, f"{partition}")
        for topic in (setup.log, setup.table):
            assert await all_keys(setup, topic, partition) == ["1", "2", "3"]


async def test_a_commit_of_nothing_is_none(setup: Setup) -> None:
    """No request."""
    transactions = setup.kafka.transactions(setup.source(0))
    await transactions.fence()
    await transactions.commit({}, {})
    await transactions.commit({TopicPartition(setup.log, 0): []}, {setup.source(0): Committed(1, "")})
    await transactions.close()
    await settle(setup)

    async def is_stored() -> bool:
        return (await setup.kafka.stable([setup.source(0)])).get(setup.source(0)) == Committed(1, "")

    await eventually(is_stored)


async def hanging(setup: Setup, partition: int) -> None:
    """Leave a transaction with the partition's id and its offset open, as a worker does that is killed in a commit."""
    source = setup.source(partition)
    if isinstance(setup.kafka, FakeKafka):
        setup.kafka.unstable.add(source)
        return
    kafka: AioKafka = setup.kafka
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka._settings.bootstrap_servers,
        transactional_id=f"{kafka._group_id}:{source.topic}:{source.partition}",
    )
    await producer.start()
    await producer.begin_transaction()
    await producer.send_offsets_to_transaction({AioPartition(*source): OffsetAndMetadata(9, "open")}, kafka._group_id)
    await producer.client.close()  # Without a word: its stop would abort.
    producer._closed = True
    producer._sender.sender_task.cancel()


async def test_offsets_are_stable_once_nothing_under_way_may_change_them(setup: Setup) -> None:
    """A killed worker's are not, until whoever takes over fences it; those of the others are all the while."""
    await commit(setup, 3)
    await commit(setup, 4, partition=1)
    sources = [setup.source(0), setup.source(1)]
    assert await setup.kafka.stable(sources) == {sources[0]: Committed(3, "at 3"), sources[1]: Committed(4, "at 4")}
    await hanging(setup, 0)
    assert await setup.kafka.stable(sources) == {sources[1]: Committed(4, "at 4")}
    await setup.kafka.fence(sources)

    async def is_settled() -> bool:
        return len(await setup.kafka.stable(sources)) == 2

    await eventually(is_settled)
    assert (await setup.kafka.stable(sources))[sources[0]] == Committed(3, "at 3")
    assert await setup.kafka.stable([]) == {}


async def test_many_producers_are_fenced_at_once(setup: Setup) -> None:
    """A worker does so with those of the partitions that it takes over."""
    old = [setup.kafka.transactions(setup.source(partition)) for partition in range(PARTITIONS)]
    for transactions in old:
        await transactions.fence()
    await setup.kafka.fence([setup.source(partition) for partition in range(PARTITIONS)])
    for partition, transactions in enumerate(old):
        with pytest.raises(TaskInvalid):
            await transactions.commit({}, {setup.source(partition): Committed(1, "")})
        await transactions.close()
        assert await setup.kafka.committed(setup.source(partition)) is None


async def test_offsets_of_an_older_generation_are_refused_and_the_rest_is_aborted(setup: Setup) -> None:
    """Neither outputs nor offsets are there, no reader has to wait, and the producer is good for nothing more."""
    one, other = setup.kafka.group([setup.events]), setup.kafka.group([setup.events])
    first, second = Listener(), Listener()
    await one.join(first)
    await eventually(lambda: first.member is not None)
    transactions, before = setup.kafka.transactions(setup.source(0)), first.member
    await transactions.fence()
    await transactions.commit(
        {TopicPartition(setup.log, 0): [message("a")]}, {setup.source(0): Committed(1, "")}, before
    )
    await other.join(second)
    await eventually(lambda: None not in (first.member, second.member))
    assert first.member != before
    with pytest.raises(TaskInvalid):
        await transactions.commit(
            {TopicPartition(setup.log, 0): [message("stale")]}, {setup.source(0): Committed(2, "")}, before
        )
    with pytest.raises(TaskInvalid):
        await transactions.commit({}, {setup.source(0): Committed(2, "")}, first.member)
    # Nobody has fenced it: it was the refused one itself that aborted.
    assert await all_keys(setup, setup.log) == ["a"]
    assert await setup.kafka.committed(setup.source(0)) == Committed(1, "")
    newer = setup.kafka.transactions(setup.source(0))
    await newer.fence()
    await newer.commit(
        {TopicPartition(setup.log, 0): [message("b")]}, {setup.source(0): Committed(2, "")}, first.member
    )
    await newer.close()
    await settle(setup)
    assert await all_keys(setup, setup.log) == ["a", "b"]
    for part in (transactions, one, other):
        await (part.close() if part is transactions else part.leave())


async def test_offsets_of_nobody_are_refused(setup: Setup) -> None:
    """A member that the coordinator does not know, of whichever generation."""
    group, listener = setup.kafka.group([setup.events]), Listener()
    await group.join(listener)
    await eventually(lambda: listener.member is not None)
    transactions = setup.kafka.transactions(setup.source(0))
    await transactions.fence()
    stranger = listener.member._replace(member_id="somebody else")
    with pytest.raises(TaskInvalid):
        await transactions.commit({}, {setup.source(0): Committed(1, "")}, stranger)
    assert await setup.kafka.committed(setup.source(0)) is None
    await transactions.close()
    await group.leave()


async def test_the_end_is_reached_on_an_empty_topic(setup: Setup) -> None:
    """A restore must come to an end there too."""
    assert await setup.kafka.bounds(setup.table, 0) == (0, 0)
    reader = await setup.kafka.reader(setup.table, 0)
    await reader.seek(0)
    assert await read_all(reader, 0) == []
    await reader.close()


async def test_the_end_is_reached_behind_an_aborted_transaction(setup: Setup) -> None:
    """The position passes control markers and aborted records (aiokafka#911)."""
    await commit(setup, 1, (setup.table, "a"), (setup.table, "b"))
    await abort(setup, setup.table)
    first, last = await setup.kafka.bounds(setup.table, 0)
    assert last > 2
    reader = await setup.kafka.reader(setup.table, 0)
    await reader.seek(first)
    assert await read_all(reader, last) == ["a", "b"]
    await reader.close()


async def test_a_reader_says_when_nothing_is_left(setup: Setup) -> None:
    """Only after a fetch that succeeded and found nothing (rules.md 16)."""
    await commit(setup, 1, (setup.log, "a"), (setup.log, "b"), (setup.log, "c"))
    reader = await setup.kafka.reader(setup.log, 0)
    await reader.seek(0)
    first = await reader.fetch(2, 60)
    assert ([r.key for r in first.records], first.caught_up) == ([b"a", b"b"], False)
    second = await reader.fetch(2, 60)
    assert ([r.key for r in second.records], second.caught_up) == ([b"c"], False)
    assert (await reader.fetch(2, 0)).caught_up is False
    assert (await caught_up(reader), reader.lag()) == ([], 0)
    await reader.close()


async def test_nothing_is_known_before_the_first_answer(setup: Setup) -> None:
    """Neither that all was read nor how much was not."""
    reader = await setup.kafka.reader(setup.log, 0)
    await reader.seek(0)
    assert (reader.lag(), reader.read_all()) == (None, False)
    await reader.close()


async def test_all_is_read_behind_an_aborted_transaction(setup: Setup) -> None:
    """Its records and the marker do not count."""
    await commit(setup, 1, (setup.log, "a"))
    await abort(setup, setup.log)
    reader = await setup.kafka.reader(setup.log, 0)
    await reader.seek(0)
    assert await caught_up(reader) == [b"a"]
    assert (reader.read_all(), reader.lag()) == (True, 0)
    await reader.close()


async def test_what_an_open_transaction_holds_back_is_unread(setup: Setup) -> None:
    """Though Kafka counts none of it as lag: the end of a run may lie there (rules.md 16)."""
    reader = await setup.kafka.reader(setup.log, 0)
    await reader.seek(0)
    async with open_transaction(setup, setup.log):
        held_back = [await reader.fetch(10, 0.5) for _ in range(3)]
        assert [(list(each.records), each.caught_up) for each in held_back] == [([], False)] * 3
        assert (reader.read_all(), reader.lag() or 0) == (False, 0)
    assert await caught_up(reader) == []
    await reader.close()


async def test_a_reader_that_fetches_nothing_hears_of_what_is_new_when_it_looks(setup: Setup) -> None:
    """Else the lag of a partition that waits would stand still."""
    await commit(setup, 1, (setup.log, "a"), (setup.log, "b"))
    reader = await setup.kafka.reader(setup.log, 0)
    await reader.seek(0)
    await reader.fetch(1, 60)
    before = reader.lag()
    await commit(setup, 2, *[(setup.log, str(number)) for number in range(10)])
    await reader.look()
    assert reader.lag() >= before + 10
    await reader.close()


async def test_a_position_that_is_gone_is_an_error(setup: Setup) -> None:
    """Never a silent reset."""
    reader = await setup.kafka.reader(setup.log, 0)
    await reader.seek(1_000)
    with pytest.raises(Gone, match="1000") as caught:
        await reader.fetch(1, 60)
    assert caught.value.first is None, "retention did not remove it: it never was there"
    await reader.close()


async def unreadable(setup: Setup, topic: str) -> None:
    """Add a batch of three records that is too large once decompressed, and a record behind it."""
    if isinstance(setup.kafka, FakeKafka):
        setup.kafka.logs[topic][0].damage(3)
        setup.kafka.logs[topic][0].append(message("behind"), "committed")
        return
    bootstrap = setup.kafka._settings.bootstrap_servers
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type="gzip", max_batch_size=4 << 20, max_request_size=4 << 20
    ) as producer:
        batch = producer.create_batch()
        for _ in range(3):
            assert batch.append(key=b"large", value=bytes(1_000_000), timestamp=1_000) is not None
        await (await producer.send_batch(batch, topic, partition=0))
        await producer.send_and_wait(topic, b"v", b"behind", 0)


async def up_to_unreadable(reader: Reader) -> tuple[list[bytes | None], Unreadable]:
    """Fetch until something cannot be read; return the keys before it, and the error."""
    keys: list[bytes | None] = []
    for _ in range(20):
        try:
            keys += [record.key for record in (await reader.fetch(10, 1.0)).records]
        except Unreadable as error:
            return keys, error
    pytest.fail("everything could be read")


async def test_what_cannot_be_read_is_told_by_its_offsets_behind_what_can(setup: Setup) -> None:
    """Again and again, until somebody goes past it; what lies in front comes first."""
    await commit(setup, 1, (setup.log, "a"), (setup.log, "b"))
    _, first = await setup.kafka.bounds(setup.log, 0)
    await unreadable(setup, setup.log)
    reader = await setup.kafka.reader(setup.log, 0)
    await reader.seek(0)
    keys, error = await up_to_unreadable(reader)
    assert (keys, error.first, error.last) == ([b"a", b"b"], first, first + 2)
    assert (reader.read_all(), reader.lag() or 0) == (False, 4)
    keys, error = await up_to_unreadable(reader)
    assert (keys, error.first, error.last) == ([], first, first + 2)
    await reader.seek(first + 3)
    assert await caught_up(reader) == [b"behind"]
    await reader.close()


@pytest.fixture
async def fetcher(setup: Setup) -> AsyncIterator[Fetcher]:
    """A fetcher of no partition."""
    fetcher = await setup.kafka.fetcher()
    yield fetcher
    await fetcher.close()


class Polled:
    """What polls of some partitions brought."""

    def __init__(self, fetcher: Fetcher, *places: TopicPartition) -> None:
        self.fetcher = fetcher
        self.places = places
        self.keys: dict[TopicPartition, list[bytes | None]] = {place: [] for place in places}
        self.troubles: dict[TopicPartition, Gone | Unreadable] = {}
        self.caught_up: set[TopicPartition] = set()

    async def poll(self, share: int = 10) -> None:
        """Poll once, all partitions alike."""
        for place, fetched in (await self.fetcher.poll(dict.fromkeys(self.places, share), 0.5)).items():
            assert len(fetched.records) <= share
            self.keys[place] += [record.key for record in fetched.records]
            (self.caught_up.add if fetched.caught_up else self.caught_up.discard)(place)
            if fetched.trouble is not None:
                assert not fetched.records
                self.troubles[place] = fetched.trouble

    async def until(self, condition: Callable[[], bool], share: int = 10) -> None:
        """Poll until it holds."""
        for _ in range(200):
            if condition():
                return
            await self.poll(share)
        pytest.fail(f"it never comes to hold: {self.keys}, {self.troubles}, {self.caught_up}")


async def test_many_partitions_are_read_together_each_by_its_share(setup: Setup, fetcher: Fetcher) -> None:
    """In their order, without gaps or repeats, wherever polls cut them; committed records only."""
    places = [TopicPartition(topic, number) for topic in (setup.log, setup.table) for number in range(PARTITIONS)]
    expected: dict[TopicPartition, list[bytes | None]] = {place: [] for place in places}
    transactions = setup.kafka.transactions(setup.source(0))
    await transactions.fence()
    for place in places:
        fetcher.seek(place, 0)
    polled = Polled(fetcher, *places)
    for number in range(20):
        outputs = {
            place: [message(f"{number}-{each}") for each in range(number % 3 + at)] for at, place in enumerate(places)
        }
        await transactions.commit(outputs, {setup.source(0): Committed(number, "")})
        for place, messages in outputs.items():
            expected[place] += [key for key, *_ in messages]
        await polled.poll(1 + number % 5)
    await transactions.close()
    await abort(setup, setup.log)
    await polled.until(lambda: polled.caught_up == set(places))
    assert polled.keys == expected
    assert [(fetcher.lag(place), fetcher.read_all(place)) for place in places] == [(0, True)] * len(places)


async def test_a_fetcher_goes_where_it_is_told(setup: Setup, fetcher: Fetcher) -> None:
    """Forwards and back, whatever was fetched before; of a partition that was dropped nothing comes."""
    await commit(setup, 1, *[(setup.log, str(number)) for number in range(20)])
    place, other = TopicPartition(setup.log, 0), TopicPartition(setup.log, 1)
    for each in (place, other):
        fetcher.seek(each, 0)
    polled = Polled(fetcher, place, other)
    await polled.until(lambda: len(polled.keys[place]) == 3, share=3)
    fetcher.seek(place, 17)
    await polled.until(lambda: place in polled.caught_up)
    assert polled.keys[place] == [b"0", b"1", b"2", b"17", b"18", b"19"]
    fetcher.seek(place, 18)
    await polled.until(lambda: len(polled.keys[place]) == 8)
    assert polled.keys[place][6:] == [b"18", b"19"]
    fetcher.seek(place, 0)
    fetcher.drop(place)
    fetcher.drop(TopicPartition("no-such-topic", 0))
    for _ in range(3):
        assert place not in await fetcher.poll({place: 10, other: 10}, 0.5)
    assert (fetcher.lag(place), fetcher.read_all(place)) == (None, False)


async def test_what_nobody_polls_is_not_handed_out(setup: Setup, fetcher: Fetcher) -> None:
    """It comes once it is polled again, as if nothing had been."""
    await commit(setup, 1, (setup.log, "a"), (setup.log, "b"), (setup.table, "c"))
    log, table = TopicPartition(setup.log, 0), TopicPartition(setup.table, 0)
    for each in (log, table):
        fetcher.seek(each, 0)
    only, both = Polled(fetcher, table), Polled(fetcher, log, table)
    await only.until(lambda: table in only.caught_up)
    assert only.keys == {table: [b"c"]}
    await both.until(lambda: both.caught_up == {log, table})
    assert both.keys == {log: [b"a", b"b"], table: []}


async def test_a_partition_with_trouble_leaves_the_others_alone(setup: Setup, fetcher: Fetcher) -> None:
    """It is told of beside their records, again and again; what lies in front of it comes first."""
    await commit(setup, 1, (setup.log, "a"), (setup.log, "b"))
    _, first = await setup.kafka.bounds(setup.log, 0)
    await unreadable(setup, setup.log)
    damaged, gone, good = TopicPartition(setup.log, 0), TopicPartition(setup.log, 1), TopicPartition(setup.table, 1)
    for place, offset in ((damaged, 0), (gone, 1_000), (good, 0)):
        fetcher.seek(place, offset)
    polled = Polled(fetcher, damaged, gone, good)
    await polled.until(lambda: len(polled.troubles) == 2)
    await commit(setup, 1, (setup.table, "c"), partition=1)
    polled.troubles.clear()
    await polled.until(lambda: len(polled.troubles) == 2 and good in polled.caught_up and len(polled.keys[good]) == 1)
    trouble = polled.troubles[damaged]
    assert isinstance(trouble, Unreadable)
    assert (trouble.first, trouble.last) == (first, first + 2)
    assert isinstance(polled.troubles[gone], Gone)
    assert polled.keys == {damaged: [b"a", b"b"], gone: [], good: [b"c"]}
    fetcher.seek(damaged, first + 3)
    fetcher.seek(gone, 0)
    await polled.until(lambda: polled.caught_up == {damaged, gone, good})
    assert polled.keys[damaged] == [b"a", b"b", b"behind"]


async def test_a_fetcher_knows_nothing_before_the_first_answer(setup: Setup, fetcher: Fetcher) -> None:
    """And all that the broker has said since, also of where nobody reads on."""
    place = TopicPartition(setup.log, 0)
    fetcher.seek(place, 0)
    assert (fetcher.lag(place), fetcher.read_all(place)) == (None, False)
    await commit(setup, 1, (setup.log, "a"), (setup.log, "b"))
    polled = Polled(fetcher, place)
    await polled.until(lambda: place in polled.caught_up)
    await commit(setup, 2, *[(setup.log, str(number)) for number in range(10)])
    assert fetcher.lag(place) == 0
    await fetcher.look(place)
    assert (fetcher.lag(place) or 0) >= 10
    fetcher.seek(place, 0)
    assert (fetcher.lag(place) or 0) >= 12, "a seek forgets nothing of what the broker said"


async def test_what_an_open_transaction_holds_back_is_unread_to_a_fetcher_too(setup: Setup, fetcher: Fetcher) -> None:
    """rules.md 16."""
    place = TopicPartition(setup.log, 0)
    fetcher.seek(place, 0)
    polled = Polled(fetcher, place)
    async with open_transaction(setup, setup.log):
        for _ in range(3):
            await polled.poll()
        assert (polled.keys[place], polled.caught_up) == ([], set())
        assert (fetcher.read_all(place), fetcher.lag(place)) == (False, 0)
    await polled.until(lambda: place in polled.caught_up)
    assert polled.keys[place] == []


async def test_a_time_is_its_first_record(setup: Setup) -> None:
    """Or none. On a real Kafka control markers count too, at the time when they were written."""
    transactions = setup.kafka.transactions(setup.source(0))
    await transactions.fence()
    sent = [message("a", timestamp=5_000), message("b", timestamp=6_000)]
    await transactions.commit({TopicPartition(setup.log, 0): sent}, {setup.source(0): Committed(1, "")})
    await transactions.close()
    await settle(setup)
    found = [await setup.kafka.offset_at(setup.log, 0, at) for at in (0, 5_000, 5_001, 2**42)]
    assert found == [0, 0, 1, None]
    assert await setup.kafka.offset_at(setup.log, 1, 0) is None


async def test_topics_are_described_with_partitions_and_configuration(setup: Setup) -> None:
    """Those that exist."""
    found = await setup.kafka.topics([setup.table, "no-such-topic"])
    assert list(found) == [setup.table]
    assert found[setup.table].partitions == PARTITIONS
    assert found[setup.table].config["cleanup.policy"] == "compact"
    assert int(found[setup.table].config["max.message.bytes"]) > 0
    assert await setup.kafka.partition_count(setup.table) == PARTITIONS
    assert await setup.kafka.partition_count("no-such-topic") == 0


async def test_a_topic_that_is_made_anew_has_another_id(setup: Setup) -> None:
    """One that stays keeps its own; one that does not exist has none, and is not made by asking."""
    before = await setup.kafka.topic_ids([setup.log, setup.table, "no-such-topic"])
    assert before.keys() == {setup.log, setup.table}
    assert before[setup.log] != before[setup.table]
    await delete(setup, setup.table)
    assert await setup.kafka.topic_ids([setup.log, setup.table]) == {setup.log: before[setup.log]}
    await setup.kafka.create([NewTopic(setup.table, PARTITIONS, TABLE)])
    after = await setup.kafka.topic_ids([setup.log, setup.table])
    assert after[setup.log] == before[setup.log]
    assert after[setup.table] != before[setup.table]


async def delete(setup: Setup, topic: str) -> None:
    """Delete a topic, as no part of the service does."""
    if isinstance(setup.kafka, FakeKafka):
        del setup.kafka.logs[topic]
        return
    admin = AIOKafkaAdminClient(bootstrap_servers=setup.kafka._settings.bootstrap_servers)
    await admin.start()
    await admin.delete_topics([topic])
    await admin.close()

    async def is_gone() -> bool:
        return not await setup.kafka.partition_count(topic)

    await eventually(is_gone)


async def test_members_share_the_partitions_and_are_confirmed(setup: Setup) -> None:
    """Each gets its share of every topic, the same numbers; a member that left is confirmed no more."""
    topics = [setup.events, setup.log]
    assert not (await setup.kafka.membership()).members
    one, other = setup.kafka.group(topics), setup.kafka.group(topics)
    everything = frozenset(TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS))
    first, second = Listener(), Listener()
    await one.join(first)
    await eventually(lambda: first.sources == everything)
    assert await one.confirmed()
    assert (one.partitions(setup.log), one.partitions("no-such-topic")) == (PARTITIONS, None)
    await other.join(second)
    await eventually(lambda: None not in (first.sources, second.sources) and len(first.sources or ()) == PARTITIONS)
    assert (first.sources or frozenset()) | (second.sources or frozenset()) == everything
    for listener in (first, second):
        mine = listener.sources or frozenset()
        assert {source.partition for source in mine if source.topic == setup.events} == {
            source.partition for source in mine if source.topic == setup.log
        }
    assert len((await setup.kafka.membership()).members) == 2
    await one.leave()
    assert not await one.confirmed()
    await eventually(lambda: second.sources == everything)
    await other.leave()
