"""What one commit is made of: records in, decoded, folded and encoded; outputs and the new position out. No I/O."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from streamproc.codec.arrival import Arrival
from streamproc.codec.deadletter import dead_letter
from streamproc.codec.decode import decode
from streamproc.codec.encode import Message, OutputEncoder, Source
from streamproc.codec.schemas import SchemaBook
from streamproc.core.lifecycle import Profile
from streamproc.core.model import Moment
from streamproc.core.state import State
from streamproc.core.step import Outcome, forget, step
from streamproc.errors import ConfigError
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.position import Position


class Fold(Struct, frozen=True):
    """How the records of one input partition are folded. `topics` with their prefix."""

    source: Source
    topics: TopicSettings
    profile: Profile
    book: SchemaBook
    encoder: OutputEncoder
    max_record_bytes: int
    partitions: int


class Pending(NamedTuple):
    """A commit on its way: what it sends, by topic, what it changes, and the position it is committed with."""

    outputs: Mapping[str, Sequence[Message]]
    outcome: Outcome
    position: Position


class Batch:
    """Gathers one commit over one or more fetches, on top of a committed state that it never changes."""

    def __init__(self, fold: Fold, state: State, position: Position) -> None:
        self._fold = fold
        self._state = state
        self._from = position
        self._outcome = Outcome(stream_time=state.stream_time)
        self._transitions: list[Message] = []
        self._dead_letters: list[Message] = []
        self._next_offset = position.offset
        self.records = 0
        self.rejected: Counter[str] = Counter()
        self.first_timestamp = self.last_timestamp = 0

    def absorb(self, records: Sequence[Arrival], at: Moment) -> None:
        """Decode and fold records that follow on what was absorbed; raises ConfigError for an oversized one."""
        fold = self._fold
        self._refuse_oversized(records)
        decoded = decode(records, fold.book)
        step(self._state, decoded.events, at, fold.profile, self._outcome)
        self._transitions += fold.encoder.transitions(self._outcome.transitions, at.wall_ms)
        self._outcome.transitions.clear()
        for rejection in decoded.rejections:
            self.rejected[rejection.reason] += 1
            self._dead_letters.append(dead_letter(rejection, fold.source.topic, fold.source.partition, at.wall_ms))
        if not self.records:
            self.first_timestamp = records[0].timestamp
        self.records += len(records)
        self.last_timestamp = records[-1].timestamp
        self._next_offset = records[-1].offset + 1

    def pass_time(self, at: Moment) -> None:
        """Let the clock do its part: forget what retention is over for."""
        forget(self._state, at, self._outcome)

    def settle(self) -> None:
        """Where there is nothing to commit: take note of which runs were looked at in vain."""
        self._state.settle(self._outcome.horizon)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not self.records and not self._outcome.runs

    def close(self, at: Moment, count_elsewhere: Callable[[Sequence[str]], int]) -> Pending:
        """Return the commit; `count_elsewhere` tells how many of the newly opened runs live on another partition."""
        outcome, topics, encoder = self._outcome, self._fold.topics, self._fold.encoder
        elsewhere = count_elsewhere(outcome.tally.opened)
        if elsewhere:
            outcome.tally.anomalies["two_partitions"] += elsewhere
        sequence = self._from.sequence + 1
        states = encoder.states([run for run in outcome.runs.values() if run is not None], at.wall_ms)
        states += encoder.tombstones(outcome.forgotten, outcome.now, sequence, at.wall_ms)
        outputs = {
            topics.transitions: self._transitions,
            topics.state: states,
            topics.dead_letters: self._dead_letters,
        }
        position = Position(
            offset=self._next_offset,
            sequence=sequence,
            live_keys=self._state.live_after(outcome.runs),
            stream_time=outcome.stream_time,
            partitions=self._fold.partitions,
            profile=self._fold.profile.name,
        )
        return Pending({topic: messages for topic, messages in outputs.items() if messages}, outcome, position)

    def _refuse_oversized(self, records: Sequence[Arrival]) -> None:
        limit, source = self._fold.max_record_bytes, self._fold.source
        for record in records:
            size = len(record.value or b"") + len(record.key or b"")
            if record.headers:
                size += sum(len(name) + len(value or b"") for name, value in record.headers)
            if size > limit:
                message = (
                    f"the record at {source.topic} partition {source.partition} offset {record.offset} has "
                    f"{size} bytes, more than kafka.max_record_bytes allows ({limit}): raise it, and "
                    "max.message.bytes of the state and dead-letter topics with it (`streamproc topics check`)"
                )
                raise ConfigError(message)
