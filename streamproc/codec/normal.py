"""A schema document, which may be any JSON, in normal form: what decoding needs of it, and nothing else. Pure.

The encoding depends on types and their order only. So names are replaced by names that every decoder accepts, and
attributes that do not affect the bytes are dropped: defaults, docs, orders, and logical types except the units of
times. Errors in what is dropped do not matter.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from streamproc.codec.avro import Names, kind
from streamproc.codec.names import NAMED, PART_OF, PRIMITIVES, full_name, name_of, shown, space_of, spot, within
from streamproc.codec.variants import Variants, logical_of

MAX_FIXED_BYTES = 1 << 20
TOP = "top"
"""The only field of a record that replaces a union at the top: it has the same encoding."""
PLAIN_NAME = re.compile(r"(?!odd_)[A-Za-z_][A-Za-z0-9_]*")
"""A name that every decoder accepts; other names are replaced by one that begins with `odd_`."""


class NoSchema(Exception):
    """The document is not an Avro schema; the text says where and why, and shows nothing of it but names."""


class Tree(NamedTuple):
    """A schema in normal form: its `types` by their new names. The type `root`, a record, is the one decoded.

    The key `called` has the writer's name of a field, and the writer's full name of a named type. Symbols of an enum
    are the writer's. A union at the top becomes the field TOP of a record around it.
    """

    root: str
    types: Names

    @property
    def prefix(self) -> tuple[str, ...]:
        """The path to the writer's record in what is decoded."""
        return (TOP,) if self.root == TOP else ()

    @property
    def top(self) -> Any:
        """The writer's own type: a name, or a union."""
        return self.types[TOP]["fields"][0]["type"] if self.root == TOP else self.root

    @property
    def name(self) -> str:
        """The writer's name of the schema: a full name, or the names of a union's branches."""
        top = self.top if isinstance(self.top, list) else [self.top]
        names = [str(self.types[branch]["called"]) if kind(branch) in self.types else kind(branch) for branch in top]
        return f"[{', '.join(names)}]" if isinstance(self.top, list) else names[0]

    def called(self, step: str) -> str:
        """Return the writer's name of a field that may have been renamed."""
        fields = (field for named in self.types.values() for field in named.get("fields", ()))
        return next((called(field) for field in fields if field["name"] == step), step)


def normal(document: Any) -> Tree:
    """Return a document in normal form; raises NoSchema."""
    builder = _Builder(document)
    top = builder.build(document)
    if not any(builder.types.get(branch, {}).get("type") == "record" for branch in _names(top)):
        raise NoSchema("it must be a record")
    if not isinstance(top, list):
        return Tree(top, builder.types)
    # A record is encoded as its fields one after the other: here, as the union alone.
    around = {"type": "record", "name": TOP, "called": TOP, "fields": [{"name": TOP, "called": "", "type": top}]}
    return Tree(TOP, {TOP: around, **builder.types})


def called(field: Mapping[str, Any]) -> str:
    """Return the writer's name of a field."""
    return str(field.get("called", field["name"]))


class _Builder:
    """Walks once through a document, and collects its named types in `types`.

    The fields of a record are processed later, from a queue: types may refer to each other in a chain of any length.
    """

    def __init__(self, document: Any) -> None:
        self.types: dict[str, Any] = {}
        self._variants = Variants([document])
        self._keys: dict[tuple[str, int], str] = {}
        self._todo = deque[tuple[str, dict[str, Any], str]]()
        """Records whose fields are still to be processed: the key, the definition, its path."""

    def build(self, document: Any) -> Any:
        """Return the type of a whole document in normal form; raises NoSchema."""
        top = self._shallow(document, "", "")
        while self._todo:
            key, node, at = self._todo.popleft()
            self.types[key]["fields"] = self._fields(self.types[key]["called"], node, at)
        return top

    def _shallow(self, node: Any, space: str, at: str) -> Any:
        try:
            return self.place(node, space, at)
        except RecursionError:  # From lists in lists: nothing else is walked recursively.
            raise NoSchema(f"{spot(at)} is nested too deeply") from None

    def place(self, node: Any, space: str, at: str) -> Any:
        """Return a type in normal form; `space`: the namespace around it, `at`: its path."""
        if isinstance(node, str):
            return node if node in PRIMITIVES else self._refer(node, space, at)
        if isinstance(node, list):
            return [self.place(branch, space, at) for branch in node]
        if not isinstance(node, dict) or "type" not in node:
            raise NoSchema(f"{spot(at)} is no Avro schema: a type is a name, a list, or an object with a type")
        of = node["type"]
        if not isinstance(of, str):
            return self.place(of, space, at)
        if of in NAMED:
            if not isinstance(node.get("name"), str):
                raise NoSchema(f"{spot(at)} is no Avro schema: its {of} has no name")
            return self._define(name_of(node, space), node, at)
        if of in PART_OF:
            part, step = PART_OF[of]
            if part not in node:
                raise NoSchema(f"{spot(at)} is no Avro schema: it does not say what is in the {of}")
            return {"type": of, part: self.place(node[part], space, within(at, step))}
        logical = logical_of(node)
        return self.place(of, space, at) if logical is None else {"type": of, "logicalType": logical}

    def _refer(self, name: str, space: str, at: str) -> str:
        full = self._variants.full(name, space)
        if full is None:
            raise NoSchema(f"{spot(at)} uses {shown(full_name(name, space))}, which the schema does not define")
        [node, *others] = self._variants.of(full)
        if others:
            raise NoSchema(f"{spot(at)} uses {shown(full)}, which the schema defines in several ways")
        return self._define(full, node, at)

    def _define(self, full: str, node: dict[str, Any], at: str) -> str:
        variant = self._variants.number(full, node)
        key = self._keys.get((full, variant))
        if key is None:
            key = self._keys[full, variant] = f"T{len(self.types)}"
            self.types[key] = definition = {"type": node["type"], "name": key, "called": full}
            match node["type"]:
                case "fixed":
                    definition["size"] = _size(node.get("size"), at)
                case "enum":
                    definition["symbols"] = _symbols(node.get("symbols"), at)
                case _:
                    definition["type"] = "record"  # An error is one.
                    self._todo.append((key, node, at))
        return key

    def _fields(self, full: str, node: dict[str, Any], at: str) -> list[dict[str, Any]]:
        fields = node.get("fields")
        if not isinstance(fields, list) or not all(isinstance(field, dict) for field in fields):
            raise NoSchema(f"{spot(at)} is no Avro schema: its fields are no list of objects")
        normal_fields, earlier_uses = list[dict[str, Any]](), dict[str, int]()
        for number, field in enumerate(fields):
            name = field.get("name")
            if not isinstance(name, str):
                raise NoSchema(f"{spot(at)} is no Avro schema: its field {number} has no name")
            path = within(at, f".{shown(name)}")
            if "type" not in field:
                raise NoSchema(f"{spot(path)} is no Avro schema: it has no type")
            earlier_uses[name] = earlier_uses.get(name, -1) + 1
            type_ = self._shallow(field["type"], space_of(full), path)
            new = {"name": _safe(name, earlier_uses[name]), "called": name, "type": type_}
            aliases = self._variants.aliases(full, node, number)
            normal_fields.append({**new, "aliases": aliases} if aliases else new)
        return normal_fields


def _names(top: Any) -> Iterator[str]:
    return (branch for branch in (top if isinstance(top, list) else [top]) if isinstance(branch, str))


def _safe(name: str, before: int) -> str:
    """Return a field's name for the decoders; `before`: how many earlier fields of the record have the same name."""
    if PLAIN_NAME.fullmatch(name) and not before:
        return name
    salt = before.to_bytes(8, "big")
    return f"odd_{blake2b(name.encode(errors='surrogatepass'), digest_size=16, salt=salt).hexdigest()}"


def _size(size: Any, at: str) -> int:
    if type(size) is not int or not 0 <= size <= MAX_FIXED_BYTES:
        raise NoSchema(f"{spot(at)}: the size of a fixed is no number from 0 to {MAX_FIXED_BYTES:,}")
    return size


def _symbols(symbols: Any, at: str) -> list[str]:
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise NoSchema(f"{spot(at)}: the symbols of an enum are no list of texts")
    return symbols
