"""The parsing canonical form of a schema, and its fingerprint, as the Avro specification defines them. Pure."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from fastavro.schema import fingerprint

from streamproc.codec.avro import Names
from streamproc.codec.normal import Tree, called


def canonical(tree: Tree) -> str:
    """Return the specification's parsing canonical form; like other implementations, this one escapes nothing."""
    return _Canonical(tree.types).written(tree.top)


def crc_64_avro(tree: Tree) -> str:
    """Return the fingerprint of a schema as hex digits, in the order in which its bytes are sent."""
    text = canonical(tree).encode(errors="replace").decode()  # Java replaces half a surrogate pair in the same way.
    return str(fingerprint(text, "CRC-64-AVRO"))


class _Text(NamedTuple):
    """A text to be written as it is."""

    text: str


class _Canonical:
    """Writes out each named type where it first occurs. Without recursion: types may be nested to any depth."""

    def __init__(self, types: Names) -> None:
        self._types = types
        self._written = set[str]()

    def written(self, node: Any) -> str:
        """Return a type's canonical form."""
        texts, todo = list[str](), [node]
        while todo:
            piece = todo.pop()
            if isinstance(piece, _Text):
                texts.append(piece.text)
            else:
                todo += reversed(list(self._pieces(piece)))
        return "".join(texts)

    def _pieces(self, node: Any) -> Iterator[Any]:
        """Yield the texts and types that make up a type's canonical form, in order."""
        if isinstance(node, list):
            yield _Text("[")
            for number, branch in enumerate(node):
                yield from (_Text("," if number else ""), branch)
            yield _Text("]")
        elif isinstance(node, str):
            yield from self._name(node)
        elif part := next((part for part in ("items", "values") if part in node), None):
            yield from (_Text(f'{{"type":"{node["type"]}","{part}":'), node[part], _Text("}"))
        else:
            yield _Text(f'"{node["type"]}"')

    def _name(self, name: str) -> Iterator[Any]:
        named = self._types.get(name)
        if named is None or name in self._written:
            yield _Text(_quoted(name if named is None else named["called"]))
            return
        self._written.add(name)
        yield _Text(f'{{"name":"{named["called"]}","type":"{named["type"]}",')
        match named["type"]:
            case "fixed":
                yield _Text(f'"size":{named["size"]}')
            case "enum":
                yield _Text(f'"symbols":[{",".join(map(_quoted, named["symbols"]))}]')
            case _:
                yield _Text('"fields":[')
                for number, field in enumerate(named["fields"]):
                    comma = "," if number else ""
                    yield from (_Text(f'{comma}{{"name":"{called(field)}","type":'), field["type"], _Text("}"))
                yield _Text("]")
        yield _Text("}")


def _quoted(text: str) -> str:
    return f'"{text}"'
