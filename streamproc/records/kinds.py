"""What a record of an output topic says: its fields under the names that its schema has, and where it lies."""

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple

from streamproc.codec import instances, runstate
from streamproc.codec.arrival import Arrival
from streamproc.codec.schemas import unframe
from streamproc.dlq.letter import Letter
from streamproc.dlq.letter import of as letter_of
from streamproc.errors import RecordRejected

DEAD_LETTERS = "dead-letters"


class TopicKind(NamedTuple):
    """A topic, as the settings name it, and what is in it: the record's name, and the bundled schemas of it.

    `key`: what the record's key is; `gone`: what a null says of it.
    """

    role: str
    record: str = ""
    versions: tuple[str, ...] = ()
    key: str = "run_id"
    gone: str = "forgotten"


KINDS: Mapping[str, TopicKind] = {
    "transitions": TopicKind("transitions", "RunTransition", ("run_transition", "run_transition_v1")),
    "verdicts": TopicKind("verdicts", "RunVerdict", ("run_verdict",)),
    "state": TopicKind("state", "RunState", runstate.VERSIONS),
    "alerts": TopicKind("alerts", "RunAlert", ("run_alert",)),
    "metrics": TopicKind("metrics", "RunMetrics", ("run_metrics",)),
    "instances": TopicKind("instances", "RunInstance", instances.VERSIONS, "instance_id", "stopped"),
    DEAD_LETTERS: TopicKind("dead_letters"),
}
"""By the names of the command line."""


def document(kind: TopicKind, topic: str, partition: int, record: Arrival) -> dict[str, Any]:
    """Return what a record says, ready for JSON: times in milliseconds, bytes in base64.

    `topic`, `partition`, `offset` and `timestamp` are those of the record itself. Of what cannot be read it says
    `unreadable`, and why.
    """
    place = {"topic": topic, "partition": partition, "offset": record.offset, "timestamp": record.timestamp}
    if not kind.versions:
        return {**_letter(record, partition), **place}
    if record.value is None:
        return {kind.key: _text(record.key), kind.gone: True, **place}
    try:
        fields = unframe(record, kind.versions, kind.record)
    except RecordRejected as error:
        return {"unreadable": str(error), **place}
    except Exception as error:  # noqa: BLE001  whatever damaged bytes make the decoder raise
        return {"unreadable": f"no valid {kind.record} ({type(error).__name__})", **place}
    return {**{name: _plain(value) for name, value in fields.items()}, **place}


def is_of(record: Arrival, run_id: str) -> bool:
    """Tell whether a record is about a run, by its key; a dead letter has that of its event."""
    return record.key == run_id.encode(errors="surrogateescape")


def _letter(record: Arrival, partition: int) -> dict[str, Any]:
    found = letter_of(record, partition)
    if not isinstance(found, Letter):
        return {"unreadable": found.flaw}
    return {
        "reason": found.reason,
        "message": found.message,
        "schema": found.schema,
        "source_topic": found.source.topic,
        "source_partition": found.source.partition,
        "source_offset": found.source.offset,
        "source_timestamp": found.source.timestamp,
        "bytes": found.size,
        "attempt": found.attempt,
    }


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode(errors="replace")
