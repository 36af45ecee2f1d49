"""RunAlert records, both ways. There are few of them, so the reference codec does."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import convert
from msgspec.structs import asdict

from streamproc.codec.arrival import Arrival
from streamproc.codec.cloudevents import CloudEvents
from streamproc.codec.encode import Message, Source
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames, load_framed, unframe
from streamproc.core.alerts import Alert
from streamproc.errors import RecordRejected

VERSIONS = ("run_alert",)


class AlertEncoder:
    """Encodes the alerts of one application."""

    def __init__(self, application_id: str, frames: Frames = SINGLE_OBJECTS) -> None:
        self._schema = load_framed("run_alert", frames)
        self._events = CloudEvents("streamproc.run.alert", f"/streamproc/{application_id}/alerts", self._schema.label)

    def messages(self, alerts: Iterable[Alert], wall_ms: int, source: Source | None = None) -> list[Message]:
        """Return a message for each alert; no record's timestamp is ahead of `wall_ms`.

        `source`: where the runs' events come from, for alerts that have an offset.
        """
        place = {} if source is None else {"source_topic": source.topic, "source_partition": source.partition}
        return [self._message(alert, asdict(alert) | place, wall_ms) for alert in alerts]

    def _message(self, alert: Alert, said: Mapping[str, Any], wall_ms: int) -> Message:
        headers = self._events.headers(f"{alert.alert_id}:{alert.state}".encode(), alert.decided_at)
        return alert.key.encode(), self._schema.frame(said), max(0, min(alert.decided_at, wall_ms)), headers


def decode_alert(record: Arrival) -> Alert:
    """Return the alert that a record holds; raises RecordRejected where it holds none that this release can read."""
    try:
        return convert(unframe(record, VERSIONS, "RunAlert"), Alert)
    except RecordRejected:
        raise
    except Exception as error:  # whatever damaged bytes make the decoder raise
        raise RecordRejected("undecodable", f"no valid RunAlert ({type(error).__name__})") from error
