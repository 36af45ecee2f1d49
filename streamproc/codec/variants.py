"""Compares the definitions of a name: those that decode alike are the same variant. Pure.

Types, their order and the names of fields count. Docs, defaults, orders, aliases and other attributes do not; nor does
it matter whether an inner type is written out or named.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from streamproc.codec.avro import CONNECT, LOGICAL
from streamproc.codec.names import NAMED, PART_OF, PRIMITIVES, definitions, full_name, name_of, space_of

Node = dict[str, Any]
Shape = tuple[Any, ...]
"""What is compared of a type; hashable."""


class Variants:
    """All definitions in some documents, which may be any JSON. Equal definitions of a name are one variant."""

    def __init__(self, documents: Iterable[Any]) -> None:
        named_nodes = [(name, node) for document in documents for name, node, _ in definitions(document, "")]
        self._names = {name for name, _ in named_nodes}
        self._numbers: dict[tuple[str, int], int] = {}
        """The number of a variant, by full name and the id() of a node; 0 where missing."""
        self._is_split = False
        if len(self._names) < len(named_nodes):
            self._number(named_nodes)
            # If a name stands for several types, a type that uses the name must not equal one that defines one of them.
            self._is_split = any(self._numbers.values())
            if self._is_split:
                self._number(named_nodes)
        self._same: dict[str, dict[int, list[Node]]] = {}
        """The definitions of each variant, by full name and number."""
        for name, node in named_nodes:
            self._same.setdefault(name, {}).setdefault(self.number(name, node), []).append(node)

    def full(self, name: str, space: str) -> str | None:
        """Return the full name of the definition that a name refers to in a namespace; None where there is none."""
        return next((full for full in (full_name(name, space), full_name(name, "")) if full in self._names), None)

    def of(self, full: str) -> list[Node]:
        """Return the first definition of each variant of a name."""
        return [same[0] for same in self._same[full].values()]

    def number(self, full: str, node: Node) -> int:
        """Return the number of a definition's variant, among those of its name."""
        return self._numbers.get((full, id(node)), 0)

    def aliases(self, full: str, node: Node, field: int) -> list[Any]:
        """Return the aliases of the field at an index, from all definitions of the same variant."""
        alias_lists = [same["fields"][field].get("aliases") for same in self._same[full][self.number(full, node)]]
        return [alias for aliases in alias_lists if isinstance(aliases, list) for alias in aliases]

    def _number(self, named_nodes: Iterable[tuple[str, Node]]) -> None:
        shapes: dict[str, dict[Shape, int]] = {}
        for name, node in reversed(list(named_nodes)):  # From the inside out: inner definitions follow outer ones.
            numbers = shapes.setdefault(name, {})
            try:
                shape = self._shape(node, space_of(name))
            except RecursionError:  # The code that walks into it reports the depth.
                shape = ("deep", id(node))
            self._numbers[name, id(node)] = numbers.setdefault(shape, len(numbers))

    def _shape(self, node: Node, space: str) -> Shape:
        match node["type"]:
            case "fixed":
                return "fixed", repr(node.get("size"))
            case "enum":
                return "enum", repr(node.get("symbols"))
        fields = node.get("fields")
        if not isinstance(fields, list) or not all(isinstance(field, dict) for field in fields):
            return "record", repr(fields)
        return "record", *((repr(field.get("name")), self._type(field.get("type"), space)) for field in fields)

    def _type(self, node: Any, space: str) -> Shape:
        if isinstance(node, str):
            is_primitive = node in PRIMITIVES
            return (node,) if is_primitive else ("named", self.full(node, space), -1 if self._is_split else 0)
        if isinstance(node, list):
            return "union", *(self._type(branch, space) for branch in node)
        of = node.get("type") if isinstance(node, dict) else None
        if not isinstance(of, str):
            return self._type(of, space) if isinstance(of, dict | list) else ("no type", repr(node))
        if of in NAMED and isinstance(node.get("name"), str):
            full = name_of(node, space)
            return "named", full, self.number(full, node)
        if of in PART_OF:
            return of, self._type(node.get(PART_OF[of][0]), space)
        logical = logical_of(node)
        return self._type(of, space) if logical is None else (of, logical)


def logical_of(node: Mapping[str, Any]) -> str | None:
    """Return the logical type that gives a time its unit; None where there is none, or it does not fit the type."""
    connect, logical = node.get("connect.name"), node.get("logicalType")
    unit = CONNECT.get(connect) if isinstance(connect, str) else None
    unit = unit or (logical if isinstance(logical, str) else None)
    return unit if unit is not None and LOGICAL.get(unit) == node["type"] else None
