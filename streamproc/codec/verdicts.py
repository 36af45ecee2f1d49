"""RunVerdict records: what became of the arrivals that changed no status."""

from collections.abc import Sequence

from streamproc.codec.cloudevents import CloudEvents
from streamproc.codec.encode import OutputSource
from streamproc.codec.message import Messages
from streamproc.codec.rows import EventEncoder
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames, load_framed
from streamproc.core.model import Ruling


class VerdictEncoder:
    """Encodes the rulings of one application."""

    def __init__(self, application_id: str, frames: Frames = SINGLE_OBJECTS) -> None:
        schema = load_framed("run_verdict", frames)
        events = CloudEvents("streamproc.run.verdict", f"/streamproc/{application_id}/verdicts", schema.label)
        self._rulings = EventEncoder(schema, Ruling, events, "occurred_at")

    def messages(self, rulings: Sequence[Ruling], wall_ms: int, source: OutputSource) -> Messages:
        """Return a message for each ruling."""
        return self._rulings.encode(rulings, source.origin, wall_ms)
