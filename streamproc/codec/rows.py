"""Structs of ours as framed records of an Avro schema, and as messages about a partition's events.

Native where that is installed; else by fastavro, one by one, to the same bytes.
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
"""What a record has where its struct has OFFSET; the first two are the same for all that is encoded together."""
AS_OFFSET: Mapping[int, bytes] = {}


class Origin(NamedTuple):
    """Where the events come from that records are about."""

    topic: str
    partition: int


class SchemaField(NamedTuple):
    """A field of a schema; `at`: where its value is, among a struct's own and those of an Origin behind them."""

    name: str
    kind: "ValueKind"
    at: int


class ValueKind(NamedTuple):
    """What a value is: a kind of Avro's, `optional` where it may be null; `inside`: what is in it."""

    name: str
    inside: Sequence["ValueKind"] = ()
    fields: Sequence[str] = ()


class RecordEncoder:
    """Structs to framed records of one schema; a field has what the struct has under its name.

    Raises ValueError where the schema has a field that the struct has not.
    """

    def __init__(self, schema: Schema, of: type[Struct]) -> None:
        self._schema = schema
        self.fields = fields_of(schema, of)
        self.native = module and module.RowEncoder(schema.header, [(field.kind, field.at) for field in self.fields])

    def encode(self, structs: Sequence[Struct]) -> list[bytes]:
        """Return the record of each."""
        rows = list(map(astuple, structs))
        if self.native is None:
            return list(map(self.frame, rows))
        return self.native.encode(rows, ())  # type: ignore[no-any-return]

    def frame(self, row: Sequence[Any]) -> bytes:
        """Return the record of one struct's values and those of an Origin, by the reference codec."""
        return self._schema.frame({field.name: _for_fastavro(row[field.at], field.kind) for field in self.fields})


class RecordDecoder:
    """Framed records of one schema to columns; `shared`: fields with texts of which equal ones are to be one object."""

    def __init__(self, schema: Schema, shared: Collection[str]) -> None:
        self._schema = schema
        self._kinds = {field["name"]: _kind(field["type"]) for field in schema.document["fields"]}
        self._shared = shared
        self._skimmer = Skimmer(*schema.tree)
        self._native = module and module.RowDecoder(kinds_of(schema, shared))

    def decode(self, values: Sequence[bytes], header_bytes: int) -> dict[str, Sequence[Any]]:
        """Return the values of each field; raises anything for a record that is damaged."""
        if self._native:
            return dict(zip(self._kinds, self._native.decode(values, header_bytes), strict=True))
        rows = [self._read(value, header_bytes) for value in values]
        return {name: [row[name] for row in rows] for name in self._kinds}

    def _read(self, value: bytes, header_bytes: int) -> dict[str, Any]:
        payload = value[header_bytes:]
        self._skimmer.check(payload)  # fastavro alone takes what no encoder writes.
        found: Any = fastavro.schemaless_reader(BytesIO(payload), self._schema.parsed, None)
        return {name: _as_ours(found[name], each, name in self._shared) for name, each in self._kinds.items()}


class EventEncoder:
    """Structs, each about an event of a partition, to messages; see `RecordEncoder`.

    `timed`: the field with the time that a message has, in milliseconds.
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
        """Return a message for each; no record's timestamp is ahead of `wall_ms`, or a broker refuses it.

        The id of the event is its place in the input; `ids`: of structs, by their number, that have another one.
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
    """Return a partition as ids have it."""
    return f"{origin.topic}:{origin.partition}".encode()


def fields_of(schema: Schema, of: type[Struct]) -> list[SchemaField]:
    """Return the fields of a schema; raises ValueError where the struct has nothing for one."""
    own = [ORIGIN[-1] if name == _offset_of(of) else name for name in of.__struct_fields__]
    names = [*own, *(name for name in ORIGIN[:-1] if name not in own)]
    at = {name: number for number, name in enumerate(names)}
    fields = schema.document["fields"]
    if missing := [field["name"] for field in fields if field["name"] not in at]:
        raise ValueError(f"{of.__name__} has no {', '.join(missing)}, which its schema has")
    return [SchemaField(field["name"], _kind(field["type"]), at[field["name"]]) for field in fields]


def kinds_of(schema: Schema, shared: Collection[str]) -> list[tuple[ValueKind, bool]]:
    """Return the kind of each field as the native decoders take them, and whether its texts are to be one object."""
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
    """Return a value as fastavro takes it: a record is no tuple."""
    if of.name == "optional" and value is not None:
        return _for_fastavro(value, of.inside[0])
    return dict(zip(of.fields, value, strict=True)) if of.name == "record" else value


def _as_ours(value: Any, of: ValueKind, is_shared: bool) -> Any:  # noqa: FBT001  it stands in one place
    """Return what fastavro read as a struct has it."""
    if value is None:
        return None
    match of.name:
        case "optional":
            return _as_ours(value, of.inside[0], is_shared)
        case "record":
            return tuple(
                _as_ours(value[name], each, is_shared) for name, each in zip(of.fields, of.inside, strict=True)
            )
        case "array":
            return tuple(_as_ours(item, of.inside[0], is_shared) for item in value)
        case "string" if is_shared:
            return intern(value)
    return value
