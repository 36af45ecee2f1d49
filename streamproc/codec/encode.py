"""What a commit says, as Kafka messages: framed Avro with CloudEvents headers, encoded a column at a time."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec.structs import astuple

from streamproc.codec.cloudevents import CloudEvents, Headers
from streamproc.codec.rows import EVENT, OFFSET, RowEncoder, without_event
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames, load_framed, varint
from streamproc.core.model import Run, Transition
from streamproc.core.step import CLOCK

Message = tuple[bytes | None, bytes | None, int, Headers]
"""One record to be produced: key, value (None: a tombstone), timestamp in milliseconds, headers. Its partition is the
input's. A plain tuple, since two are made for each event."""

NOTHING_ELSE: Mapping[str, int] = {}
EVENT_AT = Run.__struct_fields__.index(EVENT)
RUN_OFFSET_AT, OFFSET_AT = (kind.__struct_fields__.index(OFFSET) for kind in (Run, Transition))

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
        self._transition_rows = RowEncoder(transition.document)
        self._state_rows = RowEncoder(without_event(state.document))
        self._transition_events = CloudEvents("streamproc.run.transition", f"{prefix}/transitions", transition.label)
        self._state_events = CloudEvents("streamproc.run.state", f"{prefix}/state", state.label)

    def transitions(self, changes: Sequence[Transition], wall_ms: int) -> list[Message]:
        """Return a message for each change; no record's timestamp is ahead of `wall_ms`, or a broker refuses it."""
        if not changes:
            return []
        columns = list(zip(*map(astuple, changes), strict=True))
        payloads = self._transition_rows.encode(self._with_origin(columns, OFFSET_AT))
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
        columns = list(zip(*map(astuple, runs), strict=True))
        events = columns.pop(EVENT_AT)
        payloads = self._state_rows.encode(self._with_origin(columns, RUN_OFFSET_AT))
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

    def _with_origin(self, columns: Sequence[Sequence[Any]], at: int) -> list[Sequence[Any]]:
        """Return the columns with those of the source put in front of the offsets, which are at `at`."""
        count = len(columns[at])
        return [*columns[:at], [self._source.topic] * count, [self._source.partition] * count, *columns[at:]]


def _caused(place: bytes, run: Run, cause: int, sequence: int) -> bytes:
    return b"%b:%d:%d" % (place, run.offset, sequence) if cause == CLOCK else b"%b:%d" % (place, cause)
