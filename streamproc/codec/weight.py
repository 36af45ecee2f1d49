"""The least number of bytes and of values in a value of a schema: computed once, when a schema is loaded. Pure.

Values count besides bytes because a record inside a record takes no bytes of its own, but is an object to create.
`names` has the types that do not contain themselves; any other name counts as one value of one byte.
"""

from typing import Any

from streamproc.codec.avro import RECORDS, Names, kind, parts, resolved

BRANCHES_PER_VALUE = 8
"""This many branches of a union cost as much as a value: fastavro looks at all of them."""
_BYTES = {"null": 0, "float": 4, "double": 8}
"""The least size of a value, where it is not 1."""


def min_bytes(schema: Any, names: Names) -> int:
    """Return the least number of bytes that a value takes."""
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
    """Return the least number of values in a value; chosen branches of unions and items of lists are not included."""
    schema = resolved(schema, names)
    return 1 + (sum(values(part, names) for part in parts(schema)) if kind(schema) in RECORDS else 0)
