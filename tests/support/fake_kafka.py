"""An in-memory Kafka behind the runtime's ports, with faults on request. tests/contract holds it to the real one.

Transactions, fencing, isolation read_committed, control markers and the last stable offset behave as Kafka's do.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from streamproc.codec.encode import Message
from streamproc.errors import TaskInvalid
from streamproc.runtime.aio.partitioner import partition_of
from streamproc.runtime.ports import (
    Committed,
    Fetched,
    Gone,
    GroupListener,
    Member,
    Membership,
    NewTopic,
    Outputs,
    TopicInfo,
    TopicPartition,
    Unreadable,
)

Fault = Callable[[str], None]
"""Called at named points with their name; raises what shall go wrong there."""


@dataclass
class Entry:
    """One offset of a log: a record, or a control marker (`status` "marker"), or a part of `damaged` offsets."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Sequence[tuple[str, bytes]]
    status: str
    damaged: tuple[int, int] = (0, 0)


@dataclass
class Log:
    """One partition."""

    entries: list[Entry] = field(default_factory=list)
    first: int = 0

    @property
    def end(self) -> int:
        """The offset after the last entry."""
        return self.entries[-1].offset + 1 if self.entries else self.first

    @property
    def last_stable(self) -> int:
        """The offset of the first record of an open transaction, else the end."""
        return next((entry.offset for entry in self.entries if entry.status == "open"), self.end)

    def append(self, message: Message, status: str) -> Entry:
        """Add a record."""
        key, value, timestamp, headers = message
        entry = Entry(self.end, key, value, timestamp, tuple(headers), status)
        self.entries.append(entry)
        return entry

    def damage(self, count: int = 1) -> range:
        """Add a batch of so many records that nobody can read; return its offsets."""
        offsets = range(self.end, self.end + count)
        for offset in offsets:
            self.entries.append(Entry(offset, None, None, 0, (), "damaged", (offsets[0], offsets[-1])))
        return offsets

    def mark(self) -> None:
        """Add a control marker, as the end of a transaction does."""
        self.entries.append(Entry(self.end, None, None, 0, (), "marker"))

    def unread(self, start: int) -> list[Entry]:
        """Return what there is to be read from `start` on, whether or not anybody can."""
        end = self.last_stable
        return [each for each in self.entries if start <= each.offset < end and each.status in ("committed", "damaged")]

    def stable(self, start: int) -> list[Entry]:
        """Return what a reader with isolation read_committed may see from `start` on."""
        end = self.last_stable
        return [entry for entry in self.entries if start <= entry.offset < end and entry.status == "committed"]


def no_fault(point: str) -> None:
    """Let everything succeed."""
    del point


class FakeKafka:
    """A cluster. `fault` may be exchanged at any time."""

    def __init__(self) -> None:
        self.fault: Fault = no_fault
        self.configs: dict[str, Mapping[str, str]] = {}
        self.logs: dict[str, list[Log]] = {}
        self.copies: dict[str, int] = {}
        self.offsets: dict[TopicPartition, Committed] = {}
        self.epochs: dict[TopicPartition, int] = defaultdict(int)
        self.open: dict[TopicPartition, list[tuple[Log, Entry]]] = defaultdict(list)
        self.members: list[FakeGroup] = []
        self.generation = 0
        self.unstable: set[TopicPartition] = set()
        """Whose offsets a transaction under way may still change."""
        self.silent: set[str] = set()
        """Topics whose fetches get no answer."""
        self.fetches = Counter[str]()
        """How many fetches there were of each topic, answered or not."""

    def group(self, topics: Sequence[str]) -> "FakeGroup":
        """Return a membership."""
        return FakeGroup(self, topics)

    def partition_of(self, key: bytes, partitions: int) -> int:
        """Return the partition that a key goes to."""
        return partition_of(key, partitions)

    def transactions(self, source: TopicPartition) -> "FakeTransactions":
        """Return a producer."""
        return FakeTransactions(self, source)

    async def reader(self, topic: str, partition: int) -> "FakeReader":
        """Return a reader."""
        self.fault("reader")
        return FakeReader(self, topic, partition)

    async def fetcher(self) -> "FakeFetcher":
        """Return a fetcher."""
        self.fault("fetcher")
        return FakeFetcher(self)

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset and the last stable offset."""
        self.fault("bounds")
        log = self.logs[topic][partition]
        return log.first, log.last_stable

    async def committed(self, source: TopicPartition) -> Committed | None:
        """Return the committed offset."""
        self.fault("committed")
        return self.offsets.get(source)

    async def stable(self, sources: Sequence[TopicPartition]) -> Mapping[TopicPartition, Committed | None]:
        """Return the committed offsets."""
        self.fault("stable")
        return {source: self.offsets.get(source) for source in sources if source not in self.unstable}

    async def high_watermark(self, topic: str, partition: int) -> int:
        """Return the end."""
        return self.logs[topic][partition].end

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """Return the offset of the first record with this timestamp or a later one."""
        found = (entry.offset for entry in self.logs[topic][partition].unread(0) if entry.timestamp >= timestamp_ms)
        return next(found, None)

    async def membership(self) -> Membership:
        """Describe the group."""
        return Membership("Stable" if self.members else "Empty", ["fake at 127.0.0.1" for _ in self.members])

    async def partition_count(self, topic: str) -> int:
        """Return the number of partitions."""
        self.fault("partition_count")
        return len(self.logs.get(topic, ()))

    async def topics(self, names: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Describe topics."""
        return {name: TopicInfo(len(self.logs[name]), self.configs[name]) for name in names if name in self.logs}

    async def create(self, topics: Sequence[NewTopic]) -> None:
        """Create topics."""
        for topic in topics:
            self.copies[topic.name] = topic.replication_factor
            self.logs[topic.name] = [Log() for _ in range(topic.partitions)]
            self.configs[topic.name] = {"max.message.bytes": "1048588", "cleanup.policy": "delete", **topic.config}

    async def close(self) -> None:
        """Nothing to give up."""

    async def fence(self, sources: Sequence[TopicPartition]) -> None:
        """Fence the producers of these partitions."""
        for source in sources:
            self.next_epoch(source)

    def knows(self, member: Member) -> bool:
        """Whether offsets may be committed with it."""
        return member.generation == self.generation and any(each.member_id == member.member_id for each in self.members)

    def next_epoch(self, source: TopicPartition) -> int:
        """Raise the epoch and abort what an earlier one left open."""
        self.epochs[source] += 1
        self.unstable.discard(source)
        self.end(source, "aborted")
        return self.epochs[source]

    def end(self, source: TopicPartition, status: str) -> None:
        """End the source's open transaction."""
        for log in {id(log): log for log, _ in self.open[source]}.values():
            log.mark()
        for _, entry in self.open.pop(source, []):
            entry.status = status

    def rebalance(self) -> None:
        """Deal the partitions out anew, in turn."""
        self.generation += 1
        for member in self.members:
            member.revoke()
        for number, member in enumerate(self.members):
            places = [TopicPartition(topic, each) for topic in member.topics for each in range(len(self.logs[topic]))]
            member.assign(frozenset(place for place in places if place.partition % len(self.members) == number))


class FakeReader:
    """Reads one partition."""

    def __init__(self, kafka: FakeKafka, topic: str, partition: int) -> None:
        self._kafka = kafka
        self._log = kafka.logs[topic][partition]
        self._topic, self._partition = topic, partition
        self._where = f"{topic} partition {partition}"
        self._position = 0
        self._known: int | None = None
        self._high = 0

    async def seek(self, offset: int) -> None:
        """Read from `offset` on."""
        self.move(offset)

    def move(self, offset: int) -> None:
        """Do the same."""
        self._position = offset

    async def fetch(self, max_records: int, timeout_s: float) -> Fetched:
        """Return what is at hand."""
        self._kafka.fault("fetch")
        self._kafka.fetches[self._topic] += 1
        if self._topic in self._kafka.silent:
            await asyncio.sleep(min(timeout_s, 0.001))
            return Fetched((), caught_up=False)
        log = self._log
        if not log.first <= self._position <= log.end:
            message = f"offset {self._position} of {self._where} is no longer there: {log.first} to {log.end}"
            raise Gone(message, log.first if self._position < log.first else None)
        self._known, self._high = log.last_stable, log.end
        unread = log.unread(self._position)[:max_records]
        if unread and unread[0].status == "damaged":
            first, last = unread[0].damaged
            place = TopicPartition(self._topic, self._partition)
            raise Unreadable(place, max(first, self._position), last, "it is damaged")
        found = list(takewhile(lambda entry: entry.status == "committed", unread))
        # Before the wait: what arrives during it belongs to the next fetch.
        self._position = found[-1].offset + 1 if found else max(self._position, log.last_stable)
        await asyncio.sleep(0 if found else min(timeout_s, 0.001))
        return Fetched(found, caught_up=not found and timeout_s > 0 and self.read_all())

    async def position(self) -> int:
        """Return the next offset; past markers, as soon as nothing else is left."""
        return self._position if self._log.unread(self._position) else max(self._position, self._log.last_stable)

    def lag(self) -> int | None:
        """Return what is left of what it has heard of."""
        known = self._known
        return None if known is None else sum(entry.offset < known for entry in self._log.unread(self._position))

    def read_all(self) -> bool:
        """Whether nothing is left of what it has heard of, an open transaction's records neither."""
        rest = (entry for entry in self._log.entries if self._position <= entry.offset < self._high)
        return self._known is not None and not any(entry.status in ("committed", "open", "damaged") for entry in rest)

    async def look(self) -> None:
        """Hear of what is new."""
        self._kafka.fault("look")
        self._known = self._log.last_stable

    async def close(self) -> None:
        """Nothing to give up."""


class FakeFetcher:
    """Reads many partitions."""

    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka
        self._readers: dict[TopicPartition, FakeReader] = {}

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Read from `offset` on."""
        reader = self._readers.setdefault(place, FakeReader(self._kafka, *place))
        reader.move(offset)

    def drop(self, place: TopicPartition) -> None:
        """Forget a partition."""
        self._readers.pop(place, None)

    async def poll(self, shares: Mapping[TopicPartition, int], timeout_s: float) -> Mapping[TopicPartition, Fetched]:
        """Return what is at hand; only where there is nothing at all it waits."""
        found = await self._at_hand(shares, 0)
        if any(each.records or each.trouble for each in found.values()):
            return found
        return await self._at_hand(shares, timeout_s)

    async def _at_hand(self, shares: Mapping[TopicPartition, int], timeout_s: float) -> dict[TopicPartition, Fetched]:
        found: dict[TopicPartition, Fetched] = {}
        for place, most in shares.items():
            if place not in self._readers:
                continue
            try:
                fetched = await self._readers[place].fetch(most, timeout_s)
            except (Gone, Unreadable) as trouble:
                found[place] = Fetched((), caught_up=False, trouble=trouble)
            else:
                if place.topic not in self._kafka.silent:
                    is_over = not fetched.records and self.read_all(place)
                    found[place] = fetched._replace(caught_up=is_over)
        return found

    def lag(self, place: TopicPartition) -> int | None:
        """Return what is left."""
        return self._readers[place].lag() if place in self._readers else None

    def read_all(self, place: TopicPartition) -> bool:
        """Whether nothing is left."""
        return place in self._readers and self._readers[place].read_all()

    async def look(self, place: TopicPartition) -> None:
        """Hear of what is new."""
        if place in self._readers:
            await self._readers[place].look()

    async def close(self) -> None:
        """Nothing to give up."""


class FakeTransactions:
    """A transactional producer."""

    def __init__(self, kafka: FakeKafka, source: TopicPartition) -> None:
        self._kafka = kafka
        self._source = source
        self._epoch = -1
        self._spent = False

    async def fence(self) -> None:
        """Fence the earlier ones."""
        self._kafka.fault("fence")
        self._epoch = self._kafka.next_epoch(self._source)

    async def commit(
        self, outputs: Outputs, offsets: Mapping[TopicPartition, Committed], member: Member | None = None
    ) -> None:
        """Write everything in one transaction."""
        if self._spent:
            raise TaskInvalid("it has failed before")
        self._spent = True
        for place, messages in outputs.items():
            self._check()  # A broker refuses each record of a producer that was fenced in the meantime.
            log = self._kafka.logs[place.topic][place.partition]
            for message in messages:
                self._kafka.open[self._source].append((log, log.append(message, "open")))
            self._kafka.fault("send")
            await asyncio.sleep(0)
        self._check()
        if member is not None and not self._kafka.knows(member):
            self._kafka.end(self._source, "aborted")
            message = "of an older generation, or no member"
            raise TaskInvalid(message)
        self._kafka.fault("before the end")
        self._check()
        self._kafka.end(self._source, "committed")
        self._kafka.offsets.update(offsets)
        self._kafka.fault("after the end")
        self._spent = False

    async def close(self) -> None:
        """Leave the transaction as it is."""

    def _check(self) -> None:
        if self._epoch != self._kafka.epochs[self._source]:
            message = "fenced"
            raise TaskInvalid(message)


class FakeGroup:
    """A membership."""

    def __init__(self, kafka: FakeKafka, topics: Sequence[str]) -> None:
        self._kafka = kafka
        self._listener: GroupListener | None = None
        self.topics = topics
        self.member_id = f"member {id(self)}"

    async def join(self, listener: GroupListener) -> None:
        """Take part."""
        self._listener = listener
        self._kafka.members.append(self)
        self._kafka.rebalance()

    async def confirmed(self) -> bool:
        """Tell whether we are a member."""
        self._kafka.fault("heartbeat")
        return self in self._kafka.members

    async def poll(self) -> None:
        """Nothing to keep alive."""

    def partitions(self, topic: str) -> int | None:
        """Return how many there are."""
        return len(self._kafka.logs.get(topic, ())) or None

    async def leave(self) -> None:
        """Go; the others get the partitions."""
        if self in self._kafka.members:
            self._kafka.members.remove(self)
            self._kafka.rebalance()

    def revoke(self) -> None:
        """Call the listener."""
        assert self._listener is not None
        self._listener.revoked()

    def assign(self, sources: frozenset[TopicPartition]) -> None:
        """Call the listener."""
        assert self._listener is not None
        self._listener.assigned(sources, Member(self._kafka.generation, self.member_id))
