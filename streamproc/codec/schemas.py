"""Schemas: those that ship with streamproc, and those of producers, compiled for both decoders."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import fastavro
from msgspec import convert

from streamproc.codec.arrival import Arrival
from streamproc.codec.canonical import crc_64_avro
from streamproc.codec.cloudevents import SCHEMA_HEADER
from streamproc.codec.framing import header_of, label, single_object
from streamproc.codec.native import EventDecoder
from streamproc.codec.normal import Tree, normal
from streamproc.codec.plain import parsed
from streamproc.codec.plan import make_plan
from streamproc.codec.skim import Skimmer
from streamproc.codec.targets import getters_of
from streamproc.codec.vet import overlooked, unfit, vetted
from streamproc.core.shape import Shape
from streamproc.errors import ConfigError, RecordRejected, RejectionReason
from streamproc.native import module

Kind = TypeVar("Kind")
Frames = Mapping[str, bytes]
"""Framing headers by the name of an output schema, where a registry gave it an id."""
SINGLE_OBJECTS: Frames = {}
"""Without a registry, every record begins with its schema's fingerprint."""


class Schema:
    """An Avro schema: its document, fingerprint, framing header and label. `tree`: the document in normal form."""

    def __init__(self, document: Any, tree: Tree | None = None) -> None:
        self.document = document
        self.tree = tree or normal(document)
        self.fingerprint = crc_64_avro(self.tree)
        self.header = single_object(self.fingerprint)
        self.label = label(self.header)
        self.parsed = parsed(self.tree)

    def frame(self, value: Mapping[str, Any]) -> bytes:
        """Encode a value behind the header with the reference codec. Slow: for records that are few."""
        buffer = BytesIO()
        buffer.write(self.header)
        fastavro.schemaless_writer(buffer, self.parsed, value)
        return buffer.getvalue()


class WriterSchema(Schema):
    """A producer's schema for runs: vetted, and compiled once for both decoders.

    `header`: the framing header of its records, by default single-object encoding. `where` names the schema for people.
    `native`: the fast decoder, None where it is not installed. Raises RecordRejected (`unfit_schema`), which says what
    is wrong, field by field.
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
        self.skimmer = Skimmer(*tree)
        self.native = EventDecoder(tree, self.plan, self.label) if module else None


@cache
def load(name: str) -> Schema:
    """Return the bundled schema `name` (a file under schemas/, without its extension)."""
    try:
        text = (_directory() / f"{name}.avsc").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"schema {name} is not part of this installation: reinstall streamproc") from error
    return Schema(json.loads(text))


def load_framed(name: str, frames: Frames) -> Schema:
    """Return the bundled schema `name` with the framing header for its records."""
    schema = load(name)
    if name in frames:
        schema = copy(schema)
        schema.header = frames[name]
    return schema


def written_with(record: Arrival) -> str:
    """Return the label of the schema of one of our own records, in either framing. Needs no registry (rules.md 23)."""
    for name, value in record.headers:
        if name == SCHEMA_HEADER:
            return value.decode()
    return label(header_of(record.value))


def version_of(written: str, versions: Iterable[str]) -> Schema | None:
    """Return the bundled schema with the label `written`, or None where it is not among `versions`."""
    return next((schema for schema in map(load, versions) if schema.label == written), None)


def unframe(record: Arrival, versions: Iterable[str], kind: str) -> Any:
    """Decode a record of one of our own schemas; raises RecordRejected.

    `versions`: the bundled schemas that this release reads as `kind`.
    """
    with _damage_rejected(kind):
        header, written = header_of(record.value), written_with(record)
        schema = version_of(written, versions)
        if schema is not None:
            return fastavro.schemaless_reader(BytesIO((record.value or b"")[len(header) :]), schema.parsed, None)
    raise RecordRejected(RejectionReason.UNKNOWN_SCHEMA, f"schema {written} is no {kind} that this release reads")


def read_as(kind: type[Kind], record: Arrival, versions: Iterable[str], name: str) -> Kind:
    """Decode a record of this service (`name`: of its schema) to a `kind`; raises RecordRejected."""
    with _damage_rejected(name):
        return convert(unframe(record, versions, name), kind)


@contextmanager
def _damage_rejected(kind: str) -> Iterator[None]:
    """Raise RecordRejected instead of whatever a decoder raises for damaged bytes."""
    try:
        yield
    except RecordRejected:
        raise
    except Exception as error:
        raise RecordRejected(RejectionReason.UNDECODABLE, f"no valid {kind} ({type(error).__name__})") from error


def _directory() -> Traversable:
    """Return the directory of the .avsc files: inside the wheel, or beside the package in a checkout."""
    packaged = files("streamproc") / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "schemas"
