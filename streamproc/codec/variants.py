"""Which definitions of a name are the same one, held against each other by what decoding needs of them. Pure.

Types, their order and the names of fields count. Docs, defaults, orders, aliases and other attributes do not; nor does
whether a type inside is written out or named.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from streamproc.codec.avro import CONNECT, LOGICAL
from streamproc.codec.names import NAMED, PART_OF, PRIMITIVES, definitions, full_name, name_of, space_of

Node = dict[str, Any]
Shape = tuple[Any, ...]
"""A type as it is compared: hashable."""


class Variants:
    """All definitions in some documents, which may be any JSON. Those of a name that are the same are one variant."""

    def __init__(self, documents: Iterable[Any]) -> None:
        found = [(name, node) for document in documents for name, node, _ in definitions(document, "")]
        self._names = {name for name, _ in found}
        self._numbers: dict[tuple[str, int], int] = {}
        """By full name, and the identity of a node; what is missing is 0."""
        self._is_split = False
        if len(self._names) < len(found):
            self._number(found)
            # A name that stands for several types is none of them: what has it must not pass for what has one of them.
            self._is_split = any(self._numbers.values())
            if self._is_split:
                self._number(found)
        self._same: dict[str, dict[int, list[Node]]] = {}
        """By full name, each variant's definitions."""
        for name, node in found:
            self._same.setdefault(name, {}).setdefault(self.number(name, node), []).append(node)

    def full(self, name: str, space: str) -> str | None:
        """Return the full name of the definition that a name in a namespace stands for, None where there is none."""
        return next((full for full in (full_name(name, space), full_name(name, "")) if full in self._names), None)

    def of(self, full: str) -> list[Node]:
        """Return the first definition of each variant of a name."""
        return [same[0] for same in self._same[full].values()]

    def number(self, full: str, node: Node) -> int:
        """Return which variant of its name a definition is."""
        return self._numbers.get((full, id(node)), 0)

    def aliases(self, full: str, node: Node, field: int) -> list[Any]:
        """Return the aliases that a field, by its place, has in any definition of the same variant."""
        found = [same["fields"][field].get("aliases") for same in self._same[full][self.number(full, node)]]
        return [alias for aliases in found if isinstance(aliases, list) for alias in aliases]

    def _number(self, found: Iterable[tuple[str, Node]]) -> None:
        shapes: dict[str, dict[Shape, int]] = {}
        for name, node in reversed(list(found)):  # What is inside of a definition comes behind it.
            known = shapes.setdefault(name, {})
            try:
                shape = self._shape(node, space_of(name))
            except RecursionError:  # Who walks into it says so.
                shape = ("deep", id(node))
            self._numbers[name, id(node)] = known.setdefault(shape, len(known))

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
    """Return the unit of a time that a type is given, None where that says nothing about it."""
    connect, logical = node.get("connect.name"), node.get("logicalType")
    found = CONNECT.get(connect) if isinstance(connect, str) else None
    found = found or (logical if isinstance(logical, str) else None)
    return found if found is not None and LOGICAL.get(found) == node["type"] else None
