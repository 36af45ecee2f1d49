"""Runs and transitions as rows of Avro records: which field of the struct is which of the schema, and the encoding.

The order of a struct's fields is that of its schema; that is seen to at import, since columns are matched by it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyruhvro
from msgspec import Struct
from msgspec.structs import asdict, astuple

from streamproc.codec.schemas import Schema, load
from streamproc.core.model import Run, Transition

EVENT, OFFSET = "event", "offset"
ORIGIN = ("source_topic", "source_partition", "source_offset")
"""What a record has where its struct has OFFSET."""


MIN_ROWS = 16
"""As many cost the same either way: 7 µs each by the reference codec; in columns 100 µs, and 1.3 µs each."""


class RowEncoder:
    """Rows of one schema to Avro payloads, by way of Arrow columns."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._text = json.dumps(document)
        self._arrow = pyruhvro.avro_to_arrow_schema(self._text)

    def encode(self, columns: Sequence[Sequence[Any]]) -> list[bytes]:
        """Return each row's payload; `columns` in the order of the schema's fields."""
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, self._arrow, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._arrow)
        payloads: list[bytes] = pyruhvro.serialize_record_batch(batch, self._text, 1)[0].to_pylist()
        return payloads


class RecordEncoder:
    """Structs to framed records of one schema: few by the reference codec, many a column at a time."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._names = [field["name"] for field in schema.document["fields"]]
        self._rows = RowEncoder(schema.document)

    def encode(self, structs: Sequence[Struct], more: Mapping[str, Any]) -> Iterator[bytes]:
        """Return the record of each; `more`: what all of them have besides, by the names of the schema."""
        return (self._few if len(structs) < MIN_ROWS else self._many)(structs, more)

    def _few(self, structs: Sequence[Struct], more: Mapping[str, Any]) -> Iterator[bytes]:
        return (self._schema.frame({**asdict(struct), **more}) for struct in structs)

    def _many(self, structs: Sequence[Struct], more: Mapping[str, Any]) -> Iterator[bytes]:
        columns = dict(zip(structs[0].__struct_fields__, zip(*map(astuple, structs), strict=True), strict=True))
        columns |= {name: (value,) * len(structs) for name, value in more.items()}
        header = self._schema.header
        return (header + payload for payload in self._rows.encode([columns[name] for name in self._names]))


def origin(topic: str, partition: int) -> dict[str, Any]:
    """Return what the records of a source have in ORIGIN, besides the offset."""
    return dict(zip(ORIGIN, (topic, partition), strict=False))


def without_event(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return RunState's schema behind its first field: the part that goes through the columnar codec."""
    return {**document, "fields": document["fields"][1:]}


def names(kind: type[Struct]) -> list[str]:
    """Return the names of a record's fields, in their order, EVENT left out."""
    fields = [name for name in kind.__struct_fields__ if name != EVENT]
    at = fields.index(OFFSET)
    return [*fields[:at], *ORIGIN, *fields[at + 1 :]]


for _kind, _name in ((Run, "run_state"), (Transition, "run_transition")):
    if [_field["name"] for _field in load(_name).document["fields"] if _field["name"] != EVENT] != names(_kind):
        raise ImportError(f"the fields of {_kind.__name__} and of schemas/{_name}.avsc differ, or their order does")
