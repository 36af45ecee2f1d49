"""The schemas that ship with streamproc, and a book of writer schemas by framing header.

The registry client will stand beside `bundled_book`: a header that the book does not know is asked for there.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import BytesIO
from pathlib import Path
from secrets import randbits
from typing import Any

import fastavro
import pyruhvro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from streamproc.codec.framing import header_of, label, single_object
from streamproc.codec.vet import MAX_TYPES, kind, nodes, plain
from streamproc.errors import ConfigError, RecordRejected

RUN_OBJECT_VERSIONS = ("v1", "v1_5", "v2", "v2_1")
BEGIN_MARK, END_MARK = "streamproc_begin", "streamproc_end"
"""Fields that the fast decoder reads before the first and behind the last one: see `columnar`."""
END = randbits(62)
"""What the end mark holds: unknown to who writes the payload, so that left-over bytes cannot pass for it."""
NO_BRANCH = 1_000_000 + randbits(24)
"""A union branch that does not exist, as unknown to others: the fast decoder names it in its error."""
PROBE_ERROR = f"union branch index: {NO_BRANCH}"
PANICS = frozenset(("bytes", "fixed"))
"""What the fast decoder is known not to take; trying would put Rust's panic message on stderr."""


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


class WriterSchema:
    """A schema that somebody wrote records with: parsed once, for both decoders.

    `fast` is the schema's text for the columnar decoder, between the marks; None where that decoder cannot take it.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.fingerprint = str(fingerprint(to_parsing_canonical_form(document), "CRC-64-AVRO"))
        self.header = single_object(self.fingerprint)
        self.label = label(self.header)
        decoded = plain(document)
        self.parsed = fastavro.parse_schema(decoded)
        self.fast = _columnar(decoded)

    def frame(self, value: Mapping[str, Any]) -> bytes:
        """Return a value as single-object encoding, by the reference codec: for records of which there are few."""
        buffer = BytesIO()
        buffer.write(self.header)
        fastavro.schemaless_writer(buffer, self.parsed, value)
        return buffer.getvalue()


def _columnar(document: dict[str, Any]) -> str | None:
    if any(kind(node) in PANICS for node in nodes(document)):
        return None
    begin, end = {"name": BEGIN_MARK, "type": ["null", "long"]}, {"name": END_MARK, "type": "long"}
    text = json.dumps({**document, "fields": [begin, *document["fields"], end]})
    try:
        # Zeros are a value of every type, of at most 8 bytes each: nulls, empty texts and lists, first symbols.
        pyruhvro.deserialize_array([bytes(8 * MAX_TYPES)], text).validate(full=True)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001  a panic in Rust is no Exception; what the fast one cannot take, the other can
        return None
    return text


class SchemaBook:
    """Writer schemas by framing header."""

    def __init__(self, schemas: Mapping[bytes, WriterSchema]) -> None:
        self._schemas = dict(schemas)

    def find(self, header: bytes) -> WriterSchema:
        """Return the schema that `header` points to; raises RecordRejected (`unknown_schema`)."""
        schema = self._schemas.get(header)
        if schema is None:
            raise RecordRejected(
                "unknown_schema",
                f"schema {label(header)} is none of the bundled ones and no registry is set: "
                "`streamproc describe` lists the schemas that are known",
            )
        return schema

    def __iter__(self) -> Iterator[WriterSchema]:
        """Yield every schema."""
        return iter(self._schemas.values())


@cache
def load(name: str) -> WriterSchema:
    """Return the bundled schema `name` (a file under schemas/, without its ending)."""
    try:
        text = (_directory() / f"{name}.avsc").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"schema {name} is not part of this installation: reinstall streamproc") from error
    return WriterSchema(json.loads(text))


@cache
def bundled_book() -> SchemaBook:
    """Return the book of the RunObject's bundled versions, by fingerprint."""
    schemas = [load(f"run_object_{version}") for version in RUN_OBJECT_VERSIONS]
    return SchemaBook({schema.header: schema for schema in schemas})


def unframe(value: bytes | None, versions: Iterable[str], kind: str) -> Any:
    """Return what a record of one of our own schemas holds; raises RecordRejected, and anything for damaged bytes.

    `versions`: the bundled schemas that this release reads as `kind`.
    """
    header = header_of(value)
    for schema in map(load, versions):
        if schema.header == header:
            return fastavro.schemaless_reader(BytesIO((value or b"")[len(header) :]), schema.parsed, None)
    raise RecordRejected("unknown_schema", f"schema {label(header)} is no {kind} that this release reads")


def _directory() -> Traversable:
    """Return where the .avsc files are: inside the wheel, else beside the package in a checkout."""
    packaged = files("streamproc") / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "schemas"
