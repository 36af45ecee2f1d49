"""Framed values to RunEvents, a whole batch at a time: columnar first, record by record where that fails.

A record is good only if no decoder that takes its schema refuses it: fastavro alone would let negative union indices
and over-long integers through.
"""

from collections.abc import Sequence
from typing import NamedTuple

from streamproc.codec.arrival import Arrival, Framed
from streamproc.codec.columnar import BatchFailed, decode_columns
from streamproc.codec.framing import header_of
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import SchemaBook, WriterSchema
from streamproc.core.model import RunEvent
from streamproc.errors import RecordRejected

MAX_SEARCHED = 8
"""A batch that fails is halved down to this many records, which are then decoded one by one."""


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
    for record in records:
        try:
            header = header_of(record.value)
            if header not in groups:
                groups[header] = book.find(header), []
        except RecordRejected as error:
            rejections.append(Rejection(record, error.reason, str(error)))
        else:
            groups[header][1].append(Framed(record, record.value[len(header) :]))  # type: ignore[index]
    return list(groups.values())


def _decode_group(group: list[Framed], schema: WriterSchema, rejections: list[Rejection]) -> list[RunEvent]:
    if schema.fast is not None:
        try:
            return decode_columns(group, schema.fast, schema.label)
        except BatchFailed:
            half = len(group) // 2
        if half >= MAX_SEARCHED:
            return _decode_group(group[:half], schema, rejections) + _decode_group(group[half:], schema, rejections)
    events = []
    for framed in group:
        try:
            events.append(_decode_both(framed, schema))
        except RecordRejected as error:
            rejections.append(Rejection(framed.record, error.reason, str(error)))
    return events


def _decode_both(framed: Framed, schema: WriterSchema) -> RunEvent:
    event = decode_one(framed, schema)
    if schema.fast is not None:
        try:
            decode_columns([framed], schema.fast, schema.label)
        except BatchFailed as error:
            raise RecordRejected("undecodable", f"not a valid Avro encoding of {schema.label}") from error
    return event
