"""A schema in normal form as fastavro takes it: types and names, each named type by itself. Pure."""

from collections.abc import Mapping
from typing import Any

import fastavro

from streamproc.codec.normal import Tree


def parsed(tree: Tree) -> Any:
    """Return a schema for fastavro, of the same encoding.

    No logical types, because the core reads plain values. No `int`, because a number that is too long for one is read
    as it is. No defaults: nothing is resolved against another schema.
    """
    # As if parsed before: it reads any symbols, and types in each other in a chain of any length, but parses neither.
    named = {name: _flat(name, each) for name, each in tree.types.items()}
    return fastavro.parse_schema(named.pop(tree.root), named)


def _flat(name: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """Return a named type alone: what is in it has its name."""
    found = {key: named[key] for key in ("type", "size", "symbols") if key in named}
    if "fields" in named:
        found["fields"] = [{"name": field["name"], "type": _bare(field["type"])} for field in named["fields"]]
    return {**found, "name": name}


def _bare(node: Any) -> Any:
    if isinstance(node, list):
        return [_bare(branch) for branch in node]
    if isinstance(node, str):
        return "long" if node == "int" else node
    part = next((part for part in ("items", "values") if part in node), None)
    return _bare(node["type"]) if part is None else {"type": node["type"], part: _bare(node[part])}
