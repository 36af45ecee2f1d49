"""The entries that a batch of records is turned into: rows for the tables, and the offsets read."""

from enum import IntEnum
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.msgpack import Decoder, Encoder

from streamproc.core.model import Run
from streamproc.runtime.ports import TopicPartition

encode = Encoder().encode
Sums = dict[str, int]
"""Counts by name, nested names joined by a dot. They can be added and subtracted."""


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
    """The verdict on an arrival, as the table `steps` stores it."""

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
    """An alert, as the tables `steps` and `alerts` store it."""

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
    """A row of `steps`: the place of its record, and the content."""

    kind: StepKind
    partition: int
    offset: int
    run_id: str | None
    at: int
    recorded: int
    content: Arrived | Alerted


class LetterContent(Struct, array_like=True):
    """The content of a dead letter that the table `letters` stores: of the rejected record only its key."""

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
    content: LetterContent


class ReceiptRow(NamedTuple):
    """A letter was sent back at `at` (milliseconds); None: the letter no longer exists."""

    partition: int
    offset: int
    at: int | None


class WindowRow(NamedTuple):
    """A revision of a window of one assistant and model; an empty text stands for null."""

    size: int
    assistant: str
    model: str
    start: int
    revision: int
    sums: Sums


class InstanceRow(NamedTuple):
    """An instance's report; `packed` None: the instance was stopped."""

    instance_id: str
    packed: bytes | None


class Checkpoint(NamedTuple):
    """How far a partition was read: the next offset, and the offset and a check sum of the last record."""

    next: int
    last: int | None = None
    print: int | None = None


class Writes(Struct):
    """The entries written in one transaction. It has only the last entry of each run and window."""

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
unpack_letter = Decoder(LetterContent).decode
unpack_sums = Decoder(Sums).decode
