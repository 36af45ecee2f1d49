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


def definitions(document: Any, space: str) -> Iterator[tuple[str, Any, str]]:
    """Yield what a document defines, as far as it is a schema: full name, node, namespace around it.

    What is inside of a definition comes right behind it.
    """
    todo = [(document, space)]
    while todo:
        node, space = todo.pop()
        if isinstance(node, list):
            todo += [(branch, space) for branch in reversed(node)]
        elif isinstance(node, dict):
            of = node.get("type")
            if not isinstance(of, str):
                todo.append((of, space))
            elif of in PART_OF:
                todo.append((node.get(PART_OF[of][0]), space))
            elif of in NAMED and isinstance(node.get("name"), str):
                name, fields = name_of(node, space), node.get("fields") if of in RECORDS else None
                yield name, node, space
                inside = fields if isinstance(fields, list) else []
                todo += [(field.get("type"), space_of(name)) for field in reversed(inside) if isinstance(field, dict)]


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
