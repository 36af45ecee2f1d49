"""The parsing canonical form of a schema, and its fingerprint, as the Avro specification has them. Pure."""

from collections.abc import Mapping
from typing import Any

from fastavro.schema import fingerprint

from streamproc.codec.avro import Names
from streamproc.codec.normal import Tree, called


def canonical(tree: Tree) -> str:
    """Return the parsing canonical form of the specification; like other implementations it escapes nothing."""
    return _Canonical(tree.types).written(tree.top)


def crc_64_avro(tree: Tree) -> str:
    """Return the fingerprint of a schema, in the order in which its bytes are sent."""
    text = canonical(tree).encode(errors="replace").decode()  # As Java does with half of a surrogate pair.
    return str(fingerprint(text, "CRC-64-AVRO"))


class _Canonical:
    """Writes each named type out where it first stands."""

    def __init__(self, types: Names) -> None:
        self._types = types
        self._written = set[str]()

    def written(self, node: Any) -> str:
        """Return a type's canonical form."""
        if isinstance(node, list):
            return f"[{','.join(map(self.written, node))}]"
        if isinstance(node, str):
            return self._name(node)
        for part in ("items", "values"):
            if part in node:
                return f'{{"type":"{node["type"]}","{part}":{self.written(node[part])}}}'
        return f'"{node["type"]}"'

    def _name(self, name: str) -> str:
        named = self._types.get(name)
        if named is None:
            return f'"{name}"'
        if name in self._written:
            return f'"{named["called"]}"'
        self._written.add(name)
        match named["type"]:
            case "fixed":
                inside = f'"size":{named["size"]}'
            case "enum":
                inside = f'"symbols":[{",".join(map(_quoted, named["symbols"]))}]'
            case _:
                inside = f'"fields":[{",".join(map(self._field, named["fields"]))}]'
        return f'{{"name":"{named["called"]}","type":"{named["type"]}",{inside}}}'

    def _field(self, field: Mapping[str, Any]) -> str:
        return f'{{"name":"{called(field)}","type":{self.written(field["type"])}}}'


def _quoted(text: str) -> str:
    return f'"{text}"'
