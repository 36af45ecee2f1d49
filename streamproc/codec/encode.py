"""What a commit says, as Kafka messages: framed Avro with CloudEvents headers, encoded a column at a time."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, repeat
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


class States(NamedTuple):
    """What changed of one partition's runs in the commit `sequence`.

    `causes`: offsets of the events that changed a state without being applied, CLOCK where it was the clock in that
    commit: else the ids of two states of a run would be the same (rules.md 22).
    """

    partition: int
    runs: Sequence[Run]
    causes: Mapping[str, int] = NOTHING_ELSE
    sequence: int = 0


class JointEncoder:
    """Encodes the outputs of an input topic's partitions, all of a commit in one go: a call costs 100 µs by itself."""

    def __init__(self, application_id: str, topic: str, frames: Frames = SINGLE_OBJECTS) -> None:
        transition, state = load_framed("run_transition", frames), load_framed("run_state", frames)
        prefix = f"/streamproc/{application_id}"
        self._topic = topic
        self._transition_header = transition.header
        self._state_header = state.header
        self._transition_rows = RowEncoder(transition.document)
        self._state_rows = RowEncoder(without_event(state.document))
        self._transition_events = CloudEvents("streamproc.run.transition", f"{prefix}/transitions", transition.label)
        self._state_events = CloudEvents("streamproc.run.state", f"{prefix}/state", state.label)

    def transitions(self, changed: Sequence[tuple[int, Sequence[Transition]]], wall_ms: int) -> list[list[Message]]:
        """Return, for each partition and its changes, a message for each change.

        No record's timestamp is ahead of `wall_ms`, or a broker refuses it.
        """
        rows = [change for _, changes in changed for change in changes]
        if not rows:
            return [[] for _ in changed]
        columns = list(zip(*map(astuple, rows), strict=True))
        places = [(partition, len(changes)) for partition, changes in changed]
        payloads = iter(self._transition_rows.encode(self._with_origin(columns, OFFSET_AT, places)))
        header, headers = self._transition_header, self._transition_events.headers
        messages: list[list[Message]] = []
        for partition, changes in changed:
            place = self._place(partition)
            messages.append(
                [
                    (
                        change.run_id.encode(),
                        header + next(payloads),
                        change.occurred_at if change.occurred_at < wall_ms else wall_ms,  # noqa: FURB136  min() is a call
                        headers(b"%b:%d" % (place, change.offset), change.occurred_at),
                    )
                    for change in changes
                ]
            )
        return messages

    def states(self, changed: Sequence[States], wall_ms: int) -> list[list[Message]]:
        """Return, for each partition, a message with the state of each run that changed."""
        rows = [run for each in changed for run in each.runs]
        if not rows:
            return [[] for _ in changed]
        columns = list(zip(*map(astuple, rows), strict=True))
        events = iter(columns.pop(EVENT_AT))
        places = [(each.partition, len(each.runs)) for each in changed]
        payloads = iter(self._state_rows.encode(self._with_origin(columns, RUN_OFFSET_AT, places)))
        header, headers = self._state_header, self._state_events.headers
        messages: list[list[Message]] = []
        for each in changed:
            place, causes, sequence = self._place(each.partition), each.causes, each.sequence
            messages.append(
                [
                    (
                        run.run_id.encode(),
                        b"".join((header, _length(len(event := next(events))), event, next(payloads))),
                        run.status_since if run.status_since < wall_ms else wall_ms,  # noqa: FURB136  min() is a call
                        headers(
                            b"%b:%d" % (place, run.offset)
                            if run.run_id not in causes
                            else _caused(place, run, causes[run.run_id], sequence),
                            run.status_since,
                        ),
                    )
                    for run in each.runs
                ]
            )
        return messages

    def tombstones(
        self, partition: int, forgotten: Mapping[str, int], now_ms: int, sequence: int, wall_ms: int
    ) -> list[Message]:
        """Return a null for each run forgotten at `now_ms`; `forgotten` maps run ids to their last event's offset."""
        headers, place = self._state_events.headers, self._place(partition)
        return [
            (run_id.encode(), None, min(now_ms, wall_ms), headers(b"%b:%d:%d" % (place, offset, sequence), now_ms))
            for run_id, offset in forgotten.items()
        ]

    def _place(self, partition: int) -> bytes:
        return f"{self._topic}:{partition}".encode()

    def _with_origin(
        self, columns: Sequence[Sequence[Any]], at: int, places: Sequence[tuple[int, int]]
    ) -> list[Sequence[Any]]:
        """Return the columns with those of the source put in front of the offsets, which are at `at`.

        `places`: partitions, and how many rows each has.
        """
        partitions = list(chain.from_iterable(repeat(partition, count) for partition, count in places))
        return [*columns[:at], [self._topic] * len(partitions), partitions, *columns[at:]]


class OutputEncoder:
    """Encodes the outputs of one input partition."""

    def __init__(self, source: Source, frames: Frames = SINGLE_OBJECTS) -> None:
        self._partition = source.partition
        self._joint = JointEncoder(source.application_id, source.topic, frames)

    def transitions(self, changes: Sequence[Transition], wall_ms: int) -> list[Message]:
        """Return a message for each change."""
        return self._joint.transitions([(self._partition, changes)], wall_ms)[0]

    def states(
        self, runs: Sequence[Run], wall_ms: int, causes: Mapping[str, int] = NOTHING_ELSE, sequence: int = 0
    ) -> list[Message]:
        """Return a message with the state of each run; see `States`."""
        return self._joint.states([States(self._partition, runs, causes, sequence)], wall_ms)[0]

    def tombstones(self, forgotten: Mapping[str, int], now_ms: int, sequence: int, wall_ms: int) -> list[Message]:
        """Return a null for each run forgotten at `now_ms`."""
        return self._joint.tombstones(self._partition, forgotten, now_ms, sequence, wall_ms)


def _caused(place: bytes, run: Run, cause: int, sequence: int) -> bytes:
    return b"%b:%d:%d" % (place, run.offset, sequence) if cause == CLOCK else b"%b:%d" % (place, cause)
