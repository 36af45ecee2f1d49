"""The processing of one input topic: the fold of runs, or the windows. The cycle is the same for both.

A stage decodes and encodes for all of its partitions at once. `PartitionMemory` is the memory of one of them, `Batch`
its part of one commit. Nothing in here knows Kafka.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from streamproc.codec.arrival import Arrival, Rejection, instant
from streamproc.codec.deadletter import ANY_SIZE, dead_letter
from streamproc.codec.message import Message, Messages
from streamproc.codec.sizes import memory_bytes
from streamproc.core.model import Moment
from streamproc.errors import RejectionReason
from streamproc.runtime.observer import CommitReport, StageState
from streamproc.runtime.ports import Outputs, TopicPartition
from streamproc.runtime.position import Position
from streamproc.runtime.restore import KeyOrigins
from streamproc.store.keeper import PayloadKeeper

MAX_BYTES_PER_COMMIT = 32 << 20
"""Limits the records of a commit. A few kilobytes may decompress to many megabytes, all of which dead letters carry."""

Allows = Callable[[RejectionReason, int], bool]
"""Whether a commit may reject so many records for a reason."""


class SizeLimits(NamedTuple):
    """The bytes admitted: of a record's key, value and headers, and of the batch with a dead letter."""

    record_bytes: int = ANY_SIZE
    letter_bytes: int = ANY_SIZE


class MissingSchemas(NamedTuple):
    """The next record cannot be decoded before the registry was asked for these schemas, named by their headers."""

    headers: tuple[bytes, ...]


class TooMany(NamedTuple):
    """The next record would be rejected, but no more records may be rejected for this reason now."""

    reason: RejectionReason


class Absorbed(NamedTuple):
    """How many records of a fetch were absorbed, and why the next one has to wait: None if all were."""

    taken: int
    stop: MissingSchemas | TooMany | None = None


class Pending(NamedTuple):
    """One partition's part of a commit: the committed position, and what to do once it is confirmed.

    `apply` merges the commit into the state; `report` returns its report, given its duration and latency in seconds.
    """

    position: Position
    apply: Callable[[], None]
    report: Callable[[float, float], CommitReport]


class Batch(ABC):
    """Gathers one partition's part of a commit over one or more fetches, on top of a state that it never changes.

    Common to all stages: counts of the records read, dead letters, the next position. Timestamps are Kafka's, in
    milliseconds; `last_timestamp` is that of the waiting record, if one waits.
    """

    def __init__(self, source: TopicPartition, position: Position, letter_bytes: int, allows: Allows | None) -> None:
        self.source = source
        self.next_offset = position.offset
        self.records = 0
        self.first_timestamp = self.last_timestamp = 0
        self.dead_letters: list[Message] = []
        self._from = position
        self._letter_bytes = letter_bytes
        self._allows = allows
        self._bytes = 0
        self._rejected: Counter[RejectionReason] = Counter()
        self._samples: dict[RejectionReason, Rejection] = {}

    @abstractmethod
    def absorb(self, records: Sequence[Arrival], decoded: Any, at: Moment) -> Absorbed:
        """Absorb the next records, as the stage decoded them, up to the first that has to wait."""

    @abstractmethod
    def pass_time(self, at: Moment, *, heard: bool, read_all: bool) -> None:
        """Pass time.

        `heard`: the broker has answered, with records or that there are none; `read_all`: nothing is unread.
        """

    @property
    @abstractmethod
    def load(self) -> float:
        """The share of a full commit that is in here; the sum over all partitions stays near 1."""

    @property
    @abstractmethod
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""

    @abstractmethod
    def settle(self) -> None:
        """If there is nothing to commit: note what was examined without a change, so that nothing examines it again."""

    @abstractmethod
    def close(self, at: Moment) -> Pending:
        """End the batch."""

    @property
    def lacks_payloads(self) -> bool:
        """Whether there may be anything to `recall`."""
        return False

    async def recall(self) -> None:  # noqa: B027  windows have all of it
        """Load the payloads that the batch needs from disk; raises DiskFails, StoreDamaged."""

    def _took(self, records: Sequence[Arrival], rejections: Sequence[Rejection], at: Moment) -> None:
        """Count absorbed records, and make dead letters of those that were rejected."""
        for rejection in rejections:
            self._rejected[rejection.reason] += 1
            self._samples.setdefault(rejection.reason, rejection)
            self.dead_letters.append(dead_letter(rejection, *self.source, at.wall_ms, self._letter_bytes))
        if not records:
            return
        self._weigh(records)
        if not self.records:
            self.first_timestamp = instant(records[0].timestamp, at.wall_ms)
        self.records += len(records)
        self.last_timestamp = instant(records[-1].timestamp, at.wall_ms)
        self.next_offset = records[-1].offset + 1

    def _weigh(self, records: Sequence[Arrival]) -> None:
        """Count the memory that records take."""
        total = 0
        for record in records:
            total += len(record.value or b"") + len(record.key or b"")
            if record.headers:
                total += memory_bytes(record.headers)
        self._bytes += total

    @property
    def _bytes_load(self) -> float:
        return self._bytes / MAX_BYTES_PER_COMMIT

    def _over_limit(self, rejections: Sequence[Rejection]) -> Rejection | None:
        """Return the first of these new rejections that is over a limit."""
        if self._allows is None or not rejections:
            return None
        counts = self._rejected.copy()
        for rejection in rejections:
            counts[rejection.reason] += 1
            if not self._allows(rejection.reason, counts[rejection.reason]):
                return rejection
        return None

    def _position(self, live_keys: int, stream_time: int) -> Position:
        """Return the position to commit."""
        return self._from._replace(
            offset=self.next_offset,
            sequence=self._from.sequence + 1,
            live_keys=live_keys,
            stream_time=stream_time,
        )


B = TypeVar("B", bound=Batch)
B_co = TypeVar("B_co", bound=Batch, covariant=True)


class PartitionMemory(Protocol[B_co]):
    """The memory of one partition of a stage between commits.

    `state`: the committed state, which observers read; `keeper`: keeps its large payloads, None if there are none.
    """

    @property
    def state(self) -> StageState:
        """The committed state."""

    @property
    def keeper(self) -> PayloadKeeper | None:
        """The keeper of the payloads."""

    def load(self, records: Sequence[Arrival]) -> KeyOrigins:
        """Load records of the state topic into the state; return which input offsets they came from."""

    def begin(self, position: Position, allows: Allows | None) -> B_co:
        """Return a new batch on top of the state."""


class Stage(Protocol[B]):
    """Processes the partitions of the input `topic`. `every_s`: how long a partition waits for more records."""

    topic: str
    state_topic: str
    profile: str
    partitions: int
    every_s: float

    def fresh(self, partition: int, stream_time: int) -> PartitionMemory[B]:
        """Return the empty memory of a partition, to be restored."""

    def decode(self, brought: Mapping[int, Sequence[Arrival]]) -> Mapping[int, Any]:
        """Decode records by partition, as `Batch.absorb` takes them."""

    def encode(self, batches: Sequence[B], at: Moment) -> Outputs:
        """Return the outputs of closed batches."""


def here(source: TopicPartition, by_topic: Mapping[str, Messages]) -> Outputs:
    """Return the outputs to the partitions with the number of the source (rules.md 2)."""
    return {TopicPartition(topic, source.partition): messages for topic, messages in by_topic.items() if messages}
