"""run-state records back to Runs: what a restart restores from. Needs no registry (rules.md 23).

A new version of RunState adds a name to `VERSIONS`, and what it adds has a default in `Run`; old ones stay for as long
as such records may be out there.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import repeat
from sys import intern
from typing import Any

import pyarrow as pa
import pyruhvro

from streamproc.codec.arrival import Arrival
from streamproc.codec.framing import header_of
from streamproc.codec.rows import EVENT, OFFSET, ORIGIN, without_event
from streamproc.codec.schemas import Schema, version_of, written_with
from streamproc.core.model import Run
from streamproc.errors import ConfigError, RecordRejected

VERSIONS = ("run_state", "run_state_v1")
"""The one that is written first."""
OTHER_RELEASE = "Start a release of streamproc that wrote or can read it"
REPLAY = "Build the state anew: another application id and topics, and the input from the beginning"
WITHOUT_DEFAULT = len(Run.__struct_fields__) - len(Run.__struct_defaults__)
DEFAULTS = dict(zip(Run.__struct_fields__[WITHOUT_DEFAULT:], Run.__struct_defaults__, strict=True))
"""Of what an older version lacks."""
LISTS = frozenset(("required_tools", "alerts"))
SHARED = frozenset(("assistant_id", "model", "status", "error_code", "event_schema"))


def decode_runs(records: Sequence[Arrival]) -> list[tuple[str, Run | None]]:
    """Return each record's run id and Run, None for a tombstone, in the order given.

    Raises ConfigError for a record that is damaged, or of a version that this release does not know: none is skipped.
    """
    decoded: dict[int, Run] = {}
    by_schema: dict[str, list[Arrival]] = {}
    for record in records:
        if record.value:
            by_schema.setdefault(_schema_of(record), []).append(record)
    for name, group in by_schema.items():
        runs = _decode_group(group, _version(name, group[0]))
        decoded.update(zip((record.offset for record in group), runs, strict=True))
    return [_keyed(record, decoded) for record in records]


def _keyed(record: Arrival, decoded: dict[int, Run]) -> tuple[str, Run | None]:
    run = decoded.get(record.offset)
    return ((record.key or b"").decode(errors="replace") if run is None else run.run_id), run


def _schema_of(record: Arrival) -> str:
    try:
        return written_with(record)
    except RecordRejected as error:
        raise unreadable(record, str(error)) from error


def _version(name: str, record: Arrival) -> Schema:
    schema = version_of(name, VERSIONS)
    if schema is None:
        raise unreadable(record, f"schema {name} is no version of RunState that this release reads")
    return schema


def unreadable(record: Arrival, why: str, remedy: str = OTHER_RELEASE) -> ConfigError:
    """Return the error for a state record that must not be skipped."""
    return ConfigError(
        f"the state record at offset {record.offset} cannot be read: {why}. {remedy}; a state is never restored in part"
    )


def _decode_group(records: Sequence[Arrival], schema: Schema) -> list[Run]:
    try:
        return _decode_columns(records, schema)
    except (ValueError, IndexError, pa.ArrowException, RecordRejected) as error:
        if len(records) == 1:
            raise unreadable(records[0], f"it is damaged ({type(error).__name__})", REPLAY) from error
    # One of them is: name it.
    return [run for record in records for run in _decode_group([record], schema)]


def _decode_columns(records: Sequence[Arrival], schema: Schema) -> list[Run]:
    events, rests = [], []
    for record in records:
        value = record.value or b""
        start, end = _event_span(value)
        events.append(value[start:end])
        rests.append(value[end:])
    batch = pyruhvro.deserialize_array(rests, _rest_of(schema))
    return list(map(Run, *(events if name == EVENT else _column(name, batch) for name in Run.__struct_fields__)))


def _column(field: str, batch: Any) -> Iterable[Any]:
    """Return the values of a field of Run; its default where the version of the records lacks it."""
    name = ORIGIN[-1] if field == OFFSET else field
    return _values(name, batch) if name in batch.schema.names else repeat(DEFAULTS[field])


def _event_span(value: bytes) -> tuple[int, int]:
    """Return where the event's bytes start and end: they are the first field, behind their length as an Avro long."""
    at = len(header_of(value))
    length = shift = 0
    while True:
        byte = value[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004  the last byte of an Avro long
            return at, at + (length >> 1)


@cache
def _rest_of(schema: Schema) -> str:
    return json.dumps(without_event(schema.document))


def _values(name: str, batch: Any) -> list[Any]:
    column = batch.column(name)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    values: list[Any] = column.to_pylist()
    if name in SHARED:
        return [None if value is None else intern(value) for value in values]
    if name == "usage":
        return [None if value is None else tuple(value.values()) for value in values]
    if name in LISTS:
        return [tuple(map(intern, value)) for value in values]
    return values
