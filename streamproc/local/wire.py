"""Encodes a simulated run's events (Avro single-object encoding), and makes bad values of them."""

import io
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from random import Random
from typing import Any, NamedTuple

import fastavro
from fastavro.types import Schema

from streamproc.codec import schemas
from streamproc.codec.framing import CONFLUENT_MAGIC, SINGLE_OBJECT, SINGLE_OBJECT_BYTES
from streamproc.local.assistants import Assistant
from streamproc.local.scenario import BLANK, SimulatedRun

_EVENT, _RUN, _ASSISTANT = "event", "run", "assistant"
_RUN_FIELDS = frozenset({"id", "object", "created_at", "thread_id", "assistant_id", "metadata"})


class _Slice(NamedTuple):
    """Adjacent fields of the RunObject that stay the same for an assistant, for a run, or not at all."""

    repeats_with: str
    schema: Schema


class Encoder:
    """Encodes the events of one version's runs.

    A record is encoded as its fields one after the other, so fields that stay the same are encoded once.
    """

    def __init__(self, version: str) -> None:
        schema = schemas.load(f"run_object_{version}")
        self._header = schema.header
        self._slices = tuple(_slices(schema.document["fields"]))
        self._by_assistant: dict[Assistant, tuple[bytes, ...]] = {}

    def encode(self, run: SimulatedRun) -> bytes:
        """Return the run's event for its present state."""
        if not run.template:
            run.template = tuple(self._template(run))
        return b"".join([part if isinstance(part, bytes) else _encode(part, run.state) for part in run.template])

    def _template(self, run: SimulatedRun) -> Iterator[bytes | Schema]:
        """Yield the parts of the run's events: bytes that stay the same, or the schema of fields that change."""
        yield self._header
        shared = iter(self._shared(run))
        own = _own_fields(run)
        for repeats_with, schema in self._slices:
            if repeats_with == _EVENT:
                yield schema
            else:
                yield next(shared) if repeats_with == _ASSISTANT else _encode(schema, own)

    def _shared(self, run: SimulatedRun) -> tuple[bytes, ...]:
        assistant = run.thread.assistant
        if assistant not in self._by_assistant:
            fields = assistant.fields[run.version]
            self._by_assistant[assistant] = tuple(
                _encode(schema, fields) for repeats_with, schema in self._slices if repeats_with == _ASSISTANT
            )
        return self._by_assistant[assistant]


def _slices(fields: list[dict[str, Any]]) -> Iterator[_Slice]:
    for repeats_with, group in groupby(fields, key=lambda field: _repeats_with(field["name"])):
        schema = {"type": "record", "name": "Slice", "fields": list(group)}
        yield _Slice(repeats_with, fastavro.parse_schema(schema))


def _repeats_with(field: str) -> str:
    if field in BLANK:
        return _EVENT
    return _RUN if field in _RUN_FIELDS else _ASSISTANT


def _own_fields(run: SimulatedRun) -> dict[str, Any]:
    return {
        "id": run.id,
        "object": "thread.run",
        "created_at": run.created_at,
        "thread_id": run.thread.id,
        "assistant_id": run.thread.assistant.id,
        "metadata": run.thread.metadata,
    }


def _encode(schema: Schema, values: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, values)
    return buffer.getvalue()


def _text_event(rng: Random, _value: bytes) -> bytes:
    return f"id=run_{rng.getrandbits(64):x}&status=queued".encode()


def _other_fingerprint(rng: Random, value: bytes) -> bytes:
    return SINGLE_OBJECT + rng.randbytes(8) + value[SINGLE_OBJECT_BYTES:]


def _other_framing(rng: Random, value: bytes) -> bytes:
    # Ids from a million up: no registry that a test sets up gets there.
    return bytes([CONFLUENT_MAGIC]) + rng.randrange(10**6, 2**31).to_bytes(4, "big") + value[SINGLE_OBJECT_BYTES:]


def _truncated(rng: Random, value: bytes) -> bytes:
    return value[: rng.randrange(SINGLE_OBJECT_BYTES, len(value))]


def _garbage(rng: Random, value: bytes) -> bytes:
    # The first length reaches beyond the end, so that no decoder reads a RunObject from it by chance.
    return value[:SINGLE_OBJECT_BYTES] + b"\xfe\xff\xff\xff\x0f" + rng.randbytes(64)


def _empty_run_id(_rng: Random, value: bytes) -> bytes:
    id_bytes = value[SINGLE_OBJECT_BYTES] // 2  # the id comes first, its length as a zigzag varint of one byte
    return value[:SINGLE_OBJECT_BYTES] + b"\x00" + value[SINGLE_OBJECT_BYTES + 1 + id_bytes :]


BAD_VALUES: Mapping[str, Callable[[Random, bytes], bytes | None]] = {
    "null_value": lambda _rng, _value: None,
    "empty_value": lambda _rng, _value: b"",
    "unknown_magic": _text_event,
    "unknown_fingerprint": _other_fingerprint,
    "unknown_schema_id": _other_framing,
    "truncated": _truncated,
    "trailing_bytes": lambda rng, value: value + rng.randbytes(12),
    "garbage": _garbage,
    "empty_run_id": _empty_run_id,
}
"""Functions that make a bad value from a good one, by the reason of its rejection."""
