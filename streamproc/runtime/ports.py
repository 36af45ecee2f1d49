"""The interface of the runtime to Kafka. `aio` implements it with aiokafka, the tests with a fake.

The contract suite in tests/contract holds both to the same behaviour.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from streamproc.codec.arrival import Arrival
from streamproc.codec.message import Messages
from streamproc.errors import ConfigError, StreamprocError, TaskInvalid
from streamproc.runtime.denied import Denied
from streamproc.runtime.rights import Right


class TopicPartition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic} partition {self.partition}"


Outputs = Mapping[TopicPartition, Messages]
"""The records of one commit, by partition."""


class Committed(NamedTuple):
    """A committed offset of the consumer group, with the metadata that was committed along with it."""

    offset: int
    metadata: str


class Member(NamedTuple):
    """Our membership in one generation of the group: the coordinator refuses its offsets in a later one (KIP-447)."""

    generation: int
    member_id: str
    instance_id: str | None = None


class Gone(ConfigError):
    """The next record does not exist. `first`: the offset to go on from where retention removed it, else None."""

    def __init__(self, message: str, first: int | None) -> None:
        super().__init__(message)
        self.first = first


class Unreadable(StreamprocError):
    """The next batch of records exists, but no client can read it.

    `first` and `last`: its offsets, as its header says; `last` is never below `first`.
    """

    def __init__(self, place: TopicPartition, first: int, last: int, why: str) -> None:
        what = f"offset {first}" if first == last else f"offsets {first} to {last}"
        super().__init__(f"{what} of {place} cannot be read: {why}")
        self.place, self.first, self.last = place, first, last


class StillEnding(TaskInvalid):
    """An earlier transaction of this id does not end, because a partition that it wrote to takes no markers."""


class OutputRefused(TaskInvalid):
    """The partition `place` refused a batch, so the transaction was aborted. `places`: all partitions that refused."""

    def __init__(self, place: TopicPartition, why: str, places: frozenset[TopicPartition] = frozenset()) -> None:
        super().__init__(f"{place} takes no records: {why}")
        self.place, self.why, self.places = place, why, places | {place}


class Fetched(NamedTuple):
    """The result of one fetch of a partition.

    `caught_up`: the fetch succeeded and brought no records, and `read_all` holds (rules.md 16). `trouble`: why the next
    record cannot be read, as the exception that a `Reader` would raise; then there are no records.
    """

    records: Sequence[Arrival]
    caught_up: bool
    trouble: Gone | Unreadable | Denied | None = None


class GroupDescription(NamedTuple):
    """The consumer group as its coordinator describes it: a state such as Stable or Empty, each member's client id."""

    state: str
    members: Sequence[str]


class Reader(Protocol):
    """Reads one partition with isolation read_committed, outside any group."""

    async def seek(self, offset: int) -> None:
        """Read from `offset` on."""

    async def fetch(self, max_records: int, timeout_s: float) -> Fetched:
        """Return the records that have arrived; wait at most `timeout_s` for the first.

        Raises Gone where the position is out of range, BrokerUnavailable where Kafka refuses for now, Unreadable where
        the next records cannot be read: earlier calls have returned all before them, the next call tries them again.
        """

    async def position(self) -> int:
        """Return the offset to be read next; it moves past control markers and offsets that compaction removed."""

    def lag(self) -> int | None:
        """Return how many offsets lie between position and last stable offset; None before the first fetch."""

    def read_all(self) -> bool:
        """Return whether the latest answer left nothing unread; records of an open transaction count as unread."""

    async def look(self) -> None:
        """Ask for the present end, so that `lag` is right without a fetch; raises BrokerUnavailable."""

    async def close(self) -> None:
        """Close the connection; takes a bounded time."""


class Fetcher(Protocol):
    """Reads many partitions with isolation read_committed, outside any group, and only when it is polled."""

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Read a partition from `offset` on; records of it that were fetched before are dropped."""

    def drop(self, place: TopicPartition) -> None:
        """Forget a partition and its fetched records; an unknown partition is ignored."""

    async def poll(self, shares: Mapping[TopicPartition, int], timeout_s: float) -> Mapping[TopicPartition, Fetched]:
        """Return the records that have arrived of these partitions, of each at most the number in `shares`.

        Waits at most `timeout_s` for the first. A partition is missing from the result where its broker has sent
        nothing new about it. A cancelled call loses no records. Raises BrokerUnavailable where a partition has had no
        answer for too long.
        """

    def position(self, place: TopicPartition) -> int:
        """Return the offset to be read next, as `Reader.position` does."""

    def lag(self, place: TopicPartition) -> int | None:
        """Return the lag, as `Reader.lag` does."""

    def read_all(self, place: TopicPartition) -> bool:
        """Return whether nothing is unread, as `Reader.read_all` does."""

    async def look(self, place: TopicPartition) -> None:
        """Ask for the present end of the partition, as `Reader.look` does."""

    async def close(self) -> None:
        """Close the connections; takes a bounded time."""


class Transactions(Protocol):
    """A transactional producer. After its first failure it is of no use any more."""

    async def fence(self) -> None:
        """Fence every earlier producer of the same transactional id and finish its transaction.

        Raises StillEnding where that does not finish within seconds, Denied, TaskInvalid.
        """

    async def commit(
        self, outputs: Outputs, offsets: Mapping[TopicPartition, Committed], member: Member | None = None
    ) -> None:
        """Write `outputs` and the group's offsets in one transaction, with every record acknowledged.

        With `member` the coordinator refuses the offsets once the group has a later generation. Raises OutputRefused,
        Denied or TaskInvalid unless the commit is confirmed, ConfigError where no retry could succeed.
        """

    async def close(self) -> None:
        """Close the connections, even within a transaction; takes a bounded time."""


class GroupListener(Protocol):
    """Called within the group's rebalance, so it may only take notes and signal (rules.md 8)."""

    def revoked(self) -> None:
        """From here on we own no partition."""

    def assigned(self, sources: frozenset[TopicPartition], member: Member) -> None:
        """From here on we own these partitions of the inputs, in a new generation of the group."""


class Group(Protocol):
    """A membership in the consumer group. It decides ownership, and reads nothing."""

    async def join(self, listener: GroupListener) -> None:
        """Begin to take part in the group."""

    async def confirmed(self) -> bool:
        """Send a heartbeat; return whether the coordinator acknowledges us in the current generation."""

    async def poll(self) -> None:
        """Keep the membership alive; raises ConfigError where it cannot be kept. Call at least every few seconds."""

    def partitions(self, topic: str) -> int | None:
        """Return the number of a topic's partitions, as of some seconds ago; None where it is unknown."""

    def trouble(self) -> Denied | None:
        """Return which right keeps us out of the group; None where no right does."""

    async def leave(self) -> None:
        """Leave the group, or as a static member only close; takes a bounded time."""


class TopicInfo(NamedTuple):
    """A topic's number of partitions, and its configuration values by name."""

    partitions: int
    config: Mapping[str, str]


class NewTopic(NamedTuple):
    """A topic to be created. `replication_factor` -1: the broker's default."""

    name: str
    partitions: int
    config: Mapping[str, str]
    replication_factor: int = -1


class Kafka(Protocol):
    """A Kafka cluster: makes the parts above, and answers questions about topics, offsets and rights."""

    def group(self, topics: Sequence[str]) -> Group:
        """Return a membership in the consumer group that has not joined yet.

        The owner of a partition of the first topic owns the partition of the same number of each other topic.
        """

    def partition_of(self, key: bytes, partitions: int) -> int:
        """Return the partition of a key, chosen as Kafka's own clients do (rules.md 2)."""

    def transactions(self, source: TopicPartition) -> Transactions:
        """Return a producer with the transactional id of an input partition; `fence` starts it."""

    async def fence(self, sources: Sequence[TopicPartition]) -> Collection[TopicPartition]:
        """Fence every producer with the ids of these partitions and finish its transaction; raises TaskInvalid, Denied.

        Returns the partitions whose transaction does not finish within seconds. Its outcome is decided, but a partition
        that it wrote to takes no markers.
        """

    async def fetcher(self) -> Fetcher:
        """Return a fetcher of no partition; raises BrokerUnavailable."""

    async def reader(self, topic: str, partition: int) -> Reader:
        """Return a started reader; `seek` must be called before the first fetch."""

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset and the last stable offset."""

    async def committed(self, source: TopicPartition) -> Committed | None:
        """Return the group's committed offset of an input partition, None where there is none."""

    async def stable(self, sources: Sequence[TopicPartition]) -> Mapping[TopicPartition, Committed | None]:
        """Return the committed offsets that no open transaction may still change; the others are missing.

        Raises BrokerUnavailable.
        """

    async def high_watermark(self, topic: str, partition: int) -> int:
        """Return the offset after the last record, records of open transactions included."""

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """Return the offset of the first record, or control marker, with this timestamp or a later one, else None."""

    async def membership(self) -> GroupDescription:
        """Describe the consumer group."""

    async def partition_count(self, topic: str) -> int:
        """Return the number of partitions, 0 where the topic does not exist."""

    async def topic_ids(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the topics' ids by name; brokers before 2.8 give none."""

    async def topics(self, names: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Describe the topics that exist; the others are missing."""

    async def create(self, topics: Sequence[NewTopic]) -> None:
        """Create topics."""

    async def lacking(self, rights: Sequence[Right]) -> Sequence[Right]:
        """Return the rights that the user lacks, as far as the broker tells; changes nothing.

        With a broker without an authorizer no right is lacking. Raises BrokerUnavailable.
        """

    async def close(self) -> None:
        """Close the connections; takes a bounded time."""
