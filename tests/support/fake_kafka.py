"""An in-memory Kafka behind the runtime's ports, with faults on request. tests/contract holds it to the real one.

Transactions, fencing, isolation read_committed, control markers and the last stable offset behave as Kafka's do.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from uuid import uuid4

from streamproc.codec.message import Message
from streamproc.errors import TaskInvalid
from streamproc.runtime.aio.partitioner import partition_of
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import (
    Committed,
    Fetched,
    Gone,
    GroupDescription,
    GroupListener,
    Member,
    NewTopic,
    OutputRefused,
    Outputs,
    StillEnding,
    TopicInfo,
    TopicPartition,
    Unreadable,
)
from streamproc.runtime.rights import Operation, Resource, Right

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
        self.sought: dict[str, list[int]] = defaultdict(list)
        """From where on readers read a topic."""
        self.ids: dict[str, str] = {}
        """Of topics, where the broker gives them."""
        self.offsets: dict[TopicPartition, Committed] = {}
        self.epochs: dict[TopicPartition, int] = defaultdict(int)
        self.open: dict[TopicPartition, list[tuple[Log, Entry]]] = defaultdict(list)
        self.pending: dict[TopicPartition, Mapping[TopicPartition, Committed]] = {}
        """Offsets of open transactions, by transactional id: until these end the committed ones are not stable."""
        self.generation = 0
        self.unstable: set[TopicPartition] = set()
        """Whose offsets somebody's transaction under way may still change."""
        self.members: list[FakeGroup] = []
        self.refusing: Collection[TopicPartition] = ()
        """Partitions that take no records."""
        self.ending: dict[TopicPartition, set[TopicPartition]] = defaultdict(set)
        """The partitions that refused a transaction, by its id."""
        self.commits: list[Mapping[TopicPartition, Committed]] = []
        """The offsets of each transaction, in their order."""
        self.taken: set[Right] = set()
        """Rights that the user does not have."""
        self.asked_for = Counter[Right]()
        self.denials = 0
        """Commits that were refused for want of a right."""
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

    async def fence(self, sources: Sequence[TopicPartition]) -> Collection[TopicPartition]:
        """Fence every producer with the ids of these partitions."""
        self.fault("fence")
        for source in sources:
            if not self.is_ending(source):
                self.raise_epoch(source)
        return {source for source in sources if self.is_ending(source)}

    def is_ending(self, source: TopicPartition) -> bool:
        """Whether the last transaction of an id waits for a partition that takes no markers."""
        return bool(self.ending[source] & set(self.refusing))

    async def fetcher(self) -> "FakeFetcher":
        """Return a fetcher."""
        return FakeFetcher(self)

    async def reader(self, topic: str, partition: int) -> "FakeReader":
        """Return a reader."""
        self.fault("reader")
        return FakeReader(self, topic, partition)

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
        """Return the committed offsets that no open transaction may still change."""
        self.fault("stable")
        unstable = self.unstable.union(*self.pending.values())
        return {source: self.offsets.get(source) for source in sources if source not in unstable}

    async def high_watermark(self, topic: str, partition: int) -> int:
        """Return the offset behind the last record."""
        self.fault("high_watermark")
        return self.logs[topic][partition].end

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """Return the offset of the first record with this timestamp or a later one."""
        found = (entry.offset for entry in self.logs[topic][partition].unread(0) if entry.timestamp >= timestamp_ms)
        return next(found, None)

    async def membership(self) -> GroupDescription:
        """Describe the group."""
        return GroupDescription("Stable" if self.members else "Empty", ["fake at 127.0.0.1" for _ in self.members])

    async def partition_count(self, topic: str) -> int:
        """Return the number of partitions."""
        self.fault("partition_count")
        return len(self.logs.get(topic, ()))

    async def topic_ids(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the ids of topics."""
        self.fault("topic_ids")
        return {name: self.ids[name] for name in names if name in self.logs and name in self.ids}

    async def topics(self, names: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Describe topics."""
        return {name: TopicInfo(len(self.logs[name]), self.configs[name]) for name in names if name in self.logs}

    async def create(self, topics: Sequence[NewTopic]) -> None:
        """Create topics."""
        for topic in topics:
            self.copies[topic.name] = topic.replication_factor
            self.ids[topic.name] = uuid4().hex
            self.logs[topic.name] = [Log() for _ in range(topic.partitions)]
            self.configs[topic.name] = {"max.message.bytes": "1048588", "cleanup.policy": "delete", **topic.config}

    async def lacking(self, rights: Sequence[Right]) -> Sequence[Right]:
        """Return those of the rights that were taken away."""
        self.asked_for.update(rights)
        return [right for right in rights if right in self.taken]

    async def close(self) -> None:
        """Nothing to give up."""

    def raise_epoch(self, source: TopicPartition) -> int:
        """Raise the epoch of a transactional id and abort what an earlier one left open."""
        self.epochs[source] += 1
        self.unstable.discard(source)
        self.end(source, "aborted")
        return self.epochs[source]

    def end(self, source: TopicPartition, status: str) -> None:
        """End the open transaction of an id."""
        for log in {id(log): log for log, _ in self.open[source]}.values():
            log.mark()
        for _, entry in self.open.pop(source, []):
            entry.status = status
        offsets = self.pending.pop(source, {})
        if status == "committed":
            self.offsets.update(offsets)

    def acknowledges(self, member: Member | None) -> bool:
        """Whether the coordinator takes offsets of this membership; None: it does not ask."""
        ids = {each.member_id for each in self.members}
        return member is None or (member.generation == self.generation and member.member_id in ids)

    def rebalance(self) -> None:
        """Deal the partitions out anew, in turn."""
        for member in self.members:
            member.revoke()
        self.generation += 1
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
        self._kafka.sought[self._topic].append(offset)
        self.go_to(offset)

    def go_to(self, offset: int) -> None:
        """Read from `offset` on."""
        self._position = offset

    async def fetch(self, max_records: int, timeout_s: float) -> Fetched:
        """Return what is at hand."""
        self._kafka.fault("fetch")
        found = self.take(max_records)
        await asyncio.sleep(0 if found and found.records else min(timeout_s, 0.001))
        if found is None:
            return Fetched((), caught_up=False)
        if found.trouble is not None:
            raise found.trouble
        return found._replace(caught_up=found.caught_up and timeout_s > 0 and self.read_all())

    def take(self, max_records: int) -> Fetched | None:
        """Return what is at hand, None where the broker says nothing."""
        self._kafka.fetches[self._topic] += 1
        if self._topic in self._kafka.silent:
            return None
        read = Right(Operation.READ, Resource.TOPIC, self._topic)
        if read in self._kafka.taken:
            return Fetched((), False, Denied(read))
        log = self._log
        if not log.first <= self._position <= log.end:
            message = f"offset {self._position} of {self._where} is no longer there: {log.first} to {log.end}"
            return Fetched((), False, Gone(message, log.first if self._position < log.first else None))
        self._known, self._high = log.last_stable, log.end
        unread = log.unread(self._position)[:max_records]
        if unread and unread[0].status == "damaged":
            first, last = unread[0].damaged
            place = TopicPartition(self._topic, self._partition)
            return Fetched((), False, Unreadable(place, max(first, self._position), last, "it is damaged"))
        found = list(takewhile(lambda entry: entry.status == "committed", unread))
        self._position = found[-1].offset + 1 if found else max(self._position, log.last_stable)
        return Fetched(found, caught_up=not found and self.read_all())

    async def position(self) -> int:
        """Return the next offset; past markers, as soon as nothing else is left."""
        return self.next()

    def next(self) -> int:
        """Return the next offset."""
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
        self._sought: set[TopicPartition] = set()
        """Whose answer is on its way: it comes with the next poll."""
        self.is_closed = False

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Read a partition from `offset` on."""
        self._readers.setdefault(place, FakeReader(self._kafka, *place)).go_to(offset)
        self._sought.add(place)

    def drop(self, place: TopicPartition) -> None:
        """Forget a partition."""
        self._readers.pop(place, None)

    async def poll(self, shares: Mapping[TopicPartition, int], timeout_s: float) -> Mapping[TopicPartition, Fetched]:
        """Return what is at hand."""
        self._kafka.fault("fetch")
        found = self._take(shares)
        if not any(each.records or each.trouble for each in found.values()):
            await asyncio.sleep(min(timeout_s, 0.001))
        else:
            await asyncio.sleep(0)
        return found

    def _take(self, shares: Mapping[TopicPartition, int]) -> dict[TopicPartition, Fetched]:
        known = {place: most for place, most in shares.items() if place in self._readers and place not in self._sought}
        self._sought.difference_update(shares)
        taken = {place: self._readers[place].take(most) for place, most in known.items()}
        return {place: fetched for place, fetched in taken.items() if fetched is not None}

    def position(self, place: TopicPartition) -> int:
        """Return the next offset."""
        return self._readers[place].next()

    def lag(self, place: TopicPartition) -> int | None:
        """Return what is left of what it has heard of."""
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
        self.is_closed = True


class FakeTransactions:
    """A transactional producer."""

    def __init__(self, kafka: FakeKafka, source: TopicPartition) -> None:
        self._kafka = kafka
        self._source = source
        self._epoch = -1
        self._is_spent = False

    async def fence(self) -> None:
        """Fence the earlier ones."""
        self._kafka.fault("fence")
        if self._kafka.is_ending(self._source):
            raise StillEnding(f"the transaction of {self._source} does not end")
        self._epoch = self._kafka.raise_epoch(self._source)

    async def commit(
        self, outputs: Outputs, offsets: Mapping[TopicPartition, Committed], member: Member | None = None
    ) -> None:
        """Write everything in one transaction."""
        kafka, source = self._kafka, self._source
        if self._is_spent:
            raise TaskInvalid("it has failed before")
        self._is_spent = True
        for place, messages in outputs.items():
            self._check()  # A broker refuses each record of a producer that was fenced in the meantime.
            write = Right(Operation.WRITE, Resource.TOPIC, place.topic)
            if write in kafka.taken:
                kafka.end(source, "aborted")
                kafka.denials += 1
                raise Denied(write, places=[each for each in outputs if each.topic == place.topic])
            if place in kafka.refusing:
                kafka.end(source, "aborted")
                kafka.ending[source] = set(kafka.refusing) & outputs.keys()
                raise OutputRefused(place, "NOT_ENOUGH_REPLICAS", frozenset(kafka.refusing) & outputs.keys())
            log = kafka.logs[place.topic][place.partition]
            for message in messages:
                kafka.open[source].append((log, log.append(message, "open")))
            kafka.fault("send")
            await asyncio.sleep(0)
        self._check()
        if not kafka.acknowledges(member):
            kafka.end(source, "aborted")
            raise TaskInvalid("the coordinator refuses the offsets: ILLEGAL_GENERATION")
        kafka.pending[source] = dict(offsets)
        kafka.fault("before the end")
        self._check()
        kafka.end(source, "committed")
        kafka.commits.append(dict(offsets))
        kafka.fault("after the end")
        self._is_spent = False

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
        self.member_id = f"member-{id(self)}"

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

    def trouble(self) -> Denied | None:
        """Return why there is no membership."""
        return None

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
