"""What the runtime asks of Kafka, as narrow as it can be. `aio` does it with aiokafka, the tests with a fake.

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
"""What one commit sends."""


class Committed(NamedTuple):
    """A committed offset of the consumer group, with the metadata that was committed along with it."""

    offset: int
    metadata: str


class Member(NamedTuple):
    """Our membership as of one assignment: offsets committed with it are refused once there is another (KIP-447)."""

    generation: int
    member_id: str
    instance_id: str | None = None


class Gone(ConfigError):
    """What would be read next is not there. `first`: the offset to go on from where retention removed it, else None."""

    def __init__(self, message: str, first: int | None) -> None:
        super().__init__(message)
        self.first = first


class Unreadable(StreamprocError):
    """The batch of records that would be read next is there and cannot be read, whoever tries.

    `first` and `last`: the offsets that it takes, as its header says; `last` is never below `first`.
    """

    def __init__(self, place: TopicPartition, first: int, last: int, why: str) -> None:
        what = f"offset {first}" if first == last else f"offsets {first} to {last}"
        super().__init__(f"{what} of {place} cannot be read: {why}")
        self.place, self.first, self.last = place, first, last


class StillEnding(TaskInvalid):
    """The transaction before of this id does not come to its end: a partition that it wrote to takes no markers."""


class OutputRefused(TaskInvalid):
    """The partition `place` takes nothing: the transaction was given up. `places`: all of which that was said in it."""

    def __init__(self, place: TopicPartition, why: str, places: frozenset[TopicPartition] = frozenset()) -> None:
        super().__init__(f"{place} takes no records: {why}")
        self.place, self.why, self.places = place, why, places | {place}


class Fetched(NamedTuple):
    """What one fetch of a partition brought.

    `caught_up`: it succeeded, brought nothing, and nothing is left, as `read_all` has it (rules.md 16). `trouble`: why
    what comes next cannot be had, as an exception that a `Reader` would raise; then there are no records.
    """

    records: Sequence[Arrival]
    caught_up: bool
    trouble: Gone | Unreadable | Denied | None = None


class GroupDescription(NamedTuple):
    """The consumer group as its coordinator has it: a state such as Stable or Empty, and each member's client id."""

    state: str
    members: Sequence[str]


class Reader(Protocol):
    """Reads one partition with isolation read_committed, apart from any group."""

    async def seek(self, offset: int) -> None:
        """Read from `offset` on."""

    async def fetch(self, max_records: int, timeout_s: float) -> Fetched:
        """Return what is at hand, waiting at most `timeout_s` for the first record.

        Raises Gone where the position is out of range, BrokerUnavailable where Kafka refuses for now, Unreadable where
        it has come to records that cannot be read; what lies before them was returned. The next call tries them again.
        """

    async def position(self) -> int:
        """Return the offset that would be read next; it passes control markers and what compaction removed."""

    def lag(self) -> int | None:
        """Return how many offsets lie between what was read and the last stable offset heard of; None before any."""

    def read_all(self) -> bool:
        """Return whether the broker said just now that nothing is unread; what an open transaction holds back is."""

    async def look(self) -> None:
        """Find out how far the partition goes by now, for `lag`: who fetches nothing hears of nothing that is new.

        Raises BrokerUnavailable.
        """

    async def close(self) -> None:
        """Give up the connection; takes a bounded time."""


class Fetcher(Protocol):
    """Reads many partitions with isolation read_committed, apart from any group, and only when it is polled."""

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Read a partition from `offset` on; what was fetched of it is dropped."""

    def drop(self, place: TopicPartition) -> None:
        """Forget a partition and what was fetched of it; one that is not known is none."""

    async def poll(self, shares: Mapping[TopicPartition, int], timeout_s: float) -> Mapping[TopicPartition, Fetched]:
        """Return what is at hand of these partitions, at most so many records of each.

        Waits at most `timeout_s` for the first. A partition of which the broker has said nothing since it was last in
        an answer is missing. Cancelled, it loses nothing. Raises BrokerUnavailable for one without an answer for long.
        """

    def position(self, place: TopicPartition) -> int:
        """Return the offset that would be read next, as `Reader.position` does."""

    def lag(self, place: TopicPartition) -> int | None:
        """Return how many offsets lie between what was read and the last stable offset heard of; None before any."""

    def read_all(self, place: TopicPartition) -> bool:
        """Return whether the broker said just now that nothing is unread; what an open transaction holds back is."""

    async def look(self, place: TopicPartition) -> None:
        """Find out how far the partition goes by now, for `lag`; raises BrokerUnavailable."""

    async def close(self) -> None:
        """Give up the connections; takes a bounded time."""


class Transactions(Protocol):
    """A transactional producer. Good until its first failure; then it is thrown away."""

    async def fence(self) -> None:
        """Fence every earlier producer of the same transactional id and finish its transaction.

        Raises StillEnding where that does not finish within seconds, Denied, TaskInvalid.
        """

    async def commit(
        self, outputs: Outputs, offsets: Mapping[TopicPartition, Committed], member: Member | None = None
    ) -> None:
        """Write `outputs` and the group's offsets in one transaction, every record acknowledged.

        With `member` the coordinator refuses the offsets where that membership is no longer the present one. Raises
        OutputRefused, Denied, TaskInvalid whenever the outcome is not a confirmed commit, ConfigError where it never
        could be.
        """

    async def close(self) -> None:
        """Give up the connections, transaction or not; takes a bounded time."""


class GroupListener(Protocol):
    """Called in the group's rebalance: may only take note and signal (rules.md 8)."""

    def revoked(self) -> None:
        """No partition is ours from here on."""

    def assigned(self, sources: frozenset[TopicPartition], member: Member) -> None:
        """These partitions of the inputs are ours, in a new generation of the group."""


class Group(Protocol):
    """Membership in the consumer group. Decides ownership; reads nothing."""

    async def join(self, listener: GroupListener) -> None:
        """Start taking part."""

    async def confirmed(self) -> bool:
        """Tell whether the coordinator acknowledges us in the current generation, by a heartbeat sent now."""

    async def poll(self) -> None:
        """Keep the membership alive; raises ConfigError where it cannot be kept. Call at least every few seconds."""

    def partitions(self, topic: str) -> int | None:
        """Return how many partitions a topic has, as of a few seconds ago; None where that is not known."""

    def trouble(self) -> Denied | None:
        """Return why there is no membership for now, None where there is, or is no reason against it."""

    async def leave(self) -> None:
        """Leave the group (a static member only closes); takes a bounded time."""


class TopicInfo(NamedTuple):
    """What a topic check needs: the partition count and the configuration values by name."""

    partitions: int
    config: Mapping[str, str]


class NewTopic(NamedTuple):
    """A topic to be created. `replication_factor` -1: the broker's default."""

    name: str
    partitions: int
    config: Mapping[str, str]
    replication_factor: int = -1


class Kafka(Protocol):
    """A cluster: makes the parts above, and answers questions about itself."""

    def group(self, topics: Sequence[str]) -> Group:
        """Return a membership in the consumer group, not yet joined.

        Who owns a partition of the first topic owns that number of the others, too.
        """

    def partition_of(self, key: bytes, partitions: int) -> int:
        """Return the partition that a key goes to, as Kafka's own clients decide it (rules.md 2)."""

    def transactions(self, source: TopicPartition) -> Transactions:
        """Return a producer with the transactional id of an input partition, not yet started."""

    async def fence(self, sources: Sequence[TopicPartition]) -> Collection[TopicPartition]:
        """Fence every producer with the ids of these partitions and finish its transaction; raises TaskInvalid, Denied.

        Returns those whose transaction does not finish within seconds: it is to be aborted, or committed, and that is
        settled, but a partition that it wrote to takes no markers.
        """

    async def fetcher(self) -> Fetcher:
        """Return a fetcher of no partition; raises BrokerUnavailable."""

    async def reader(self, topic: str, partition: int) -> Reader:
        """Return a started reader; it must be told where to read."""

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset and the last stable offset."""

    async def committed(self, source: TopicPartition) -> Committed | None:
        """Return the group's committed offset of an input partition, None where there is none."""

    async def stable(self, sources: Sequence[TopicPartition]) -> Mapping[TopicPartition, Committed | None]:
        """Return the committed offsets that no transaction under way may still change; the others are missing.

        Raises BrokerUnavailable.
        """

    async def high_watermark(self, topic: str, partition: int) -> int:
        """Return the offset behind the last record, those of open transactions included."""

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """Return the offset of the first record, or control marker, of this time or a later one, else None."""

    async def membership(self) -> GroupDescription:
        """Describe the consumer group."""

    async def partition_count(self, topic: str) -> int:
        """Return the number of partitions, 0 where the topic does not exist."""

    async def topic_ids(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the ids of those of the topics that have one: brokers before 2.8 give none."""

    async def topics(self, names: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Describe those of the topics that exist."""

    async def create(self, topics: Sequence[NewTopic]) -> None:
        """Create topics."""

    async def lacking(self, rights: Sequence[Right]) -> Sequence[Right]:
        """Return those of the rights that the user does not have, as far as the broker tells; changes nothing.

        A broker without an authorizer tells of none, and all are had. Raises BrokerUnavailable.
        """

    async def close(self) -> None:
        """Give up the connections; takes a bounded time."""
