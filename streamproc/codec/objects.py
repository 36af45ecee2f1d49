"""A producer's whole object, ready for JSON, for people to read."""

import json
from io import BytesIO
from typing import Any

import fastavro

from streamproc.codec.arrival import Bare, Framed
from streamproc.codec.jsonobject import JsonFormat
from streamproc.codec.reference import skim
from streamproc.codec.schemas import WriterSchema
from streamproc.codec.values import DAMAGED
from streamproc.errors import RecordRejected, RejectionReason

LARGEST = 2**53
"""Integers from here on are shown as text: JavaScript would round them."""
DEEPEST = 100


def object_of(payload: bytes, schema: WriterSchema | JsonFormat) -> Any:
    """Return the object in a payload (without framing) as JSON values; bytes become hexadecimal texts.

    Raises RecordRejected where the payload is not valid for the schema.
    """
    try:
        if isinstance(schema, JsonFormat):
            return _plain(json.loads(payload.decode("utf-8-sig", DAMAGED)))
        skim(Framed(Bare(0, 0, payload), payload), schema)
        return _plain(fastavro.schemaless_reader(BytesIO(payload), schema.parsed, None, handle_unicode_errors=DAMAGED))
    except RecordRejected:
        raise
    except Exception as error:  # whatever damaged bytes make the decoders raise
        raise RecordRejected(
            RejectionReason.UNDECODABLE, f"it is no object of {schema.label} ({type(error).__name__})"
        ) from error


def _plain(value: Any, depth: int = 0) -> Any:
    if depth > DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {_text(str(name)): _plain(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return _text(value)
    is_exact = value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < LARGEST)
    return value if is_exact else str(value)


def _text(value: str) -> str:
    """Return a text without halves of surrogate pairs, which cannot be encoded."""
    return value.encode("utf-8", "replace").decode()
