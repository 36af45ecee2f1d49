"""The core's structs as framed Avro records, and as messages about a partition's events.

The native codec is used where it is installed; else fastavro, record by record. Both give the same bytes.
"""

from collections.abc import Collection, Mapping, Sequence
from io import BytesIO
from sys import intern
from typing import Any, NamedTuple

import fastavro
from msgspec import Struct
from msgspec.structs import astuple

from streamproc.codec.avro import kind
from streamproc.codec.cloudevents import CloudEvents
from streamproc.codec.message import Message, Messages
from streamproc.codec.schemas import Schema
from streamproc.codec.skim import Skimmer
from streamproc.native import module

OFFSET = "offset"
ORIGIN = ("source_topic", "source_partition", "source_offset")
"""The fields of a record in place of its struct's OFFSET. The first two are the same for all records of one call."""
AS_OFFSET: Mapping[int, bytes] = {}


class Origin(NamedTuple):
    """The topic and partition of the events that records are about."""

    topic: str
    partition: int


class SchemaField(NamedTuple):
    """A field of a schema; `at`: the index of its value in a struct's values followed by those of an Origin."""

    name: str
    kind: "ValueKind"
    at: int


class ValueKind(NamedTuple):
    """The kind of a value: an Avro type, or `optional` where it may be null; `inside`: the kinds of its parts."""

    name: str
    inside: Sequence["ValueKind"] = ()
    fields: Sequence[str] = ()


class RecordEncoder:
    """Encodes structs as framed records of one schema; fields are matched by name.

    Raises ValueError where the struct lacks a field of the schema.
    """

    def __init__(self, schema: Schema, of: type[Struct]) -> None:
        self._schema = schema
        self.fields = fields_of(schema, of)
        self.native = module and module.RowEncoder(schema.header, [(field.kind, field.at) for field in self.fields])

    def encode(self, structs: Sequence[Struct]) -> list[bytes]:
        """Return the framed record of each struct."""
        rows = list(map(astuple, structs))
        if self.native is None:
            return list(map(self.frame, rows))
        return self.native.encode(rows, ())  # type: ignore[no-any-return]

    def frame(self, row: Sequence[Any]) -> bytes:
        """Encode one struct's values, followed by those of an Origin, with the reference codec."""
        return self._schema.frame({field.name: _for_fastavro(row[field.at], field.kind) for field in self.fields})


class RecordDecoder:
    """Decodes framed records of one schema to columns; `shared`: fields whose equal texts become one object."""

    def __init__(self, schema: Schema, shared: Collection[str]) -> None:
        self._schema = schema
        self._kinds = {field["name"]: _kind(field["type"]) for field in schema.document["fields"]}
        self._shared = shared
        self._skimmer = Skimmer(*schema.tree)
        self._native = module and module.RowDecoder(kinds_of(schema, shared))

    def decode(self, values: Sequence[bytes], header_bytes: int) -> dict[str, Sequence[Any]]:
        """Return the values of each field; a damaged record may raise any exception."""
        if self._native:
            return dict(zip(self._kinds, self._native.decode(values, header_bytes), strict=True))
        rows = [self._read(value, header_bytes) for value in values]
        return {name: [row[name] for row in rows] for name in self._kinds}

    def _read(self, value: bytes, header_bytes: int) -> dict[str, Any]:
        payload = value[header_bytes:]
        self._skimmer.check(payload)  # First: fastavro alone accepts bytes that no encoder writes.
        fields: Any = fastavro.schemaless_reader(BytesIO(payload), self._schema.parsed, None)
        return {name: _as_ours(fields[name], kind, name in self._shared) for name, kind in self._kinds.items()}


class EventEncoder:
    """Encodes structs, each about an event of a partition, as messages; see `RecordEncoder`.

    `timed`: the field with the message's time, in milliseconds.
    """

    def __init__(self, schema: Schema, of: type[Struct], events: CloudEvents, timed: str) -> None:
        names = of.__struct_fields__
        self._records = RecordEncoder(schema, of)
        self._events = events
        self._places = [names.index(name) for name in ("run_id", timed, _offset_of(of))]
        self._native = module and module.EventEncoder(self._records.native, self._places, events.fixed)

    def encode(
        self, structs: Sequence[Struct], origin: Origin, wall_ms: int, ids: Mapping[int, bytes] = AS_OFFSET
    ) -> Messages:
        """Return a message for each struct. No timestamp is ahead of `wall_ms`: a broker would refuse it.

        The event's place in the input is the message's id; `ids`: other ids, by the index of the struct.
        """
        rows, place = list(map(astuple, structs)), place_of(origin)
        if self._native:
            return self._native.encode(rows, origin, place, ids, wall_ms)  # type: ignore[no-any-return]
        return [self._message((*row, *origin), wall_ms, place, ids.get(number)) for number, row in enumerate(rows)]

    def _message(self, row: Sequence[Any], wall_ms: int, place: bytes, event_id: bytes | None) -> Message:
        key, time_ms, offset = (row[at] for at in self._places)
        headers = self._events.headers(event_id or b"%b:%d" % (place, offset), time_ms)
        return key.encode(), self._records.frame(row), min(time_ms, wall_ms), headers


def place_of(origin: Origin) -> bytes:
    """Return a partition as it is written in ids: `topic:partition`."""
    return f"{origin.topic}:{origin.partition}".encode()


def fields_of(schema: Schema, of: type[Struct]) -> list[SchemaField]:
    """Return the fields of a schema; raises ValueError where the struct lacks one."""
    own = [ORIGIN[-1] if name == _offset_of(of) else name for name in of.__struct_fields__]
    names = [*own, *(name for name in ORIGIN[:-1] if name not in own)]
    at = {name: number for number, name in enumerate(names)}
    fields = schema.document["fields"]
    if lacking := [field["name"] for field in fields if field["name"] not in at]:
        raise ValueError(f"{of.__name__} has no {', '.join(lacking)}, which its schema has")
    return [SchemaField(field["name"], _kind(field["type"]), at[field["name"]]) for field in fields]


def kinds_of(schema: Schema, shared: Collection[str]) -> list[tuple[ValueKind, bool]]:
    """Return each field's kind, and whether its equal texts become one object, as the native decoders expect them."""
    return [(_kind(field["type"]), field["name"] in shared) for field in schema.document["fields"]]


def _offset_of(of: type[Struct]) -> str:
    return OFFSET if OFFSET in of.__struct_fields__ else ORIGIN[-1]


def _kind(of: Any) -> ValueKind:
    if isinstance(of, list):
        [value] = [_kind(branch) for branch in of if branch != "null"]
        return ValueKind("optional", [value])
    match kind(of):
        case "array":
            return ValueKind("array", [_kind(of["items"])])
        case "record":
            fields = of["fields"]
            return ValueKind("record", [_kind(field["type"]) for field in fields], [field["name"] for field in fields])
        case leaf:
            return ValueKind(leaf)


def _for_fastavro(value: Any, of: ValueKind) -> Any:
    """Return a value as fastavro expects it: a record is a dict, not a tuple."""
    if of.name == "optional" and value is not None:
        return _for_fastavro(value, of.inside[0])
    return dict(zip(of.fields, value, strict=True)) if of.name == "record" else value


def _as_ours(value: Any, of: ValueKind, is_shared: bool) -> Any:  # noqa: FBT001  it stands in one place
    """Convert a value that fastavro read to the form that a struct holds."""
    if value is None:
        return None
    match of.name:
        case "optional":
            return _as_ours(value, of.inside[0], is_shared)
        case "record":
            return tuple(
                _as_ours(value[name], inner, is_shared) for name, inner in zip(of.fields, of.inside, strict=True)
            )
        case "array":
            return tuple(_as_ours(item, of.inside[0], is_shared) for item in value)
        case "string" if is_shared:
            return intern(value)
    return value
