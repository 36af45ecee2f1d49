"""Framed values to RunEvents, a whole batch of several partitions at a time: columnar first, else record by record.

Both decoders take and refuse the same records, and read the same from them: a property test holds it.
"""

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from streamproc.codec.arrival import Arrival, Framed, Rejection
from streamproc.codec.book import SchemaBook, SchemaMissing
from streamproc.codec.columnar import BadRecords, Panicked, decode_columns
from streamproc.codec.framing import JSON, header_of
from streamproc.codec.jsonobject import JsonFormat
from streamproc.codec.reference import decode_one, skim
from streamproc.codec.schemas import WriterSchema
from streamproc.core.model import RunEvent
from streamproc.errors import RecordRejected

MAX_MISSING = 64
"""Headers that one batch asks a registry for at a time."""
BATCH_CELLS, RECORD_CELLS = 16_000_000, 100_000
"""Room for values that a batch of columns may take at the very most, some 10 bytes each; wider records go alone."""

Format = WriterSchema | JsonFormat
Groups = dict[bytes, tuple[Format, list[Framed]]]


class Decoded(NamedTuple):
    """What a partition's records turned out to be. Each one taken is in exactly one of the two, both in offset order.

    `taken`: how many were decoded, from the first on. The next one needs the first of the schemas `missing`, headers
    that a registry has to be asked for; the others are needed by records behind it.
    """

    events: list[RunEvent]
    rejections: list[Rejection]
    taken: int
    missing: tuple[bytes, ...] = ()

    def before(self, offset: int) -> "Decoded":
        """Return what lies before a record, as if the batch had ended there."""
        events = [event for event in self.events if event.offset < offset]
        rejections = [rejection for rejection in self.rejections if rejection.record.offset < offset]
        return Decoded(events, rejections, len(events) + len(rejections))


def decode(records: Sequence[Arrival], book: SchemaBook) -> Decoded:
    """Decode records of one partition; as `decode_together`."""
    return decode_together({0: records}, book)[0]


def decode_together(brought: Mapping[int, Sequence[Arrival]], book: SchemaBook) -> dict[int, Decoded]:
    """Decode records by partition, in one go for all: a batch of columns costs 150 µs, whatever is in it.

    Raises nothing for bad input: what cannot be used is in `rejections`.
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
    """Sort records by schema, and reject those without; return how many come before one whose schema is missing."""
    header, size = b"", 0
    group: list[Framed] | None = None
    for number, record in enumerate(records):
        value = record.value
        if group is None or value is None or not value.startswith(header):  # As a rule it is framed like the last one.
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


def _skimmed(framed: Framed, schema: WriterSchema, rejections: list[Rejection]) -> int:
    """Look over a payload without making objects of what is in it; return its cells, -1 where it is refused."""
    try:
        return skim(framed, schema)
    except RecordRejected as error:
        rejections.append(Rejection(framed.record, error.reason, str(error), framed.partition))
        return -1


def _fits(framed: Framed, schema: WriterSchema, rejections: list[Rejection]) -> bool:
    return _skimmed(framed, schema, rejections) >= 0


def _missing(records: Sequence[Arrival], book: SchemaBook) -> tuple[bytes, ...]:
    """Return the headers that a registry has to be asked for, in the order in which they are needed."""
    missing: dict[bytes, None] = {}
    for record in records:
        header = _asked_for(record, book)
        if header is not None:
            missing[header] = None
            if len(missing) == MAX_MISSING:
                break
    return tuple(missing)


def _asked_for(record: Arrival, book: SchemaBook) -> bytes | None:
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
    if not isinstance(schema, WriterSchema) or schema.fast is None:
        return _read_each(group, schema, rejections)
    wide: list[Framed] = []
    events: list[RunEvent] = []
    for part in _parts(group, schema, wide, rejections):
        events += _decode_columns(part, schema, schema.fast, rejections)
    return events + _read_each(wide, schema, rejections)


def _parts(
    group: Sequence[Framed], schema: WriterSchema, wide: list[Framed], rejections: list[Rejection]
) -> Iterator[list[Framed]]:
    """Yield what may be made columns of, so much at a time; put what takes too much room there into `wide`.

    Rejects what is no record of the schema, as far as it had to be looked at.
    """
    part: list[Framed] = []
    total = 0
    for framed in group:
        size = len(framed.payload)
        cells = schema.cells(size)
        if size >= schema.skim_from or cells > RECORD_CELLS:
            cells = _skimmed(framed, schema, rejections)
            if cells > RECORD_CELLS:
                wide.append(framed)
            if not 0 <= cells <= RECORD_CELLS:
                continue
        if total + cells > BATCH_CELLS:
            yield part
            part, total = [], 0
        part.append(framed)
        total += cells
    if part:
        yield part


def _decode_columns(
    group: list[Framed], schema: WriterSchema, fast: str, rejections: list[Rejection]
) -> list[RunEvent]:
    try:
        events, refused = _decode_fast(group, schema, fast)
    except Panicked:
        return _read_each(group, schema, rejections)
    rejections += refused
    return events


def _read_each(group: Sequence[Framed], schema: Format, rejections: list[Rejection]) -> list[RunEvent]:
    return [event for framed in group if (event := _read(framed, schema, rejections)) is not None]


def _decode_fast(group: list[Framed], schema: WriterSchema, fast: str) -> tuple[list[RunEvent], list[Rejection]]:
    """Decode records of one schema; the reference decoder has the last word on each that is odd. Raises Panicked."""
    rejections: list[Rejection] = []
    while group:
        try:
            return decode_columns(group, schema, fast), rejections
        except BadRecords as error:
            if error.events is not None:
                others = _read_each([group[row] for row in error.suspects], schema, rejections)
                return error.events + others, rejections
            bad = {row for row in error.suspects if not _fits(group[row], schema, rejections)}
        if not bad:
            raise Panicked("the batch is refused, but none of its records")
        group = [framed for row, framed in enumerate(group) if row not in bad]
    return [], rejections


def _read(framed: Framed, schema: Format, rejections: list[Rejection]) -> RunEvent | None:
    try:
        return schema.read(framed) if isinstance(schema, JsonFormat) else decode_one(framed, schema)
    except RecordRejected as error:
        rejections.append(Rejection(framed.record, error.reason, str(error), framed.partition))
        return None
