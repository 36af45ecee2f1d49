"""Framed values to RunEvents, a whole batch of several partitions at a time: native first, else record by record.

Both decoders accept and refuse the same records, and read the same values from them: a property test proves it.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from streamproc.codec.arrival import Arrival, Framed, Rejection
from streamproc.codec.book import SchemaBook, SchemaMissing
from streamproc.codec.framing import JSON, header_of
from streamproc.codec.jsonobject import JsonFormat
from streamproc.codec.reference import decode_one, refusal
from streamproc.codec.schemas import WriterSchema
from streamproc.core.model import RunEvent
from streamproc.errors import RecordRejected

MAX_MISSING = 64
"""How many headers one batch asks a registry for at a time."""

Format = WriterSchema | JsonFormat
Groups = dict[bytes, tuple[Format, list[Framed]]]


class Decoded(NamedTuple):
    """The decoded records of a partition: each is either an event or a rejection. Both lists are in offset order.

    `taken`: how many records were decoded, from the first on. `missing`: framing headers whose schemas must be asked
    of a registry; the first is that of the record at which decoding stopped, the others are those of later records.
    """

    events: list[RunEvent]
    rejections: list[Rejection]
    taken: int
    missing: tuple[bytes, ...] = ()

    def before(self, offset: int) -> "Decoded":
        """Return the events and rejections before an offset, as if the batch had ended there."""
        events = [event for event in self.events if event.offset < offset]
        rejections = [rejection for rejection in self.rejections if rejection.record.offset < offset]
        return Decoded(events, rejections, len(events) + len(rejections))


def decode(records: Sequence[Arrival], book: SchemaBook) -> Decoded:
    """Decode the records of one partition, as `decode_together` does."""
    return decode_together({0: records}, book)[0]


def decode_together(brought: Mapping[int, Sequence[Arrival]], book: SchemaBook) -> dict[int, Decoded]:
    """Decode the records of several partitions together, by partition.

    Raises nothing for bad input: a record that cannot be used is in `rejections`.
    """
    rejections: list[Rejection] = []
    groups: Groups = {}
    taken = {
        partition: _by_schema(partition, records, book, groups, rejections) for partition, records in brought.items()
    }
    events: dict[int, list[RunEvent]] = {partition: [] for partition in brought}
    for schema, group in groups.values():
        for event in _decode_group(group, schema, rejections):
            events[event.partition].append(event)
    refused: dict[int, list[Rejection]] = {partition: [] for partition in brought}
    for rejection in rejections:
        refused[rejection.partition].append(rejection)
    return {
        partition: Decoded(
            sorted(events[partition], key=attrgetter("offset")),
            sorted(refused[partition], key=lambda rejection: rejection.record.offset),
            taken[partition],
            _missing(records[taken[partition] :], book),
        )
        for partition, records in brought.items()
    }


def _by_schema(
    partition: int, records: Sequence[Arrival], book: SchemaBook, groups: Groups, rejections: list[Rejection]
) -> int:
    """Group records by schema and reject those without one; return how many precede the first with a missing schema."""
    header, size = b"", 0
    group: list[Framed] | None = None
    for number, record in enumerate(records):
        value = record.value
        if group is None or value is None or not value.startswith(header):  # Most are framed like the record before.
            try:
                header = header_of(value)
                if header not in groups:
                    groups[header] = book.find(header), []
            except SchemaMissing:
                return number
            except RecordRejected as error:
                rejections.append(Rejection(record, error.reason, str(error), partition))
                group = None
                continue
            group = groups[header][1]
            size = 0 if header == JSON else len(header)
        group.append(Framed(record, value[size:], partition))  # type: ignore[index] # header_of refuses None
    return len(records)


def _missing(records: Sequence[Arrival], book: SchemaBook) -> tuple[bytes, ...]:
    """Return the headers whose schemas a registry has to be asked for, in the order of the records that need them."""
    missing: dict[bytes, None] = {}
    for record in records:
        header = _missing_header(record, book)
        if header is not None:
            missing[header] = None
            if len(missing) == MAX_MISSING:
                break
    return tuple(missing)


def _missing_header(record: Arrival, book: SchemaBook) -> bytes | None:
    try:
        header = header_of(record.value)
    except RecordRejected:
        return None
    try:
        book.find(header)
    except SchemaMissing:
        return header
    except RecordRejected:
        pass
    return None


def _decode_group(group: list[Framed], schema: Format, rejections: list[Rejection]) -> list[RunEvent]:
    if isinstance(schema, JsonFormat) or schema.native is None:
        return _read_each(group, schema, rejections)
    batch = schema.native.decode(group)
    for row, fault in batch.faults:
        rejections.append(_rejection(group[row], refusal(fault, schema.where)))
    return batch.events + _read_each([group[row] for row in batch.doubtful], schema, rejections)


def _read_each(group: Sequence[Framed], schema: Format, rejections: list[Rejection]) -> list[RunEvent]:
    return [event for framed in group if (event := _read(framed, schema, rejections)) is not None]


def _read(framed: Framed, schema: Format, rejections: list[Rejection]) -> RunEvent | None:
    try:
        return schema.read(framed) if isinstance(schema, JsonFormat) else decode_one(framed, schema)
    except RecordRejected as error:
        rejections.append(_rejection(framed, error))
        return None


def _rejection(framed: Framed, error: RecordRejected) -> Rejection:
    return Rejection(framed.record, error.reason, str(error), framed.partition)
