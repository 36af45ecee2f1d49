"""Types of schemas in normal form (see `normal`): what the vetting, the plan and the skimmer walk over."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import Any

from streamproc.core.shape import LIST

Names = Mapping[str, Any]
"""Named types by name; in other types a name stands for each of them."""
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


def nodes(schema: Any) -> Iterator[Any]:
    """Yield a type and all that stands inside it; a name stands for itself."""
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


def at_path(root: Any, path: Sequence[str], names: Names) -> list[Any]:
    """Return the types that a value at the end of a path may have beside null; LIST is each item of a list."""
    found = [resolved(root, names)]
    for step in path:
        found = [branch for node in found for part in _after(node, step) for branch in branches(part, names)]
    return found


def _after(node: Any, step: str) -> list[Any]:
    if not isinstance(node, dict):
        return []
    if kind(node) == "array":
        return [node["items"]] if step == LIST else []
    return [field["type"] for field in node.get("fields", ()) if field["name"] == step]


def endless(names: Names) -> frozenset[str]:
    """Return the types that may contain themselves, or one that does."""
    uses = {name: {node for node in nodes(named) if _is_name(node, names)} for name, named in names.items()}
    sorter = TopologicalSorter(uses)
    with suppress(CycleError):  # What is on no cycle, and leads to none, is found all the same.
        sorter.prepare()
    finite = set[str]()
    while sorter.is_active():
        ready = sorter.get_ready()
        sorter.done(*ready)
        finite.update(ready)
    return frozenset(names.keys() - finite)


def _is_name(node: Any, names: Names) -> bool:
    return isinstance(node, str) and node in names
