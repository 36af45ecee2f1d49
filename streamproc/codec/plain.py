"""A schema in normal form as each decoder takes it: types and names, each written out where it first stands. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import fastavro

from streamproc.codec.avro import Names
from streamproc.codec.normal import PLAIN_NAME, Tree


def is_plain(symbols: list[str]) -> bool:
    """Tell whether every decoder takes the symbols of an enum."""
    return all(map(PLAIN_NAME.fullmatch, symbols)) and len(set(symbols)) == len(symbols)


def plain(tree: Tree) -> dict[str, Any]:
    """Return a document of the same encoding with nothing in it but types, and names that every decoder takes.

    No logical types, because the core reads plain values: they cost time, and the decoders differ in what they refuse.
    No `int`, because the fast decoder cuts longer numbers off. No defaults: nothing is resolved against another schema.
    """
    return _Plain(tree.types).place(tree.root)  # type: ignore[no-any-return]  # a record


def parsed(tree: Tree) -> Any:
    """Return a schema for fastavro."""
    # As if parsed before: it reads any symbols, and types in each other in a chain of any length, but parses neither.
    named = {name: _flat(name, each) for name, each in tree.types.items()}
    return fastavro.parse_schema(named.pop(tree.root), named)


def _flat(name: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """Return a named type alone: what is in it has its name."""
    head = {key: named[key] for key in ("type", "size", "symbols") if key in named}
    inside = {"fields": _Plain({}).fields(named["fields"])} if "fields" in named else {}
    return {**head, "name": name, **inside}


def bytes_as_text(schema: Any) -> Any:
    """Return a plain schema with strings for bytes: the same encoding, for a decoder that has no bytes."""
    if isinstance(schema, list):
        return [bytes_as_text(branch) for branch in schema]
    if isinstance(schema, dict):
        return {key: schema[key] if key in ("name", "symbols") else bytes_as_text(schema[key]) for key in schema}
    return "string" if schema == "bytes" else schema


class _Plain:
    """Writes each named type out where it first stands."""

    def __init__(self, types: Names) -> None:
        self._types = types
        self._placed = set[str]()

    def place(self, node: Any) -> Any:
        """Return a type as a document has it."""
        if isinstance(node, list):
            return [self.place(branch) for branch in node]
        if isinstance(node, str):
            return self._name(node)
        part = next((part for part in ("items", "values") if part in node), None)
        return self.place(node["type"]) if part is None else {"type": node["type"], part: self.place(node[part])}

    def _name(self, name: str) -> Any:
        named = self._types.get(name)
        if named is None or name in self._placed:
            return "long" if name == "int" else name
        self._placed.add(name)
        head = {"type": named["type"], "name": name}
        match named["type"]:
            case "fixed":
                return {**head, "size": named["size"]}
            case "enum":
                symbols = named["symbols"]
                return {**head, "symbols": symbols if is_plain(symbols) else [f"s{n}" for n in range(len(symbols))]}
        return {**head, "fields": self.fields(named["fields"])}

    def fields(self, fields: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return a record's fields as a document has them."""
        return [{"name": field["name"], "type": self.place(field["type"])} for field in fields]
