"""What the partitions of one input topic are for: the fold of runs, or the windows. The cycle is the same for both.

A stage decodes and encodes for all of its partitions at once; what one of them remembers is `PartitionMemory`, and
what one commit makes of that is a `Batch`. Nothing in here knows of Kafka.
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
"""Of records. A few kilobytes may unfold into many megabytes each, and their dead letters hold all of that."""

Allows = Callable[[RejectionReason, int], bool]
"""Whether a commit may reject so many records for a reason."""


class SizeLimits(NamedTuple):
    """How many bytes are admitted: of a record's key, value and headers, and of the batch that a dead letter is in."""

    record_bytes: int = ANY_SIZE
    letter_bytes: int = ANY_SIZE


class MissingSchemas(NamedTuple):
    """The next record cannot be decoded before these schemas, named by their headers, were asked for."""

    headers: tuple[bytes, ...]


class TooMany(NamedTuple):
    """The next record would be rejected, and no more may be for this reason just now."""

    reason: RejectionReason


class Absorbed(NamedTuple):
    """How many records of a fetch were taken, and why the next one has to wait: None where all were."""

    taken: int
    stop: MissingSchemas | TooMany | None = None


class Pending(NamedTuple):
    """One partition's part of a commit: the position that is committed, and what to do once that is confirmed.

    `apply` takes it over into the state; `report` tells of it, given its duration and its latency in seconds.
    """

    position: Position
    apply: Callable[[], None]
    report: Callable[[float, float], CommitReport]


class Batch(ABC):
    """Gathers one partition's part of a commit over one or more fetches, on top of a state that it never changes.

    What every stage does alike is here: counting what was read, dead letters, the next position. Timestamps are
    Kafka's, in milliseconds; `last_timestamp` is of the record that waits, where one does.
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
        """Take records that follow on what was absorbed, as the stage decoded them, as far as they may be taken."""

    @abstractmethod
    def pass_time(self, at: Moment, *, heard: bool, read_all: bool) -> None:
        """Let the clock do its part.

        `heard`: the broker has said something, with records or that there are none; `read_all`: nothing is left.
        """

    @property
    @abstractmethod
    def load(self) -> float:
        """How much of what one commit may hold is in here; those of all partitions together stay near 1."""

    @property
    @abstractmethod
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""

    @abstractmethod
    def settle(self) -> None:
        """Take note, where there is nothing to commit, of what was looked at in vain."""

    @abstractmethod
    def close(self, at: Moment) -> Pending:
        """End the batch."""

    @property
    def lacks_payloads(self) -> bool:
        """Whether there may be anything to `recall`."""
        return False

    async def recall(self) -> None:  # noqa: B027  windows have all of it
        """Have at hand what it needs of what is not in memory; raises DiskFails, StoreDamaged."""

    def _took(self, records: Sequence[Arrival], rejections: Sequence[Rejection], at: Moment) -> None:
        """Take note of records that were absorbed, and of those among them that cannot be used."""
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
        """Count what records take in memory."""
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
        """Return the first of rejections to come that is over a limit."""
        if self._allows is None or not rejections:
            return None
        counts = self._rejected.copy()
        for rejection in rejections:
            counts[rejection.reason] += 1
            if not self._allows(rejection.reason, counts[rejection.reason]):
                return rejection
        return None

    def _position(self, live_keys: int, stream_time: int) -> Position:
        """Return the position that this is committed with."""
        return self._from._replace(
            offset=self.next_offset,
            sequence=self._from.sequence + 1,
            live_keys=live_keys,
            stream_time=stream_time,
        )


B = TypeVar("B", bound=Batch)
B_co = TypeVar("B_co", bound=Batch, covariant=True)


class PartitionMemory(Protocol[B_co]):
    """What one partition of a stage remembers between commits.

    `state`: what observers may read of it; `keeper`: who keeps what of it is large, None where nothing is.
    """

    @property
    def state(self) -> StageState:
        """The committed state."""

    @property
    def keeper(self) -> PayloadKeeper | None:
        """Who keeps payloads."""

    def load(self, records: Sequence[Arrival]) -> KeyOrigins:
        """Put records of the state topic into the state; return where they came from."""

    def begin(self, position: Position, allows: Allows | None) -> B_co:
        """Return a new batch on top of the state."""


class Stage(Protocol[B]):
    """What is done with the partitions of the input `topic`. `every_s`: how long a partition waits for more to come."""

    topic: str
    state_topic: str
    profile: str
    partitions: int
    every_s: float

    def fresh(self, partition: int, stream_time: int) -> PartitionMemory[B]:
        """Return what a partition remembers that begins anew, to be restored."""

    def decode(self, brought: Mapping[int, Sequence[Arrival]]) -> Mapping[int, Any]:
        """Decode records by partition, as `Batch.absorb` takes them."""

    def encode(self, batches: Sequence[B], at: Moment) -> Outputs:
        """Return what closed batches send."""


def here(source: TopicPartition, by_topic: Mapping[str, Messages]) -> Outputs:
    """Return what goes to the partitions of the source's own number (rules.md 2)."""
    return {TopicPartition(topic, source.partition): messages for topic, messages in by_topic.items() if messages}
