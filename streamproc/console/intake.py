"""Records of the output topics, as entries of the read model: one function for each topic that is read."""

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
    LetterRow,
    LetterSaid,
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
from streamproc.dlq.receipts import said_in
from streamproc.errors import ConfigError, RecordRejected
from streamproc.records.kinds import KINDS
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.topics import receipts_topic

Metadata = Callable[[Run], tuple[str | None, ...]]
"""Reads of a run's event what is indexed; raises Unlearned where a registry has to be asked first."""
Records = Sequence[Arrival]

UNREADABLE = (RecordRejected, ConfigError, ValueError, TypeError, AttributeError, LookupError, EOFError)
"""What damaged bytes, and records that somebody else wrote, make the decoders raise."""
APPLIED = "applied"


class Intake:
    """Makes batches. `topics` with their prefix; what cannot be read is counted by topic in `unreadable`."""

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
        """The topics that it knows, those first without which there is little to show."""
        return list(self._takers)

    def batch(self, fetched: Mapping[TopicPartition, Records], ends: Mapping[TopicPartition, int]) -> Writes:
        """Return what records come to; `ends`: the offset behind each partition's. Raises Unlearned."""
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
        # One of them is damaged, or somebody else's: the others count. Taking one twice changes nothing.
        for record in records:
            try:
                take(batch, place.partition, [record])
            except UNREADABLE:
                self.unreadable[place.topic] = self.unreadable.get(place.topic, 0) + 1

    def _states(self, batch: Writes, partition: int, records: Records) -> None:
        # Of each key the last one only: decoding is most of the cost.
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
            number, offset, found = said_in(record)
            batch.receipts.append(ReceiptRow(number, offset, None if found is None else found.at_ms))


def print_of(record: Arrival) -> int:
    """Return what tells a record from another one at the same offset of a topic that was made anew."""
    return crc32(record.value or b"", crc32(record.key or b"", record.timestamp & 0xFFFFFFFF))


def _read(kind: str, record: Arrival) -> dict[str, Any]:
    known = KINDS[kind]
    said: dict[str, Any] = unframe(record, known.versions, known.record)
    return said


def _transition(partition: int, record: Arrival) -> StepRow:
    said = _read("transitions", record)
    arrived = Arrived(
        APPLIED,
        said["from_status"],
        said["to_status"],
        said["in_from_ms"],
        said["expected"],
        said["outcome"],
        said["error_code"],
        None,
        said.get("attempt", 1),
        said["assistant_id"],
        said["model"],
        said["source_topic"],
        said["source_partition"],
        said["source_offset"],
    )
    return StepRow(
        StepKind.TRANSITION, partition, record.offset, said["run_id"], said["occurred_at"], record.timestamp, arrived
    )


def _verdict(partition: int, record: Arrival) -> StepRow:
    said = _read("verdicts", record)
    arrived = Arrived(
        said["verdict"],
        said["status_before"],
        said["status_said"],
        None,
        None,
        None,
        None,
        said["reason"],
        said["attempt"],
        None,
        None,
        said["source_topic"],
        said["source_partition"],
        said["source_offset"],
    )
    return StepRow(
        StepKind.VERDICT, partition, record.offset, said["run_id"], said["occurred_at"], record.timestamp, arrived
    )


def _alert(partition: int, record: Arrival) -> StepRow:
    said = _read("alerts", record)
    alerted = Alerted(*(said[name] for name in Alerted.__struct_fields__))
    return StepRow(
        StepKind.ALERT, partition, record.offset, alerted.run_id, alerted.decided_at, record.timestamp, alerted
    )


def _letter(found: Letter | Foreign) -> LetterRow:
    if not isinstance(found, Letter):
        raise TypeError(found.flaw)
    source = found.source
    key = None if found.key is None else found.key.decode(errors="replace")
    said = LetterSaid(found.message, key, source.offset, source.timestamp, found.size, found.attempt)
    return LetterRow(
        found.partition,
        found.offset,
        max(found.written_ms, MIN_TIME_MS),
        found.reason,
        found.schema,
        source.topic,
        source.partition,
        said,
    )


def _window(record: Arrival) -> WindowRow:
    said = _read("metrics", record)
    start = said["window_start"]
    return WindowRow(
        said["window_end"] - start,
        said["assistant_id"] or "",
        said["model"] or "",
        start,
        said["revision"],
        _sums(said),
    )


def _sums(said: Mapping[str, Any]) -> Sums:
    """Return the counts of a window, flat: what the console shows of it."""
    sums: Sums = {"created": said["created"], "late": said["late"]}
    for name in ("ended", "errors", "transitions", "tokens"):
        sums.update((f"{name}.{key}", count) for key, count in said[name].items())
    for name in ("queue_wait", "run_duration", "action_wait"):
        sums[f"{name}.count"], sums[f"{name}.sum_ms"] = said[name]["count"], said[name]["sum_ms"]
    return {name: count for name, count in sums.items() if count}
