"""The reference decoder: a strict skim, then fastavro, record by record. Slow; takes every schema, and names faults."""

import io
from typing import Any

import fastavro

from streamproc.codec.arrival import Framed
from streamproc.codec.schemas import WriterSchema
from streamproc.codec.skim import Fault, Faulty
from streamproc.codec.targets import event_of
from streamproc.codec.values import DAMAGED
from streamproc.core.model import RunEvent
from streamproc.errors import RecordRejected, RejectionReason


def refusal(fault: Fault, where: str) -> RecordRejected:
    """Return the error for a payload with a fault; `where` names its schema."""
    match fault.reason:
        case RejectionReason.UNDECODABLE:
            text = f"not an Avro record of {where}: {fault.words}"
        case RejectionReason.TOO_COMPLEX:
            text = f"a record of {where} cannot be taken: {fault.words}"
        case _:
            text = f"{fault.words} after the record of {where}"
    return RecordRejected(fault.reason, text)


def skim(framed: Framed, schema: WriterSchema) -> None:
    """Check that a payload is exactly one record of a schema.

    Raises RecordRejected (`undecodable`, `trailing_bytes`, `too_complex`).
    """
    try:
        schema.skimmer.check(framed.payload)
    except Faulty as error:
        raise refusal(error.fault, schema.where) from None


def decode_one(framed: Framed, schema: WriterSchema) -> RunEvent:
    """Decode one record; raises RecordRejected (`undecodable`, and what `skim` and `event_of` raise)."""
    skim(framed, schema)
    try:
        fields: Any = fastavro.schemaless_reader(
            io.BytesIO(framed.payload), schema.parsed, None, handle_unicode_errors=DAMAGED
        )
        return event_of(fields, framed, schema.label, schema.getters)
    except RecordRejected:
        raise
    except Exception as error:
        # The error's own text may quote the payload: its type is all that is shown.
        raise RecordRejected(
            RejectionReason.UNDECODABLE, f"not an Avro record of {schema.where} ({type(error).__name__})"
        ) from error
