"""The outputs about runs as Kafka messages: framed Avro with CloudEvents headers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streamproc.codec.cloudevents import CloudEvents
from streamproc.codec.message import Message, Messages
from streamproc.codec.rows import EventEncoder, Origin, place_of
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames, load_framed
from streamproc.core.model import Run, Transition
from streamproc.core.step import CLOCK

NOTHING_ELSE: Mapping[str, int] = {}


class OutputSource(NamedTuple):
    """Where the events come from, as written in the outputs."""

    application_id: str
    topic: str
    partition: int

    @property
    def origin(self) -> Origin:
        """The partition alone."""
        return Origin(self.topic, self.partition)


class OutputEncoder:
    """Encodes the transitions and states of the runs of one input partition."""

    def __init__(self, source: OutputSource, frames: Frames = SINGLE_OBJECTS) -> None:
        transition, state = load_framed("run_transition", frames), load_framed("run_state", frames)
        prefix = f"/streamproc/{source.application_id}"
        transition_events = CloudEvents("streamproc.run.transition", f"{prefix}/transitions", transition.label)
        self._state_events = CloudEvents("streamproc.run.state", f"{prefix}/state", state.label)
        self._origin, self._place = source.origin, place_of(source.origin)
        self._transitions = EventEncoder(transition, Transition, transition_events, "occurred_at")
        self._states = EventEncoder(state, Run, self._state_events, "status_since")

    def transitions(self, changes: Sequence[Transition], wall_ms: int) -> Messages:
        """Return a message for each transition."""
        return self._transitions.encode(changes, self._origin, wall_ms)

    def states(
        self, runs: Sequence[Run], wall_ms: int, causes: Mapping[str, int] = NOTHING_ELSE, sequence: int = 0
    ) -> Messages:
        """Return a message with the state of each run that changed in the commit `sequence`.

        `causes`: by run id, the offset of an event that changed the state without being applied, or CLOCK where the
        clock did. Without them, two states of a run would have the same id (rules.md 22).
        """
        ids = {}
        for number, run in enumerate(runs) if causes else ():
            cause = causes.get(run.run_id)
            if cause is not None:
                ids[number] = self._id(run.offset, sequence) if cause == CLOCK else b"%b:%d" % (self._place, cause)
        return self._states.encode(runs, self._origin, wall_ms, ids)

    def tombstones(self, forgotten: Mapping[str, int], now_ms: int, sequence: int, wall_ms: int) -> list[Message]:
        """Return a tombstone for each run forgotten at `now_ms`; `forgotten`: offsets of the last events, by run id."""
        headers, time_ms = self._state_events.headers, min(now_ms, wall_ms)
        return [
            (run_id.encode(), None, time_ms, headers(self._id(offset, sequence), now_ms))
            for run_id, offset in forgotten.items()
        ]

    def _id(self, offset: int, sequence: int) -> bytes:
        return b"%b:%d:%d" % (self._place, offset, sequence)
