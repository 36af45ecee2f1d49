"""The reference decoder: a strict skim, then fastavro, one by one. Slow, takes every schema, says what is wrong."""

import io
from typing import Any

import fastavro

from streamproc.codec.arrival import Framed
from streamproc.codec.reading import event_of
from streamproc.codec.schemas import WriterSchema
from streamproc.codec.skim import Malformed, TooComplex
from streamproc.codec.values import DAMAGED
from streamproc.core.model import RunEvent
from streamproc.errors import RecordRejected


def skim(framed: Framed, schema: WriterSchema) -> int:
    """Return how many cells a record takes in columns.

    Raises RecordRejected (`undecodable`, `trailing_bytes`, `too_complex`) for what is not one record of a schema.
    """
    try:
        end, cells = schema.skimmer.skim(framed.payload)
    except Malformed as error:
        raise RecordRejected("undecodable", f"not an Avro record of {schema.where}: {error}") from None
    except TooComplex as error:
        raise RecordRejected("too_complex", f"a record of {schema.where} cannot be taken: {error}") from None
    if end != len(framed.payload):
        raise RecordRejected("trailing_bytes", f"bytes are left over after the record of {schema.where}")
    return cells


def decode_one(framed: Framed, schema: WriterSchema) -> RunEvent:
    """Decode one record; raises RecordRejected: what `skim` and `arrival.check` raise."""
    skim(framed, schema)
    try:
        found: Any = fastavro.schemaless_reader(
            io.BytesIO(framed.payload), schema.parsed, None, handle_unicode_errors=DAMAGED
        )
        return event_of(found, framed, schema.label, schema.getters)
    except RecordRejected:
        raise
    except Exception as error:
        # The error's own text may quote the payload: its type is all that is shown.
        raise RecordRejected("undecodable", f"not an Avro record of {schema.where} ({type(error).__name__})") from error
