"""What a commit says, as Kafka messages: framed Avro with CloudEvents headers, encoded a column at a time."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa
import pyruhvro
from msgspec.structs import astuple

from streamproc.codec.cloudevents import CloudEvents, Headers
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames, load_framed, varint
from streamproc.core.model import Run, Transition
from streamproc.core.step import CLOCK

Message = tuple[bytes | None, bytes | None, int, Headers]
"""One record to be produced: key, value (None: a tombstone), timestamp in milliseconds, headers. Its partition is the
input's. A plain tuple, since two are made for each event."""

NOTHING_ELSE: Mapping[str, int] = {}

_length = lru_cache(maxsize=8_192)(varint)


class Source(NamedTuple):
    """Where the events come from, as the outputs say it."""

    application_id: str
    topic: str
    partition: int


class OutputEncoder:
    """Encodes the outputs of one input partition."""

    def __init__(self, source: Source, frames: Frames = SINGLE_OBJECTS) -> None:
        transition, state = load_framed("run_transition", frames), load_framed("run_state", frames)
        prefix = f"/streamproc/{source.application_id}"
        self._source = source
        self._place = f"{source.topic}:{source.partition}".encode()
        self._transition_header = transition.header
        self._state_header = state.header
        self._transition_rows = _RowEncoder(transition.document)
        self._state_rows = _RowEncoder(without_event(state.document))
        self._transition_events = CloudEvents("streamproc.run.transition", f"{prefix}/transitions", transition.label)
        self._state_events = CloudEvents("streamproc.run.state", f"{prefix}/state", state.label)

    def transitions(self, changes: Sequence[Transition], wall_ms: int) -> list[Message]:
        """Return a message for each change; no record's timestamp is ahead of `wall_ms`, or a broker refuses it."""
        if not changes:
            return []
        columns = list(zip(*map(astuple, changes), strict=True))
        payloads = self._transition_rows.encode([*columns[:-1], *self._origin(columns[-1])])
        header, headers, place = self._transition_header, self._transition_events.headers, self._place
        return [
            (
                change.run_id.encode(),
                header + payload,
                change.occurred_at if change.occurred_at < wall_ms else wall_ms,  # noqa: FURB136  min() is a call
                headers(b"%b:%d" % (place, change.offset), change.occurred_at),
            )
            for change, payload in zip(changes, payloads, strict=True)
        ]

    def states(
        self, runs: Sequence[Run], wall_ms: int, causes: Mapping[str, int] = NOTHING_ELSE, sequence: int = 0
    ) -> list[Message]:
        """Return a message with the state of each run.

        `causes`: offsets of the events that changed a state without being applied, CLOCK where it was the clock in the
        commit `sequence`: else the ids of two states of a run would be the same (rules.md 22).
        """
        if not runs:
            return []
        *columns, offsets, schemas, events = zip(*map(astuple, runs), strict=True)
        payloads = self._state_rows.encode([*columns, *self._origin(offsets), schemas])
        header, headers, place = self._state_header, self._state_events.headers, self._place
        return [
            (
                run.run_id.encode(),
                b"".join((header, _length(len(event)), event, payload)),
                run.status_since if run.status_since < wall_ms else wall_ms,  # noqa: FURB136  min() is a call
                headers(
                    b"%b:%d" % (place, run.offset)
                    if run.run_id not in causes
                    else _caused(place, run, causes[run.run_id], sequence),
                    run.status_since,
                ),
            )
            for run, event, payload in zip(runs, events, payloads, strict=True)
        ]

    def tombstones(self, forgotten: Mapping[str, int], now_ms: int, sequence: int, wall_ms: int) -> list[Message]:
        """Return a null for each run forgotten at `now_ms`; `forgotten` maps run ids to their last event's offset."""
        headers, place = self._state_events.headers, self._place
        return [
            (run_id.encode(), None, min(now_ms, wall_ms), headers(b"%b:%d:%d" % (place, offset, sequence), now_ms))
            for run_id, offset in forgotten.items()
        ]

    def _origin(self, offsets: Sequence[int]) -> list[Any]:
        """Return the columns source_topic, source_partition and source_offset."""
        count = len(offsets)
        return [[self._source.topic] * count, [self._source.partition] * count, offsets]


def _caused(place: bytes, run: Run, cause: int, sequence: int) -> bytes:
    return b"%b:%d:%d" % (place, run.offset, sequence) if cause == CLOCK else b"%b:%d" % (place, cause)


class _RowEncoder:
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
