"""Names in schema documents, which may be any JSON: how they are resolved, and how they are shown. Pure.

By the Avro specification, a name with a dot is a full name, and any other belongs to the enclosing namespace. If that
namespace does not define it, it belongs to none, as in Java's Avro.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from streamproc.escaping import escaped

RECORDS = frozenset(("record", "error"))
NAMED = RECORDS | {"enum", "fixed"}
PRIMITIVES = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
PART_OF = {"array": ("items", "[]"), "map": ("values", "{}")}
"""For each unnamed type that contains another: the attribute with the inner type, and its step in a path."""
MAX_SHOWN_CHARS = 200


def shown(name: str) -> str:
    """Return a name escaped and cut, so that it is safe to show: a producer chose it."""
    plain = escaped(name)
    return plain if len(plain) <= MAX_SHOWN_CHARS else f"{plain[:MAX_SHOWN_CHARS]}…"


def spot(at: str) -> str:
    """Return a path in a schema as messages show it: the end of a path that is too long, `it` for the top."""
    return at if 0 < len(at) <= MAX_SHOWN_CHARS else f"…{at[-MAX_SHOWN_CHARS:]}" if at else "it"


def within(at: str, step: str) -> str:
    """Return the path of a type inside the type at the path `at`."""
    return f"{at}{step}".removeprefix(".")


def definitions(document: Any, space: str) -> Iterator[tuple[str, Any, str]]:
    """Yield the definitions in a document, as far as it is a schema: full name, node, namespace around it.

    The definitions inside a definition follow it directly.
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
    """Return the full name of a definition that has a name. `space`: the namespace around it."""
    own = node.get("namespace")
    return full_name(node["name"], own if isinstance(own, str) else space)


def full_name(name: str, space: str) -> str:
    """Return the full name that a name stands for in the namespace `space`."""
    return f"{space}.{name}" if space and "." not in name else name.removeprefix(".")


def space_of(name: str) -> str:
    """Return the namespace of a full name, empty for none."""
    return name.rpartition(".")[0]
