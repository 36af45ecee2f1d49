"""What a batch of records comes to: rows for the tables, and how far the topics were read."""

from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.msgpack import Decoder, Encoder

from streamproc.core.model import Run
from streamproc.runtime.ports import TopicPartition

encode = Encoder().encode
Sums = dict[str, int]
"""Counts by name, nested names joined by a dot: they can be added and taken away."""


class StepKind(IntEnum):
    """Where a step of a run's history comes from."""

    TRANSITION = 0
    VERDICT = 1
    ALERT = 2


class RunChange(NamedTuple):
    """A record of run-state; `run` None: forgotten. `metadata`: the values of the keys that are indexed."""

    run_id: str
    partition: int
    offset: int
    run: Run | None
    metadata: tuple[str | None, ...]


class Arrived(Struct, array_like=True):
    """What became of an arrival, as steps keep it."""

    verdict: str
    from_status: str | None
    to_status: str
    in_from_ms: int | None
    expected: bool | None
    outcome: str | None
    error_code: str | None
    reason: str | None
    attempt: int
    assistant_id: str | None
    model: str | None
    source_topic: str
    source_partition: int
    source_offset: int


class Alerted(Struct, array_like=True):
    """An alert, as steps and alerts keep it."""

    alert_id: str
    kind: str
    severity: str
    state: str
    run_id: str | None
    thread_id: str | None
    assistant_id: str | None
    model: str | None
    status: str | None
    since: int
    deadline_at: int | None
    ends_at: int | None
    decided_at: int
    summary: str
    source_topic: str | None
    source_partition: int | None
    source_offset: int | None


class StepRow(NamedTuple):
    """A row of steps: its own place, and what it says."""

    kind: StepKind
    partition: int
    offset: int
    run_id: str | None
    at: int
    recorded: int
    said: Arrived | Alerted


class LetterSaid(Struct, array_like=True):
    """What letters keep of a dead letter: nothing of what the record holds but its key."""

    message: str
    key: str | None
    source_offset: int
    source_timestamp: int
    bytes: int
    attempt: int


class LetterRow(NamedTuple):
    """A row of letters."""

    partition: int
    offset: int
    written: int
    reason: str
    schema: str
    topic: str
    source: int
    said: LetterSaid


class ReceiptRow(NamedTuple):
    """A letter was sent back at `at`; None: the letter is gone."""

    partition: int
    offset: int
    at: int | None


class WindowRow(NamedTuple):
    """A revision of a window of one assistant and model; empty texts stand for none."""

    size: int
    assistant: str
    model: str
    start: int
    revision: int
    sums: Sums


class InstanceRow(NamedTuple):
    """What an instance reports; `packed` None: it is gone."""

    instance_id: str
    packed: bytes | None


class Checkpoint(NamedTuple):
    """How far a partition was read: the next offset, and the offset and a check sum of the last record."""

    next: int
    last: int | None = None
    print: int | None = None


class Writes(Struct):
    """All that is written in one transaction. Of runs and windows only the last of each is in it."""

    runs: dict[tuple[str, int], RunChange] = field(default_factory=dict)
    steps: list[StepRow] = field(default_factory=list)
    letters: list[LetterRow] = field(default_factory=list)
    receipts: list[ReceiptRow] = field(default_factory=list)
    windows: dict[tuple[int, str, str, int], WindowRow] = field(default_factory=dict)
    instances: dict[str, InstanceRow] = field(default_factory=dict)
    marks: dict[TopicPartition, Checkpoint] = field(default_factory=dict)


unpack_run = Decoder(Run).decode
unpack_arrived = Decoder(Arrived).decode
unpack_alerted = Decoder(Alerted).decode
unpack_letter = Decoder(LetterSaid).decode
unpack_sums = Decoder(Sums).decode
