"""One self-contained Avro document out of a schema and the schemas that it refers to. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from streamproc.codec.names import (
    NAMED,
    PART_OF,
    PRIMITIVES,
    RECORDS,
    definitions,
    full_name,
    name_of,
    shown,
    spot,
    within,
)
from streamproc.codec.variants import Variants

NOWHERE = "_"
"""Stands for the empty namespace where others exist too: inside a namespace, Avro cannot name a type without one."""


class Uninlinable(Exception):
    """The schemas cannot be made into one document; the text says why, and shows nothing of them but names."""


def inlined(schema: Any, referenced: Sequence[Any]) -> Any:
    """Return `schema` with each named type of `referenced` inserted where it is first used.

    All are parsed JSON, of any shape; none is changed. Raises Uninlinable.
    """
    variants = Variants((schema, *referenced))
    definitions_by_name: dict[str, tuple[dict[str, Any], str]] = {}
    try:
        for document in referenced:
            for name, node, space in definitions(document, ""):
                first, _ = definitions_by_name.setdefault(name, (node, space))
                if variants.number(name, first) != variants.number(name, node):
                    raise Uninlinable(f"two of its references define {shown(name)}, in different ways")
        for name, node, space in definitions(schema, ""):
            definitions_by_name.setdefault(name, (node, space))
        return _Inliner(definitions_by_name, variants).place(schema, "", "")
    except RecursionError:
        raise Uninlinable("it is nested too deeply") from None


class _Inliner:
    """Walks once through the document that it returns.

    `definitions_by_name`: by full name, the node to insert, and the namespace around it. `variants`: of them all.
    """

    def __init__(self, definitions_by_name: Mapping[str, tuple[dict[str, Any], str]], variants: Variants) -> None:
        self._known = definitions_by_name
        self._variants = variants
        self._nowhere = NOWHERE if any("." in name for name in definitions_by_name) else ""
        self._placed: dict[str, Any] = {}
        """The nodes already inserted, by full name."""

    def place(self, node: Any, space: str, at: str) -> Any:
        """Return a type for the document. `space`: the namespace around it in its own schema; `at`: its path."""
        if isinstance(node, str):
            return self._refer(node, space, at)
        if isinstance(node, list):
            return [self.place(branch, space, at) for branch in node]
        if not isinstance(node, dict):
            raise Uninlinable(f"{spot(at)} has a type that is neither a name nor an object nor a list")
        of = node["type"] if isinstance(node.get("type"), str) else ""
        if of in NAMED:
            return self._define(node, space, at)
        part, step = PART_OF.get(of, ("type", ""))
        if part not in node:
            raise Uninlinable(f"{spot(at)} has {f'a type {of}' if of else 'an object'} without {part}")
        placed = self.place(node[part], space, within(at, step))
        # An object around a type adds nothing, and some readers refuse it. Around a primitive it may be a logical type.
        return placed if part == "type" and not _is_primitive(placed) else {**node, part: placed}

    def _refer(self, name: str, space: str, at: str) -> Any:
        if _is_primitive(name):
            return name
        for full in (full_name(name, space), full_name(name, "")):
            if full in self._placed:
                return self._written(full)
            if full in self._known:
                return self._define(*self._known[full], at)
        stranger = shown(full_name(name, space))
        raise Uninlinable(f"{spot(at)} uses {stranger}, which neither the schema nor any of its references defines")

    def _define(self, node: dict[str, Any], space: str, at: str) -> Any:
        if not isinstance(node.get("name"), str):
            raise Uninlinable(f"{spot(at)} has a named type whose name is no text")
        full = name_of(node, space)
        if full in self._placed:
            # Another schema used it before its own definition came up, or it is defined twice.
            if self._variants.number(full, self._placed[full]) == self._variants.number(full, node):
                return self._written(full)
            raise Uninlinable(f"{spot(at)} defines {shown(full)} twice, in different ways")
        self._placed[full] = node
        inner, _, short = full.rpartition(".")
        written, around = {key: value for key, value in node.items() if key != "namespace"}, inner or self._nowhere
        written["name"] = short
        if around or "namespace" in node:
            written["namespace"] = around
        if node["type"] in RECORDS and "fields" in node:
            written["fields"] = [
                self._field(field, inner, at, self._variants.aliases(full, node, number))
                for number, field in enumerate(_fields(node, at))
            ]
        return written

    def _field(self, field: dict[str, Any], space: str, at: str, aliases: list[Any]) -> dict[str, Any]:
        path = within(at, f".{shown(str(field.get('name')))}")
        try:
            placed = self.place(field["type"], space, path)
        except RecursionError:
            raise Uninlinable(f"{spot(path)} is nested too deeply") from None
        return {**field, "type": placed, **({"aliases": aliases} if aliases else {})}

    def _written(self, full: str) -> str:
        return full if "." in full or not self._nowhere else f"{self._nowhere}.{full}"


def _is_primitive(node: Any) -> bool:
    return isinstance(node, str) and node in PRIMITIVES


def _fields(node: dict[str, Any], at: str) -> list[dict[str, Any]]:
    fields = node["fields"]
    if not isinstance(fields, list) or not all(isinstance(field, dict) and "type" in field for field in fields):
        raise Uninlinable(f"{spot(at)}: the fields of {shown(node['name'])} are no list of fields with a type")
    return fields
