"""RunAlert records, both ways."""

from collections.abc import Sequence

from msgspec.structs import replace

from streamproc.codec.arrival import Arrival
from streamproc.codec.cloudevents import CloudEvents
from streamproc.codec.encode import OutputSource
from streamproc.codec.message import Message
from streamproc.codec.rows import RecordEncoder
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames, load_framed, read_as
from streamproc.core.alerts import Alert

VERSIONS = ("run_alert",)


class AlertEncoder:
    """Encodes the alerts of one application."""

    def __init__(self, application_id: str, frames: Frames = SINGLE_OBJECTS) -> None:
        schema = load_framed("run_alert", frames)
        self._records = RecordEncoder(schema, Alert)
        self._events = CloudEvents("streamproc.run.alert", f"/streamproc/{application_id}/alerts", schema.label)

    def messages(self, alerts: Sequence[Alert], wall_ms: int, source: OutputSource | None = None) -> list[Message]:
        """Return a message for each alert; no record's timestamp is ahead of `wall_ms`.

        `source`: where the events of the runs come from; needed for alerts with an offset.
        """
        if source is not None:
            place = {"source_topic": source.topic, "source_partition": source.partition}
            alerts = [replace(alert, **place) for alert in alerts]
        headers = self._events.headers
        return [
            (
                alert.key.encode(),
                value,
                max(0, min(alert.decided_at, wall_ms)),
                headers(f"{alert.alert_id}:{alert.state}".encode(), alert.decided_at),
            )
            for alert, value in zip(alerts, self._records.encode(alerts), strict=True)
        ]


def decode_alert(record: Arrival) -> Alert:
    """Return the alert that a record holds; raises RecordRejected where it holds none that this release can read."""
    return read_as(Alert, record, VERSIONS, "RunAlert")
