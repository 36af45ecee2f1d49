"""How many bytes and values a value of a schema has at least: found once, when a schema is loaded. Pure.

A record in a record takes no byte at all, but is an object to make.

`names` are those of types that do not contain themselves; any other name counts as one value of one byte.
"""

from typing import Any

from streamproc.codec.avro import RECORDS, Names, kind, parts, resolved

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
