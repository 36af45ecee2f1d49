"""One self-contained Avro document out of a schema and the schemas that it refers to. Pure.

Names are resolved as the Avro specification has it: a name with a dot is a full one, any other belongs to the enclosing
namespace; and, as Java's Avro has it, to none where that namespace does not know it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streamproc.escaping import escaped

NAMED = frozenset(("record", "error", "enum", "fixed"))
PRIMITIVES = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
NOWHERE = "_"
"""Takes the place of no namespace beside other ones: from inside of those, a name in none could not be told twice."""
MAX_SHOWN_CHARS = 200


class Uninlinable(Exception):
    """The schemas do not make a document; the text says why, and shows nothing of them but names."""


def inlined(schema: Any, referenced: Sequence[Any]) -> Any:
    """Return `schema` with each named type of `referenced` put in where it is first used.

    All are parsed JSON, of whatever shape; none is changed. Raises Uninlinable.
    """
    definitions: dict[str, tuple[dict[str, Any], str]] = {}
    try:
        for document in referenced:
            for name, node, space in _definitions(document, ""):
                if name in definitions:
                    raise Uninlinable(f"two of its references define {shown(name)}")
                definitions[name] = node, space
        own = [name for name, _, _ in _definitions(schema, "")]
        is_mixed = any("." in name for name in (*definitions, *own))
        return _Inliner(definitions, NOWHERE if is_mixed else "").place(schema, "")
    except RecursionError:
        raise Uninlinable("it is nested too deeply") from None


def shown(name: str) -> str:
    """Return a name that may be shown: somebody else chose it."""
    plain = escaped(name)
    return plain if len(plain) <= MAX_SHOWN_CHARS else f"{plain[:MAX_SHOWN_CHARS]}…"


class _Inliner:
    """Walks once through what it returns.

    `definitions`: by full name, what to put in, and the namespace around it.
    """

    def __init__(self, definitions: Mapping[str, tuple[dict[str, Any], str]], nowhere: str) -> None:
        self._definitions = definitions
        self._nowhere = nowhere
        self._placed: dict[str, int] = {}
        """By full name, the identity of the node that defined it."""

    def place(self, node: Any, space: str) -> Any:
        """Return a type as it stands in the document; `space` is the namespace around it in its own."""
        if isinstance(node, str):
            return self._refer(node, space)
        if isinstance(node, list):
            return [self.place(branch, space) for branch in node]
        if not isinstance(node, dict):
            raise Uninlinable("it has a type that is neither a name nor an object nor a list")
        if _kind(node) in NAMED:
            return self._define(node, space)
        part = _inner(node)
        placed = self.place(node[part], space)
        # An object around a type says nothing, and not all readers take it; around a primitive it is a logical type.
        return placed if part == "type" and not _is_primitive(placed) else {**node, part: placed}

    def _refer(self, name: str, space: str) -> Any:
        if _is_primitive(name):
            return name
        for full in (_full(name, space), name):
            if full in self._placed:
                return self._written(full)
            if full in self._definitions:
                return self._define(*self._definitions[full])
        raise Uninlinable(f"it uses {shown(_full(name, space))}, which neither it nor any of its references defines")

    def _define(self, node: dict[str, Any], space: str) -> Any:
        full = _name(node, space)
        if full in self._placed:
            if self._placed[full] == id(node):  # Named by another schema before its own came up.
                return self._written(full)
            raise Uninlinable(f"it defines {shown(full)} twice")
        self._placed[full] = id(node)
        inner, _, short = full.rpartition(".")
        written, at = {key: it for key, it in node.items() if key != "namespace"}, inner or self._nowhere
        written["name"] = short
        if at or "namespace" in node:
            written["namespace"] = at
        if "fields" in node:
            fields = _fields(node)
            written["fields"] = [{**field, "type": self.place(field["type"], inner)} for field in fields]
        return written

    def _written(self, full: str) -> str:
        return full if "." in full or not self._nowhere else f"{self._nowhere}.{full}"


def _definitions(node: Any, space: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield every named type that a schema defines: full name, node, namespace around it."""
    if isinstance(node, list):
        for branch in node:
            yield from _definitions(branch, space)
    elif isinstance(node, dict) and _kind(node) in NAMED:
        full = _name(node, space)
        yield full, node, space
        for field in _fields(node) if "fields" in node else ():
            yield from _definitions(field["type"], full.rpartition(".")[0])
    elif isinstance(node, dict):
        yield from _definitions(node[_inner(node)], space)


def _kind(node: dict[str, Any]) -> str:
    """Return the text of `type`, empty where it is a type itself."""
    kind = node.get("type")
    return kind if isinstance(kind, str) else ""


def _inner(node: dict[str, Any]) -> str:
    """Return under which key of a type without a name there is another one."""
    kind = _kind(node)
    part = {"array": "items", "map": "values"}.get(kind, "type")
    if part not in node:
        raise Uninlinable(f"it has {f'a type {kind}' if kind else 'an object'} without {part}")
    return part


def _is_primitive(node: Any) -> bool:
    return isinstance(node, str) and node in PRIMITIVES


def _fields(node: dict[str, Any]) -> list[dict[str, Any]]:
    fields = node["fields"]
    if not isinstance(fields, list) or not all(isinstance(field, dict) and "type" in field for field in fields):
        raise Uninlinable(f"the fields of {shown(str(node['name']))} are no list of fields with a type")
    return fields


def _name(node: dict[str, Any], space: str) -> str:
    """Return the full name of a definition that stands in the namespace `space`."""
    name, own = node.get("name"), node.get("namespace")
    if not isinstance(name, str) or not name.rpartition(".")[2] or not isinstance(own, str | None):
        raise Uninlinable("it has a named type whose name or namespace is no text")
    return name.removeprefix(".") if "." in name else _full(name, space if own is None else own)


def _full(name: str, space: str) -> str:
    return f"{space}.{name}" if space and "." not in name else name
