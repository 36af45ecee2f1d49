"""Helpers for types of schemas in normal form (see `normal`). The vetting, the plan and the skimmer walk over them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import Any

from streamproc.core.shape import LIST

Names = Mapping[str, Any]
"""Named types by name; other types refer to them by that name."""
RECORDS = frozenset(("record", "error"))
LONG_UNITS = {
    f"{prefix}timestamp-{name}": per_second
    for name, per_second in (("millis", 1_000), ("micros", 1_000_000), ("nanos", 1_000_000_000))
    for prefix in ("", "local-")
}
"""Units per second of each logical type."""
TIME_OF_WHAT = {"date": "a date", "time-millis": "a time of day", "time-micros": "a time of day"}
LOGICAL = {**dict.fromkeys((*LONG_UNITS, "time-micros"), "long"), **dict.fromkeys(("date", "time-millis"), "int")}
"""The Avro type that each logical type belongs to. On any other type it is ignored, as Avro specifies."""
CONNECT = {
    f"{prefix}.{name}": f"timestamp-{unit}"
    for prefix, name, unit in (
        ("io.debezium.time", "Timestamp", "millis"),
        ("io.debezium.time", "MicroTimestamp", "micros"),
        ("io.debezium.time", "NanoTimestamp", "nanos"),
        ("org.apache.kafka.connect.data", "Timestamp", "millis"),
    )
}
"""Kafka Connect's names for a long that is a time, and the logical type of each."""


def nodes(schema: Any) -> Iterator[Any]:
    """Yield a type and all types inside it; names are not resolved."""
    yield schema
    for part in parts(schema):
        yield from nodes(part)


def kind(schema: Any) -> str:
    """Return a type's kind: `record`, `long`, ..., `union`."""
    if isinstance(schema, list):
        return "union"
    return str(schema["type"] if isinstance(schema, dict) else schema)


def parts(schema: Any) -> list[Any]:
    """Return the types directly inside a type."""
    if isinstance(schema, list):
        return schema
    if not isinstance(schema, dict):
        return []
    fields = [field["type"] for field in schema.get("fields", ())]
    return fields + [schema[part] for part in ("items", "values") if part in schema]


def resolved(schema: Any, names: Names) -> Any:
    """Return the type that a name stands for; any other type as it is."""
    return names.get(schema, schema) if isinstance(schema, str) else schema


def branches(schema: Any, names: Names) -> list[Any]:
    """Return the types that a value may have besides null."""
    types = schema if isinstance(schema, list) else [schema]
    return [resolved(branch, names) for branch in types if branch != "null"]


def at_path(root: Any, path: Sequence[str], names: Names) -> list[Any]:
    """Return the types, besides null, of a value at the end of a path. The step LIST means each item of a list."""
    types = [resolved(root, names)]
    for step in path:
        types = [branch for node in types for part in _after(node, step) for branch in branches(part, names)]
    return types


def _after(node: Any, step: str) -> list[Any]:
    if not isinstance(node, dict):
        return []
    if kind(node) == "array":
        return [node["items"]] if step == LIST else []
    return [field["type"] for field in node.get("fields", ()) if field["name"] == step]


def endless(names: Names) -> frozenset[str]:
    """Return the types that may contain themselves, directly or inside another type."""
    uses = {name: {node for node in nodes(named) if _is_name(node, names)} for name, named in names.items()}
    sorter = TopologicalSorter(uses)
    with suppress(CycleError):  # A cycle raises, but the types that lead to none are still sorted.
        sorter.prepare()
    finite = set[str]()
    while sorter.is_active():
        ready = sorter.get_ready()
        sorter.done(*ready)
        finite.update(ready)
    return frozenset(names.keys() - finite)


def _is_name(node: Any, names: Names) -> bool:
    return isinstance(node, str) and node in names
