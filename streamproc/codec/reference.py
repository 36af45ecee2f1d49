"""The reference decoder: fastavro, one record at a time. Slow, takes every schema, and says what is wrong."""

import io
from collections.abc import Mapping
from sys import intern
from typing import Any

import fastavro

from streamproc.codec.arrival import TIMES, USAGE, Framed, check, instants
from streamproc.codec.schemas import WriterSchema
from streamproc.core.model import RunEvent, Usage
from streamproc.errors import RecordRejected


def decode_one(framed: Framed, schema: WriterSchema) -> RunEvent:
    """Decode one record; raises RecordRejected (`undecodable`, `trailing_bytes`, and what `arrival.check` raises)."""
    stream = io.BytesIO(framed.payload)
    try:
        found: Any = fastavro.schemaless_reader(stream, schema.parsed, None)
        event = event_of(found, framed, schema.label)
    except Exception as error:
        # The error's own text may quote the payload: its type is all that is shown.
        raise RecordRejected("undecodable", f"not an Avro record of {schema.label} ({type(error).__name__})") from error
    if stream.read(1):
        raise RecordRejected("trailing_bytes", f"bytes are left over after the record of {schema.label}")
    check(event)
    return event


def event_of(found: Mapping[str, Any], framed: Framed, label: str) -> RunEvent:
    """Return the RunEvent of a decoded RunObject."""
    values: tuple[Any, ...] = (
        found["id"],
        intern(found["status"]),
        found.get("thread_id"),
        _shared(found.get("assistant_id")),
        _shared(found.get("model")),
        *(found.get(name) for name in TIMES),
        _usage(found.get("usage")),
        _shared((found.get("last_error") or {}).get("code")),
        _required_tools(found.get("required_action")),
        framed.record.key,
        instants([framed.record.timestamp])[0],
        framed.record.offset,
        label,
        framed.payload,
    )
    return RunEvent(*values)


def _shared(text: str | None) -> str | None:
    return None if text is None else intern(text)


def _usage(found: Mapping[str, int] | None) -> Usage | None:
    if found is None:
        return None
    prompt, completion, total = (found[name] for name in USAGE)
    return prompt, completion, total


def _required_tools(found: Mapping[str, Any] | None) -> tuple[str, ...]:
    outputs = (found or {}).get("submit_tool_outputs") or {}
    return tuple(intern(call["function"]["name"]) for call in outputs.get("tool_calls") or ())
