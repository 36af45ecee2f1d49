"""Turns records of the output topics into entries of the read model: one function for each topic."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zlib import crc32

from streamproc.codec import runstate
from streamproc.codec.arrival import Arrival
from streamproc.codec.schemas import unframe
from streamproc.console.model.entries import (
    Alerted,
    Arrived,
    Checkpoint,
    InstanceRow,
    LetterContent,
    LetterRow,
    ReceiptRow,
    RunChange,
    StepKind,
    StepRow,
    Sums,
    WindowRow,
    Writes,
    encode,
)
from streamproc.core.model import MIN_TIME_MS, Run
from streamproc.dlq.letter import Foreign, Letter
from streamproc.dlq.letter import of as letter_of
from streamproc.dlq.receipts import receipt_in
from streamproc.errors import ConfigError, RecordRejected
from streamproc.records.kinds import KINDS
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.topics import receipts_topic

Metadata = Callable[[Run], tuple[str | None, ...]]
"""Returns the indexed metadata of a run's event; raises Unlearned where a registry has to be asked first."""
Records = Sequence[Arrival]

UNREADABLE = (RecordRejected, ConfigError, ValueError, TypeError, AttributeError, LookupError, EOFError)
"""The errors of the decoders for damaged bytes and for records of other writers."""
APPLIED = "applied"


class Intake:
    """Makes batches. `topics`: names with their prefix. `unreadable` counts records that cannot be read, by topic."""

    def __init__(self, topics: TopicSettings, metadata: Metadata = lambda _: ()) -> None:
        names = topics.by_role()
        self._metadata = metadata
        self._takers: dict[str, Callable[[Writes, int, Records], None]] = {}
        for role, take in (
            ("state", self._states),
            ("transitions", self._transitions),
            ("verdicts", self._verdicts),
            ("alerts", self._alerts),
            ("metrics", self._metrics),
            ("dead_letters", self._letters),
            ("instances", self._instances),
        ):
            if role in names:
                self._takers[names[role]] = take
        self.state_topic, self.receipts_topic = topics.state, receipts_topic(topics.dead_letters)
        self._takers[self.receipts_topic] = self._receipts
        self.unreadable: dict[str, int] = {}

    @property
    def topics(self) -> Sequence[str]:
        """All topics that are read, the most important first."""
        return list(self._takers)

    def batch(self, fetched: Mapping[TopicPartition, Records], ends: Mapping[TopicPartition, int]) -> Writes:
        """Return what to write for records; `ends`: the offset behind those of each partition. Raises Unlearned."""
        batch = Writes()
        for place, records in fetched.items():
            if records:
                self._take(batch, place, records)
                batch.marks[place] = Checkpoint(ends[place], records[-1].offset, print_of(records[-1]))
        return batch

    def _take(self, batch: Writes, place: TopicPartition, records: Records) -> None:
        take = self._takers[place.topic]
        try:
            take(batch, place.partition, records)
            return
        except UNREADABLE:
            pass
        # One of them is damaged, or not ours; the others are still written. Taking a record twice changes nothing.
        for record in records:
            try:
                take(batch, place.partition, [record])
            except UNREADABLE:
                self.unreadable[place.topic] = self.unreadable.get(place.topic, 0) + 1

    def _states(self, batch: Writes, partition: int, records: Records) -> None:
        # Only the last record of each key: decoding is most of the cost.
        latest = list({record.key: record for record in records}.values())
        for record, (run_id, run) in zip(latest, runstate.decode_runs(latest), strict=True):
            metadata: tuple[str | None, ...] = ()
            if run is not None:
                metadata = self._metadata(run)
                run.event = b""
            batch.runs[run_id, partition] = RunChange(run_id, partition, record.offset, run, metadata)

    def _transitions(self, batch: Writes, partition: int, records: Records) -> None:
        batch.steps.extend([_transition(partition, record) for record in records])

    def _verdicts(self, batch: Writes, partition: int, records: Records) -> None:
        batch.steps.extend([_verdict(partition, record) for record in records])

    def _alerts(self, batch: Writes, partition: int, records: Records) -> None:
        batch.steps.extend([_alert(partition, record) for record in records])

    def _metrics(self, batch: Writes, partition: int, records: Records) -> None:  # noqa: ARG002  windows lie anywhere
        for record in records:
            row = _window(record)
            batch.windows[row[:4]] = row

    def _letters(self, batch: Writes, partition: int, records: Records) -> None:
        batch.letters.extend([_letter(letter_of(record, partition)) for record in records])

    def _instances(self, batch: Writes, partition: int, records: Records) -> None:  # noqa: ARG002  one is enough
        for record in records:
            instance_id = (record.key or b"").decode()
            packed = None if record.value is None else encode(_read("instances", record))
            batch.instances[instance_id] = InstanceRow(instance_id, packed)

    def _receipts(self, batch: Writes, partition: int, records: Records) -> None:  # noqa: ARG002  it is in the key
        for record in records:
            number, offset, receipt = receipt_in(record)
            batch.receipts.append(ReceiptRow(number, offset, None if receipt is None else receipt.at_ms))


def print_of(record: Arrival) -> int:
    """Return a checksum that distinguishes a record from one at the same offset of a topic that was made anew."""
    return crc32(record.value or b"", crc32(record.key or b"", record.timestamp & 0xFFFFFFFF))


def _read(kind: str, record: Arrival) -> dict[str, Any]:
    kind_read = KINDS[kind]
    fields: dict[str, Any] = unframe(record, kind_read.versions, kind_read.record)
    return fields


def _transition(partition: int, record: Arrival) -> StepRow:
    fields = _read("transitions", record)
    arrived = Arrived(
        APPLIED,
        fields["from_status"],
        fields["to_status"],
        fields["in_from_ms"],
        fields["expected"],
        fields["outcome"],
        fields["error_code"],
        None,
        fields.get("attempt", 1),
        fields["assistant_id"],
        fields["model"],
        fields["source_topic"],
        fields["source_partition"],
        fields["source_offset"],
    )
    return StepRow(
        StepKind.TRANSITION,
        partition,
        record.offset,
        fields["run_id"],
        fields["occurred_at"],
        record.timestamp,
        arrived,
    )


def _verdict(partition: int, record: Arrival) -> StepRow:
    fields = _read("verdicts", record)
    arrived = Arrived(
        fields["verdict"],
        fields["status_before"],
        fields["status_said"],
        None,
        None,
        None,
        None,
        fields["reason"],
        fields["attempt"],
        None,
        None,
        fields["source_topic"],
        fields["source_partition"],
        fields["source_offset"],
    )
    return StepRow(
        StepKind.VERDICT, partition, record.offset, fields["run_id"], fields["occurred_at"], record.timestamp, arrived
    )


def _alert(partition: int, record: Arrival) -> StepRow:
    fields = _read("alerts", record)
    alerted = Alerted(*(fields[name] for name in Alerted.__struct_fields__))
    return StepRow(
        StepKind.ALERT, partition, record.offset, alerted.run_id, alerted.decided_at, record.timestamp, alerted
    )


def _letter(letter: Letter | Foreign) -> LetterRow:
    if not isinstance(letter, Letter):
        raise TypeError(letter.flaw)
    source = letter.source
    key = None if letter.key is None else letter.key.decode(errors="replace")
    packed = LetterContent(letter.message, key, source.offset, source.timestamp, letter.size, letter.attempt)
    return LetterRow(
        letter.partition,
        letter.offset,
        max(letter.written_ms, MIN_TIME_MS),
        letter.reason,
        letter.schema,
        source.topic,
        source.partition,
        packed,
    )


def _window(record: Arrival) -> WindowRow:
    fields = _read("metrics", record)
    start = fields["window_start"]
    return WindowRow(
        fields["window_end"] - start,
        fields["assistant_id"] or "",
        fields["model"] or "",
        start,
        fields["revision"],
        _sums(fields),
    )


def _sums(fields: Mapping[str, Any]) -> Sums:
    """Return the counts of a window that the console shows, as one flat mapping."""
    sums: Sums = {"created": fields["created"], "late": fields["late"]}
    for name in ("ended", "errors", "transitions", "tokens"):
        sums.update((f"{name}.{key}", count) for key, count in fields[name].items())
    for name in ("queue_wait", "run_duration", "action_wait"):
        sums[f"{name}.count"], sums[f"{name}.sum_ms"] = fields[name]["count"], fields[name]["sum_ms"]
    return {name: count for name, count in sums.items() if count}
