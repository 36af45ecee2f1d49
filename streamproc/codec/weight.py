"""What a payload of a schema may unfold into, for each of its bytes: found once, when a schema is loaded. Pure.

A null of `[null, Record]` is one byte, but a columnar decoder has room to make for each field of the record; a record
in a record takes no byte at all, but is an object to make.

`names` are those of types that do not contain themselves; any other name counts as one value of one byte.
"""

from collections.abc import Iterator
from typing import Any

from streamproc.codec.avro import RECORDS, Names, kind, nodes, parts, resolved

BRANCHES_PER_VALUE = 8
"""So many branches of a union cost as much as a value: fastavro looks at all of them."""
_BYTES = {"null": 0, "float": 4, "double": 8}
"""That a value takes at least, where it is not 1."""


def min_bytes(schema: Any, names: Names) -> int:
    """Return how many bytes a value takes at least."""
    schema = resolved(schema, names)
    match kind(schema):
        case "record" | "error":
            return sum(min_bytes(part, names) for part in parts(schema))
        case "union":
            return 1 + min((min_bytes(part, names) for part in schema), default=0)
        case "fixed":
            return int(schema["size"])
        case leaf:
            return _BYTES.get(leaf, 1)


def values(schema: Any, names: Names) -> int:
    """Return how many values a value holds at least: what is chosen in unions and the items of lists come on top."""
    schema = resolved(schema, names)
    return 1 + (sum(values(part, names) for part in parts(schema)) if kind(schema) in RECORDS else 0)


def most_values(schema: Any, names: Names) -> int:
    """Return how many values a value holds at most, the items of lists left out."""
    schema = resolved(schema, names)
    if kind(schema) == "union":
        return max((most_values(part, names) for part in schema), default=0) + len(schema) // BRANCHES_PER_VALUE
    return 1 + (sum(most_values(part, names) for part in parts(schema)) if kind(schema) in RECORDS else 0)


def cells(schema: Any, names: Names) -> int:
    """Return how many columns a value has room in, whatever it is; the items of lists come on top."""
    schema = resolved(schema, names)
    inside = schema if kind(schema) == "union" else parts(schema) if kind(schema) in RECORDS else ()
    return 1 + sum(cells(part, names) for part in inside)


def values_per_byte(names: Names) -> int:
    """Return a number of values that the items of no list exceed for each of their bytes; a power of two, and one."""
    limit = 1
    while any(_free(item, names, limit) > 0 for item in items(names)):
        limit *= 2
    return limit + 1


def cells_per_byte(names: Names) -> int:
    """Return a number of cells that the items of no list exceed for each of their bytes."""
    return max((-(-cells(item, names) // max(1, min_bytes(item, names))) for item in items(names)), default=0)


def items(names: Names) -> Iterator[Any]:
    """Yield the type of each list's items and each map's values."""
    for named in names.values():
        for node in nodes(named):
            if kind(node) in ("array", "map"):
                yield from parts(node)


def _free(schema: Any, names: Names, per_byte: int) -> int:
    """Return by how much the values without bytes of their own may exceed `per_byte` for each byte.

    The worst there is among the values of a type, the items of its lists left out: these are looked at themselves.
    """
    schema = resolved(schema, names)
    match kind(schema):
        case "record" | "error":
            return 1 + sum(_free(part, names, per_byte) for part in parts(schema))
        case "union":  # Its index is a byte, which is all that a null in it takes.
            worst = max((0 if part == "null" else _free(part, names, per_byte) for part in schema), default=0)
            return worst + len(schema) // BRANCHES_PER_VALUE - per_byte
    size = min_bytes(schema, names)
    return -per_byte * size if size else 1
