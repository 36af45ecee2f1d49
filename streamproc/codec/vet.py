"""Whether a schema is safe to decode with: nothing in it lets few bytes of payload kill the process.

The limits are on the schema, once; `skim` has those on each record.
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
"""Types within types, names replaced by what they stand for."""
MAX_FIELDS = 2_000
"""Of one record, and branches of one union."""
MAX_TYPES = 5_000
"""In all, names replaced by what they stand for; a type that contains itself counts once."""
MAX_ROUNDS = 64
"""Of looking for types that there can be a value of; one or two will do."""
MAX_FAULTS_SHOWN, MAX_FAULT_CHARS = 20, 500


class _Unsafe(Exception):
    """A schema with which a payload of a few bytes could kill the decoder, or of which there can be no payload."""


def unfit(faults: list[str]) -> Unfit:
    """Return the error for records of a schema that cannot be used, whatever is in them."""
    return Unfit([escaped(fault)[:MAX_FAULT_CHARS] for fault in faults[:MAX_FAULTS_SHOWN]])


def overlooked(error: Exception) -> Unfit:
    """Return the error for a schema that something else failed on: it may be any JSON."""
    is_deep = isinstance(error, RecursionError)
    return unfit(["it is nested too deeply" if is_deep else f"it is no Avro schema ({type(error).__name__})"])


def vetted(document: Any) -> Tree:
    """Return a schema in normal form; raises Unfit where it is unsafe or no schema at all.

    Of what is in the schema the error shows names only.
    """
    try:
        tree = normal(document)  # First, for it says where a document is nested too deeply.
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
    """Yield the types right inside one, each with what it adds to the path."""
    if isinstance(node, list):
        yield from (("", branch) for branch in node)
    elif isinstance(node, dict):
        yield from ((f".{shown(called(field))}", field["type"]) for field in node.get("fields", ()))
        yield from ((step, node[part]) for part, step in (("items", "[]"), ("values", "{}")) if part in node)


class _Scale:
    """Weighs the types of one schema.

    A type that contains itself is walked once, from where it stands first. Where it stands in a union, an array or a
    map it is no more than its name; where it has to be in every value, it counts in full, as any other.
    """

    def __init__(self, types: Names) -> None:
        self._types = types
        self._endless = endless(types)
        self._finite = {name: named for name, named in types.items() if name not in self._endless}
        self._met = dict[str, str]()
        """The types that contain themselves, each with the path where it stands first."""
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
            what = "fields" if kind(schema) == "record" else "branches"
            raise _Unsafe(f"{spot(at)} has more than {MAX_FIELDS:,} {what}")
        self._open.add(name)
        for step, part in inside:
            there = within(at, step)
            self._weigh(part, there, depth + 1, chosen=chosen or kind(schema) != "record")
            if kind(schema) in ("array", "map") and min_bytes(part, self._finite) == 0:
                raise _Unsafe(f"{spot(there)}: its items take no bytes: a payload of a few could have millions of them")
        self._open.discard(name)


def _refuse_impossible(tree: Tree) -> None:
    """Raise _Unsafe where there can be no record, with the path of what there can be no value of."""
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
    """Return the types that there can be a value of: with those known, more are found, until there are no more."""
    found = set[str]()
    for _ in range(MAX_ROUNDS):
        # What is inside comes later in `types`: as a rule all are found in one round.
        new = [name for name in reversed(list(types)) if name not in found and _finds(name, types, found)]
        if not new:
            break
    return found


def _finds(name: str, types: Names, found: set[str]) -> bool:
    if possible := _can_be(types[name], types, found):
        found.add(name)
    return possible


def _can_be(schema: Any, types: Names, known: set[str]) -> bool:
    """Tell whether there can be a value of a type, as far as it is known of those with names."""
    if isinstance(schema, str):
        return schema not in types or schema in known
    match kind(schema):
        case "union":
            return any(_can_be(branch, types, known) for branch in schema)
        case "record":
            return all(_can_be(part, types, known) for part in parts(schema))
        case "enum":
            return bool(schema["symbols"])
    return True  # A list may be empty.
