"""RunVerdict records: what became of the arrivals that changed no status."""

from collections.abc import Sequence

from streamproc.codec.cloudevents import CloudEvents
from streamproc.codec.encode import Message, Source
from streamproc.codec.rows import RecordEncoder, origin
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames, load_framed
from streamproc.core.model import Ruling


class VerdictEncoder:
    """Encodes the rulings of one application."""

    def __init__(self, application_id: str, frames: Frames = SINGLE_OBJECTS) -> None:
        schema = load_framed("run_verdict", frames)
        self._records = RecordEncoder(schema)
        self._events = CloudEvents("streamproc.run.verdict", f"/streamproc/{application_id}/verdicts", schema.label)

    def messages(self, rulings: Sequence[Ruling], wall_ms: int, source: Source) -> list[Message]:
        """Return a message for each ruling; no record's timestamp is ahead of `wall_ms`."""
        place, headers = f"{source.topic}:{source.partition}".encode(), self._events.headers
        records = self._records.encode(rulings, origin(source.topic, source.partition))
        return [
            (
                ruling.run_id.encode(),
                record,
                min(ruling.occurred_at, wall_ms),
                headers(b"%b:%d" % (place, ruling.source_offset), ruling.occurred_at),
            )
            for ruling, record in zip(rulings, records, strict=True)
        ]
