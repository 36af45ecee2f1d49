"""Schemas: those that ship with streamproc, and those that producers write with, made ready for both decoders."""

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import BytesIO
from pathlib import Path
from secrets import randbits
from typing import Any

import fastavro
import pyruhvro

from streamproc.codec.arrival import Arrival
from streamproc.codec.avro import Names, at_path, kind, nodes, parts, resolved
from streamproc.codec.canonical import crc_64_avro
from streamproc.codec.cloudevents import SCHEMA_HEADER
from streamproc.codec.framing import header_of, label, single_object
from streamproc.codec.normal import Tree, normal
from streamproc.codec.plain import bytes_as_text, is_plain, parsed, plain
from streamproc.codec.plan import Plan, make_plan
from streamproc.codec.reading import getters_of
from streamproc.codec.skim import MAX_VALUES, Skimmer
from streamproc.codec.vet import MAX_TYPES, overlooked, unfit, vetted
from streamproc.codec.weight import cells, cells_per_byte, most_values, values_per_byte
from streamproc.core.shape import Shape
from streamproc.errors import ConfigError, RecordRejected

BEGIN_MARK, END_MARK = "streamproc_begin", "streamproc_end"
"""Fields that the fast decoder reads before the first and behind the last one: see `columnar`."""
END = randbits(62)
"""What the end mark holds: unknown to who writes the payload, so that left-over bytes cannot pass for it."""
NO_BRANCH = 1_000_000 + randbits(24)
"""A union branch that does not exist, as unknown to others: the fast decoder names it in its error."""
PROBE_ERROR = f"union branch index: {NO_BRANCH}"
MAX_COMPILED_CHARS = 8 << 20
"""Of schemas that the fast decoder was given in this process: it keeps each for good, at some 22 times its size."""
PANICS = frozenset(("fixed",))
"""What the fast decoder is known not to take; trying would put Rust's panic message on stderr."""

Frames = Mapping[str, bytes]
"""What records of an output schema begin with, by its name: where a registry gave it an id."""
SINGLE_OBJECTS: Frames = {}
"""No registry: every record begins with its schema's fingerprint."""


def varint(number: int) -> bytes:
    """Return the Avro encoding of a long that is not negative."""
    rest = number << 1
    encoded = bytearray()
    while rest > 0x7F:  # noqa: PLR2004
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


BEGIN_BYTES, END_BYTES, PROBE = varint(0), varint(END), varint(NO_BRANCH)


class Schema:
    """An Avro schema: its document, and what identifies it. `tree`: the same, in normal form."""

    def __init__(self, document: Any, tree: Tree | None = None) -> None:
        self.document = document
        self.tree = tree or normal(document)
        self.fingerprint = crc_64_avro(self.tree)
        self.header = single_object(self.fingerprint)
        self.label = label(self.header)
        self.parsed = parsed(self.tree)

    def frame(self, value: Mapping[str, Any]) -> bytes:
        """Return a value as single-object encoding, by the reference codec: for records of which there are few."""
        buffer = BytesIO()
        buffer.write(self.header)
        fastavro.schemaless_writer(buffer, self.parsed, value)
        return buffer.getvalue()


class WriterSchema(Schema):
    """A schema that a producer writes runs with: vetted, and compiled once for both decoders.

    `header`: what records of it begin with, its own single-object header by default. `where` names it for people.
    `fast` is the schema's text for the columnar decoder, between the marks; None where that decoder cannot take it.
    `slow`: why it cannot, in words. `skim_from`: shorter payloads cannot hold too many values.
    Raises RecordRejected (`unfit_schema`) that says what is wrong with it, field by field.
    """

    def __init__(self, document: Any, shape: Shape, header: bytes | None = None, where: str | None = None) -> None:
        tree = vetted(document)
        try:
            self.plan, faults = make_plan(tree, shape)
            super().__init__(document, tree)
        except Exception as error:
            raise overlooked(error) from error
        if faults:
            raise unfit(faults)
        if header is not None:
            self.header, self.label = header, label(header)
        self.where = where or self.label
        self.getters = getters_of(self.plan)
        root, names = tree
        self.skimmer = Skimmer(root, names)
        self.slow = "it has a type that contains itself" if self.skimmer.is_endless else _not_columnar(tree, self.plan)
        self.skim_from, self._cells = 0, (0, 0)
        if not self.slow:
            self.skim_from = (MAX_VALUES - most_values(root, names)) // values_per_byte(names)
            self._cells = cells(root, names), cells_per_byte(names)
        self.fast = None if self.slow else _columnar(plain(tree))
        if self.fast is None:
            self.slow = self.slow or "it has a type that the fast one does not know, or there are too many schemas"

    def cells(self, payload_bytes: int) -> int:
        """Return how many values a columnar decoder has to make room for at most, of a payload of so many bytes."""
        width, per_byte = self._cells
        return width + per_byte * payload_bytes


def _has_bytes(schema: Any, names: Names) -> bool:
    schema = resolved(schema, names)
    return kind(schema) == "bytes" or any(_has_bytes(part, names) for part in parts(schema))


def _not_columnar(tree: Tree, plan: Plan) -> str:
    """Return why the columnar decoder cannot take a schema, empty where it should."""
    root, names = tree
    found = [node for named in names.values() for node in nodes(named)]
    kinds = {kind(node) for node in found}
    unions = [node for node in found if kind(node) == "union" and not _is_optional(node)]
    if kinds & PANICS:
        return f"it has a {' and a '.join(sorted(kinds & PANICS))}"
    read = [node for fields in plan.fields.values() for field in fields for node in at_path(root, field.path, names)]
    if any(kind(node) == "enum" and not is_plain(node["symbols"]) for node in read):
        return "it has an enum with symbols that are no Avro names where a text is read"
    if not plan.is_direct:
        return "it has a union of several types where something is read"
    if any(_has_bytes(branch, names) for union in unions for branch in union):
        return "it has bytes among the several types of a union"
    return ""


def _is_optional(union: Sequence[Any]) -> bool:
    return len(union) == 2 and "null" in union  # noqa: PLR2004  null and a type


compiled: set[str] = set()


def _columnar(document: dict[str, Any]) -> str | None:
    """Return a schema as the columnar decoder is to read it, None where that turns out not to take it, or is full."""
    document = bytes_as_text(document)
    begin, end = {"name": BEGIN_MARK, "type": ["null", "long"]}, {"name": END_MARK, "type": "long"}
    text = json.dumps({**document, "fields": [begin, *document["fields"], end]})
    if text not in compiled and sum(map(len, compiled)) + len(text) > MAX_COMPILED_CHARS:
        return None
    compiled.add(text)
    try:
        # Zeros are a value of every type, of at most 8 bytes each: nulls, empty texts and lists, first symbols.
        pyruhvro.deserialize_array([bytes(8 * MAX_TYPES)], text).validate(full=True)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  a panic in Rust is no Exception; what the fast one cannot take, the other can
        return None
    return text


@cache
def load(name: str) -> Schema:
    """Return the bundled schema `name` (a file under schemas/, without its ending)."""
    try:
        text = (_directory() / f"{name}.avsc").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"schema {name} is not part of this installation: reinstall streamproc") from error
    return Schema(json.loads(text))


def load_framed(name: str, frames: Frames) -> Schema:
    """Return the bundled schema `name` with the header that its records are to begin with."""
    schema = load(name)
    if name in frames:
        schema = copy(schema)
        schema.header = frames[name]
    return schema


def written_with(record: Arrival) -> str:
    """Return the label of the schema of one of our own records, in either framing, without a registry (rules.md 23)."""
    for name, value in record.headers:
        if name == SCHEMA_HEADER:
            return value.decode()
    return label(header_of(record.value))


def version_of(written: str, versions: Iterable[str]) -> Schema | None:
    """Return the bundled schema with a label, None where it is none of these versions."""
    return next((schema for schema in map(load, versions) if schema.label == written), None)


def unframe(record: Arrival, versions: Iterable[str], kind: str) -> Any:
    """Return what a record of one of our own schemas holds; raises RecordRejected, and anything for damaged bytes.

    `versions`: the bundled schemas that this release reads as `kind`.
    """
    header, written = header_of(record.value), written_with(record)
    schema = version_of(written, versions)
    if schema is None:
        raise RecordRejected("unknown_schema", f"schema {written} is no {kind} that this release reads")
    return fastavro.schemaless_reader(BytesIO((record.value or b"")[len(header) :]), schema.parsed, None)


def _directory() -> Traversable:
    """Return where the .avsc files are: inside the wheel, else beside the package in a checkout."""
    packaged = files("streamproc") / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "schemas"
