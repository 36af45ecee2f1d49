"""Framed values to RunEvents, a whole batch at a time: columnar first, record by record where that fails.

A record is good only if no decoder that takes its schema refuses it: fastavro alone would let negative union indices
and over-long integers through.
"""

from collections.abc import Sequence
from typing import NamedTuple

from streamproc.codec.arrival import Arrival, Framed
from streamproc.codec.columnar import BadRecords, Panicked, decode_columns, refused
from streamproc.codec.framing import header_of
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import SchemaBook, WriterSchema
from streamproc.core.model import RunEvent
from streamproc.errors import RecordRejected


class Rejection(NamedTuple):
    """A record that cannot be used: a reason from a closed set, and a message that does not show the payload."""

    record: Arrival
    reason: str
    message: str


class Decoded(NamedTuple):
    """What a batch of records turned out to be. Each record is in exactly one of the two, both in offset order."""

    events: list[RunEvent]
    rejections: list[Rejection]


def decode(records: Sequence[Arrival], book: SchemaBook) -> Decoded:
    """Decode a batch of one partition. Raises nothing for bad input: what cannot be used is in `rejections`."""
    rejections: list[Rejection] = []
    groups = _by_schema(records, book, rejections)
    events: list[RunEvent] = []
    for schema, group in groups:
        events += _decode_group(group, schema, rejections)
    if len(groups) > 1:
        events.sort(key=lambda event: event.offset)
    rejections.sort(key=lambda rejection: rejection.record.offset)
    return Decoded(events, rejections)


def _by_schema(
    records: Sequence[Arrival], book: SchemaBook, rejections: list[Rejection]
) -> list[tuple[WriterSchema, list[Framed]]]:
    groups: dict[bytes, tuple[WriterSchema, list[Framed]]] = {}
    header, size, group = b"", 0, None
    for record in records:
        value = record.value
        if group is None or value is None or not value.startswith(header):  # As a rule it is framed like the last one.
            try:
                header = header_of(value)
                if header not in groups:
                    groups[header] = book.find(header), []
            except RecordRejected as error:
                rejections.append(Rejection(record, error.reason, str(error)))
                group = None
                continue
            size, group = len(header), groups[header][1]
        group.append(Framed(record, value[size:]))  # type: ignore[index] # header_of refuses None
    return list(groups.values())


def _decode_group(group: list[Framed], schema: WriterSchema, rejections: list[Rejection]) -> list[RunEvent]:
    if schema.fast is not None:
        try:
            decoded = _decode_fast(group, schema, schema.fast)
        except Panicked:
            pass
        else:
            rejections += decoded.rejections
            return decoded.events
    return [event for framed in group if (event := _decode_slowly(framed, schema, rejections)) is not None]


def _decode_fast(group: list[Framed], schema: WriterSchema, fast: str) -> Decoded:
    """Decode records of one schema; the reference decoder says why the fast one refuses a record. Raises Panicked."""
    rejections: list[Rejection] = []
    while group:
        try:
            return Decoded(decode_columns(group, fast, schema.label), rejections)
        except BadRecords as error:
            bad = _bad_rows(group, error.suspects, schema, fast, rejections)
            if error.events is not None and len(bad) == len(error.suspects):
                return Decoded(error.events, rejections)
        if not bad:
            raise Panicked("the batch is refused, but none of its records")
        group = [framed for row, framed in enumerate(group) if row not in bad]
    return Decoded([], rejections)


def _bad_rows(
    group: list[Framed], suspects: Sequence[int], schema: WriterSchema, fast: str, rejections: list[Rejection]
) -> set[int]:
    """Reject those of the suspects that one of the decoders refuses, and return their rows."""
    accepted = [row for row in suspects if _decode_slowly(group[row], schema, rejections) is not None]
    bad = set(suspects).difference(accepted)
    for index in refused([group[row] for row in accepted], fast):
        bad.add(accepted[index])
        message = f"not a valid Avro encoding of {schema.label}"
        rejections.append(Rejection(group[accepted[index]].record, "undecodable", message))
    return bad


def _decode_slowly(framed: Framed, schema: WriterSchema, rejections: list[Rejection]) -> RunEvent | None:
    try:
        return decode_one(framed, schema)
    except RecordRejected as error:
        rejections.append(Rejection(framed.record, error.reason, str(error)))
        return None
