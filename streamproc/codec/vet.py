"""Checks that a schema is safe to decode with: no payload of a few bytes can kill the process.

These limits apply to the schema, once; `skim` applies those on each record.
"""

import json
from collections import deque
from collections.abc import Iterator
from typing import Any

from streamproc.codec.avro import Names, endless, kind, parts, resolved
from streamproc.codec.names import shown, spot, within
from streamproc.codec.normal import NoSchema, Tree, called, normal
from streamproc.codec.weight import min_bytes
from streamproc.errors import Unfit
from streamproc.escaping import escaped

MAX_SCHEMA_BYTES = 262_144
MAX_DEPTH = 32
"""Limit on nested types, with names resolved."""
MAX_FIELDS = 2_000
"""Limit on the fields of one record, and on the branches of one union."""
MAX_TYPES = 5_000
"""Limit on all types, with names resolved; a type that contains itself counts once."""
MAX_ROUNDS = 64
"""Limit on the rounds of the search for types that can have a value; one or two are usual."""
MAX_FAULTS_SHOWN, MAX_FAULT_CHARS = 20, 500


class _Unsafe(Exception):
    """The schema would let a payload of a few bytes kill the decoder, or can have no payload at all."""


def unfit(faults: list[str]) -> Unfit:
    """Return the error for all records of a schema that cannot be used."""
    return Unfit([escaped(fault)[:MAX_FAULT_CHARS] for fault in faults[:MAX_FAULTS_SHOWN]])


def overlooked(error: Exception) -> Unfit:
    """Return the error for a schema on which other code failed unexpectedly: it may be any JSON."""
    is_deep = isinstance(error, RecursionError)
    return unfit(["it is nested too deeply" if is_deep else f"it is no Avro schema ({type(error).__name__})"])


def vetted(document: Any) -> Tree:
    """Return a schema in normal form; raises Unfit where it is unsafe or no schema at all.

    The error shows nothing of the schema but names.
    """
    try:
        tree = normal(document)  # First, because its error says where a document is nested too deeply.
        if len(json.dumps(document)) > MAX_SCHEMA_BYTES:
            raise _Unsafe(f"it has more than {MAX_SCHEMA_BYTES:,} bytes")  # noqa: TRY301  one way out for all dangers
        _Scale(tree.types).weigh(tree.root)
        _refuse_impossible(tree)
    except (_Unsafe, NoSchema) as error:
        raise unfit([str(error)]) from None
    except Exception as error:
        raise overlooked(error) from error
    return tree


def _inside(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the types directly inside a type, each with its step in the path."""
    if isinstance(node, list):
        yield from (("", branch) for branch in node)
    elif isinstance(node, dict):
        yield from ((f".{shown(called(field))}", field["type"]) for field in node.get("fields", ()))
        yield from ((step, node[part]) for part, step in (("items", "[]"), ("values", "{}")) if part in node)


class _Scale:
    """Weighs the types of one schema.

    A type that contains itself is walked once, from its first occurrence. Inside a union, an array or a map it counts
    as a name only; where every value must contain it, it counts in full, like any other type.
    """

    def __init__(self, types: Names) -> None:
        self._types = types
        self._endless = endless(types)
        self._finite = {name: named for name, named in types.items() if name not in self._endless}
        self._met = dict[str, str]()
        """The types that contain themselves, each with the path of its first occurrence."""
        self._todo = deque[str]()
        self._open = set[str]()
        self._weight = 0

    def weigh(self, root: str) -> None:
        """Raise _Unsafe where a schema is over a limit."""
        self._meet(root, "")
        while self._todo:
            name = self._todo.popleft()
            self._weigh(name, self._met[name], 0, chosen=False)

    def _meet(self, name: str, at: str) -> None:
        if name not in self._met:
            self._met[name] = at
            self._todo.append(name)

    def _weigh(self, schema: Any, at: str, depth: int, *, chosen: bool) -> None:
        """Count types; `chosen`: whether a value may do without this one."""
        self._weight += 1
        if self._weight > MAX_TYPES:
            raise _Unsafe(f"it has more than {MAX_TYPES:,} types")
        name = schema if isinstance(schema, str) else ""
        if name in self._endless and (chosen or name in self._open):
            self._meet(name, at)
            return
        schema = resolved(schema, self._types)
        if depth > MAX_DEPTH:
            raise _Unsafe(f"{spot(at)}: it is nested deeper than {MAX_DEPTH} types")
        inside = list(_inside(schema))
        if len(inside) > MAX_FIELDS:
            parts_name = "fields" if kind(schema) == "record" else "branches"
            raise _Unsafe(f"{spot(at)} has more than {MAX_FIELDS:,} {parts_name}")
        self._open.add(name)
        for step, part in inside:
            path = within(at, step)
            self._weigh(part, path, depth + 1, chosen=chosen or kind(schema) != "record")
            if kind(schema) in ("array", "map") and min_bytes(part, self._finite) == 0:
                raise _Unsafe(f"{spot(path)}: its items take no bytes: a payload of a few could have millions of them")
        self._open.discard(name)


def _refuse_impossible(tree: Tree) -> None:
    """Raise _Unsafe where no record can exist, with the path of the type that can have no value."""
    possible = _possible(tree.types)
    schema: Any = tree.root
    at, above = "", set[str]()
    while not _can_be(schema, tree.types, possible):
        name, schema = schema, resolved(schema, tree.types)
        if schema == []:
            raise _Unsafe(f"{spot(at)} is a union of nothing, so no record can be written")
        if kind(schema) == "enum":
            raise _Unsafe(f"{spot(at)} is an enum without symbols, so no record can be written")
        if kind(schema) == "record":
            if name in above:
                raise _Unsafe(
                    f"{spot(at)}: {shown(schema['called'])} contains itself with no end: it can have no value"
                )
            above.add(name)
        steps = _inside(schema)
        step, schema = next((step, part) for step, part in steps if not _can_be(part, tree.types, possible))
        at = within(at, step)


def _possible(types: Names) -> set[str]:
    """Return the types that can have a value. Each round builds on the last, until one adds nothing."""
    possible = set[str]()
    for _ in range(MAX_ROUNDS):
        # Inner types come later in `types`, so in reverse order one round finds nearly all.
        new = [name for name in reversed(list(types)) if name not in possible and _finds(name, types, possible)]
        if not new:
            break
    return possible


def _finds(name: str, types: Names, possible_types: set[str]) -> bool:
    if possible := _can_be(types[name], types, possible_types):
        possible_types.add(name)
    return possible


def _can_be(schema: Any, types: Names, possible: set[str]) -> bool:
    """Tell whether a type can have a value; `possible`: the named types known so far to have one."""
    if isinstance(schema, str):
        return schema not in types or schema in possible
    match kind(schema):
        case "union":
            return any(_can_be(branch, types, possible) for branch in schema)
        case "record":
            return all(_can_be(part, types, possible) for part in parts(schema))
        case "enum":
            return bool(schema["symbols"])
    return True  # A list may be empty.
