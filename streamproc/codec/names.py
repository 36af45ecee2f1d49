"""Names in schema documents, which may be any JSON: how they are resolved, and how they are shown. Pure.

As the Avro specification has it, a name with a dot is a full one, and any other belongs to the enclosing namespace;
and, as Java's Avro has it, to none where that namespace does not know it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from streamproc.escaping import escaped

RECORDS = frozenset(("record", "error"))
NAMED = RECORDS | {"enum", "fixed"}
PRIMITIVES = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
PART_OF = {"array": ("items", "[]"), "map": ("values", "{}")}
"""Where a type without a name has another one in it, and what that adds to a path."""
MAX_SHOWN_CHARS = 200


def shown(name: str) -> str:
    """Return a name that may be shown: somebody else chose it."""
    plain = escaped(name)
    return plain if len(plain) <= MAX_SHOWN_CHARS else f"{plain[:MAX_SHOWN_CHARS]}…"


def spot(at: str) -> str:
    """Return a place in a schema as messages have it: of a path that is too long, its end."""
    return at if 0 < len(at) <= MAX_SHOWN_CHARS else f"…{at[-MAX_SHOWN_CHARS:]}" if at else "it"


def within(at: str, step: str) -> str:
    """Return the path of what is inside of what has a path."""
    return f"{at}{step}".removeprefix(".")


def definitions(node: Any, space: str) -> Iterator[tuple[str, Any, str]]:
    """Yield what a document defines, as far as it is a schema: full name, node, namespace around it."""
    if isinstance(node, list):
        for branch in node:
            yield from definitions(branch, space)
    elif isinstance(node, dict):
        yield from _definitions_in(node, space)


def _definitions_in(node: Mapping[str, Any], space: str) -> Iterator[tuple[str, Any, str]]:
    of = node.get("type")
    if not isinstance(of, str):
        yield from definitions(of, space)
    elif of in PART_OF:
        yield from definitions(node.get(PART_OF[of][0]), space)
    elif of in NAMED and isinstance(node.get("name"), str):
        name, fields = name_of(node, space), node.get("fields")
        yield name, node, space
        for field in fields if isinstance(fields, list) and of in RECORDS else ():
            yield from definitions(field.get("type") if isinstance(field, dict) else None, space_of(name))


def name_of(node: Mapping[str, Any], space: str) -> str:
    """Return the full name of a definition that has a name, and stands in the namespace `space`."""
    own = node.get("namespace")
    return full_name(node["name"], own if isinstance(own, str) else space)


def full_name(name: str, space: str) -> str:
    """Return what a name in the namespace `space` stands for."""
    return f"{space}.{name}" if space and "." not in name else name.removeprefix(".")


def space_of(name: str) -> str:
    """Return the namespace of a full name, empty for none."""
    return name.rpartition(".")[0]
