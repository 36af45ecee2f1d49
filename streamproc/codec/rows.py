"""Runs and transitions as rows of Avro records: which field of the struct is which of the schema, and the encoding.

The order of a struct's fields is that of its schema; that is seen to at import, since columns are matched by it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyruhvro
from msgspec import Struct

from streamproc.codec.schemas import load
from streamproc.core.model import Run, Transition

EVENT, OFFSET = "event", "offset"
ORIGIN = ("source_topic", "source_partition", "source_offset")
"""What a record has where its struct has OFFSET."""


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
