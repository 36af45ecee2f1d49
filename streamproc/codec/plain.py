"""A schema in normal form, converted for fastavro: types and names, each named type by itself. Pure."""

from collections.abc import Mapping
from typing import Any

import fastavro

from streamproc.codec.normal import Tree


def parsed(tree: Tree) -> Any:
    """Return a schema for fastavro, of the same encoding.

    It has no logical types, because the core reads plain values; no `int`, because a number that is too long for one
    is read all the same; and no defaults, because nothing is resolved against another schema.
    """
    # Passed as already parsed: fastavro reads any enum symbols and any depth of named types, but parses neither.
    named = {name: _flat(name, type_) for name, type_ in tree.types.items()}
    return fastavro.parse_schema(named.pop(tree.root), named)


def _flat(name: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """Return a named type alone: the types inside it are given by name."""
    flat = {key: named[key] for key in ("type", "size", "symbols") if key in named}
    if "fields" in named:
        flat["fields"] = [{"name": field["name"], "type": _bare(field["type"])} for field in named["fields"]]
    return {**flat, "name": name}


def _bare(node: Any) -> Any:
    if isinstance(node, list):
        return [_bare(branch) for branch in node]
    if isinstance(node, str):
        return "long" if node == "int" else node
    part = next((part for part in ("items", "values") if part in node), None)
    return _bare(node["type"]) if part is None else {"type": node["type"], part: _bare(node[part])}
