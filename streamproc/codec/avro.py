"""Avro schemas as trees: what the vetting, the plan and the skimmer walk over. Documents are parsed JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

Names = Mapping[str, Any]
"""Named types by full name, as fastavro collects them."""
RECORDS = frozenset(("record", "error"))
LONG_UNITS = {
    f"{prefix}timestamp-{name}": per_second
    for name, per_second in (("millis", 1_000), ("micros", 1_000_000), ("nanos", 1_000_000_000))
    for prefix in ("", "local-")
}
"""How many of a logical type's unit make a second."""
TIME_OF_WHAT = {"date": "a date", "time-millis": "a time of day", "time-micros": "a time of day"}
LOGICAL = {**dict.fromkeys((*LONG_UNITS, "time-micros"), "long"), **dict.fromkeys(("date", "time-millis"), "int")}
"""What a logical type says something about: on any other type it counts for nothing, as Avro has it."""
CONNECT = {
    f"{prefix}.{name}": f"timestamp-{unit}"
    for prefix, name, unit in (
        ("io.debezium.time", "Timestamp", "millis"),
        ("io.debezium.time", "MicroTimestamp", "micros"),
        ("io.debezium.time", "NanoTimestamp", "nanos"),
        ("org.apache.kafka.connect.data", "Timestamp", "millis"),
    )
}
"""What Kafka Connect calls a long that is a time."""


def plain(schema: Any) -> Any:
    """Return a schema of the same encoding with nothing in it but names and types.

    No logical types, because the core reads plain values: they cost time, and the decoders differ in what they refuse.
    No `int`, because the fast decoder cuts longer numbers off. No defaults: nothing is resolved against another schema.
    """
    return _stripped(schema, described=False)


def described(schema: Any) -> Any:
    """Return a schema with what says how its values are to be read: aliases, and the units of times."""
    return _stripped(schema, described=True)


def _stripped(schema: Any, *, described: bool) -> Any:  # noqa: PLR0911  one for each kind of type
    if isinstance(schema, list):
        return [_stripped(branch, described=described) for branch in schema]
    if not isinstance(schema, dict):
        return "long" if schema == "int" and not described else schema
    kept = {key: schema[key] for key in ("type", "name", "namespace", "symbols", "size") if key in schema}
    match schema["type"]:
        case "record" | "error":
            fields = [_field(field, described=described) for field in schema["fields"]]
            return {**kept, "fields": fields}
        case "array":
            return {**kept, "items": _stripped(schema["items"], described=described)}
        case "map":
            return {**kept, "values": _stripped(schema["values"], described=described)}
        case "enum" | "fixed":
            return kept
    logical = _logical(schema) if described else None
    if logical is not None:
        return {"type": schema["type"], "logicalType": logical}
    return _stripped(schema["type"], described=described)


def _logical(schema: Mapping[str, Any]) -> str | None:
    connect, logical = schema.get("connect.name"), schema.get("logicalType")
    found = CONNECT.get(connect) if isinstance(connect, str) else None
    found = found or (logical if isinstance(logical, str) else None)
    return found if found is not None and LOGICAL.get(found) == schema["type"] else None


def _field(field: Mapping[str, Any], *, described: bool) -> dict[str, Any]:
    kept = {"name": field["name"], "type": _stripped(field["type"], described=described)}
    aliases = field.get("aliases")
    return {**kept, "aliases": aliases} if described and isinstance(aliases, list) else kept


def bytes_as_text(schema: Any) -> Any:
    """Return a plain schema with strings for bytes: the same encoding, for a decoder that has no bytes."""
    if isinstance(schema, list):
        return [bytes_as_text(branch) for branch in schema]
    if isinstance(schema, dict):
        return {
            key: schema[key] if key in ("name", "namespace", "symbols") else bytes_as_text(schema[key])
            for key in schema
        }
    return "string" if schema == "bytes" else schema


def nodes(schema: Any) -> Iterator[Any]:
    """Yield a schema and all that stands inside it; a name stands for itself."""
    yield schema
    for part in parts(schema):
        yield from nodes(part)


def kind(schema: Any) -> str:
    """Return a type's kind: `record`, `long`, ..., `union`."""
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def parts(schema: Any) -> list[Any]:
    """Return the types that stand right inside a type."""
    if isinstance(schema, list):
        return schema
    if not isinstance(schema, dict):
        return []
    fields = [field["type"] for field in schema.get("fields", ())]
    return fields + [schema[part] for part in ("items", "values") if part in schema]


def resolved(schema: Any, names: Names) -> Any:
    """Return what a name stands for; any other type as it is."""
    return names.get(schema, schema) if isinstance(schema, str) else schema


def branches(schema: Any, names: Names) -> list[Any]:
    """Return what a value may be beside null."""
    found = schema if isinstance(schema, list) else [schema]
    return [resolved(branch, names) for branch in found if branch != "null"]
