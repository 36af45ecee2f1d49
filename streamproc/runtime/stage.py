"""What a partition's task does with its records: the fold of runs, or the windows. The task itself is the same."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeVar

from streamproc.codec.arrival import Arrival, Rejection, instant
from streamproc.codec.deadletter import ANY_SIZE, dead_letter
from streamproc.codec.encode import Message, Source
from streamproc.codec.sizes import memory_bytes
from streamproc.core.model import Moment
from streamproc.runtime.observer import CommitReport, Held
from streamproc.runtime.ports import Outputs, TopicPartition, Unreadable
from streamproc.runtime.position import Position
from streamproc.runtime.restore import Sources

MAX_BYTES_PER_COMMIT = 32 << 20
"""Of records. A few kilobytes may unfold into many megabytes each, and their dead letters hold all of that."""

Allows = Callable[[str, int], bool]
"""Whether a commit may reject so many records for a reason."""


class Limits(NamedTuple):
    """How many bytes are admitted: of a record's key, value and headers, and of the batch that a dead letter is in."""

    record_bytes: int = ANY_SIZE
    letter_bytes: int = ANY_SIZE


class Pending(NamedTuple):
    """A commit on its way: what it sends, the position it is committed with, and what to do once it is confirmed.

    `apply` takes it over into the state; `report` tells of it, given its duration and its latency in seconds.
    """

    outputs: Outputs
    position: Position
    apply: Callable[[], None]
    report: Callable[[float, float], CommitReport]


class Batch(ABC):
    """Gathers one commit over one or more fetches, on top of a committed state that it never changes.

    What every stage does alike is here: counting what was read, dead letters, the next position. `missing`: headers of
    schemas that have to be asked for before the record at `next_offset` can be absorbed; `held`: the reason for which
    that one would be rejected, and must not be yet. `last_timestamp` is then its. `unreadable`: what lies there is no
    record at all, as far as anybody can tell.
    """

    allows: Allows | None = None
    unreadable: Unreadable | None = None

    def __init__(self, source: Source, position: Position, letter_bytes: int) -> None:
        self._source = source
        self._from = position
        self._letter_bytes = letter_bytes
        self._bytes = 0
        self.next_offset = position.offset
        self.missing: tuple[bytes, ...] = ()
        self.held = ""
        self._rejected: Counter[str] = Counter()
        self._samples: dict[str, Rejection] = {}
        self._dead_letters: list[Message] = []
        self.records = 0
        self.first_timestamp = self.last_timestamp = 0

    @abstractmethod
    def absorb(self, records: Sequence[Arrival], at: Moment) -> None:
        """Take records that follow on what was absorbed, as far as they may be: see `missing` and `held`."""

    @abstractmethod
    def pass_time(self, at: Moment, *, read_all: bool) -> None:
        """Let the clock do its part; `read_all`: nothing is left, as `Reader.read_all` has it."""

    @property
    @abstractmethod
    def is_full(self) -> bool:
        """Whether it should be committed, though more is at hand."""

    @property
    @abstractmethod
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""

    @abstractmethod
    def settle(self) -> None:
        """Take note, where there is nothing to commit, of what was looked at in vain."""

    @abstractmethod
    def close(self, at: Moment) -> Pending:
        """Return the commit."""

    def heard(self, at: Moment) -> bool:
        """Return whether the broker has answered: with records, taken or not, or that there are none."""
        return bool(self.records or self.missing or self.held or at.caught_up)

    def _took(self, records: Sequence[Arrival], rejections: Sequence[Rejection], at: Moment) -> None:
        """Take note of records that were absorbed, and of those among them that cannot be used."""
        for rejection in rejections:
            self._rejected[rejection.reason] += 1
            self._samples.setdefault(rejection.reason, rejection)
            topic, partition = self._source.topic, self._source.partition
            letter = dead_letter(rejection, topic, partition, at.wall_ms, self._letter_bytes)
            self._dead_letters.append(letter)
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
    def _is_large(self) -> bool:
        return self._bytes >= MAX_BYTES_PER_COMMIT

    def _over_limit(self, rejections: Sequence[Rejection]) -> Rejection | None:
        """Return the first of rejections to come that is over a limit."""
        if self.allows is None or not rejections:
            return None
        counts = self._rejected.copy()
        for rejection in rejections:
            counts[rejection.reason] += 1
            if not self.allows(rejection.reason, counts[rejection.reason]):
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

    def _here(self, by_topic: Mapping[str, Sequence[Message]]) -> Outputs:
        """Return what goes to the partitions of the source's own number (rules.md 2)."""
        partition = self._source.partition
        return {TopicPartition(topic, partition): messages for topic, messages in by_topic.items() if messages}


State = TypeVar("State", bound=Held)


class Stage(Protocol[State]):
    """One input partition's part of a stage. `linger_s`: how long a commit waits for more to come."""

    source: Source
    state_topic: str
    partitions: int
    profile: str
    interval_s: float
    linger_s: float

    def fresh(self, stream_time: int) -> State:
        """Return an empty state, to be restored."""

    def load(self, state: State, records: Sequence[Arrival]) -> Sources:
        """Put records of the state topic into `state`; return where they came from."""

    def begin(self, state: State, position: Position) -> Batch:
        """Return a new commit on top of `state`."""
