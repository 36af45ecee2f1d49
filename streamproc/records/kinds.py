"""The kinds of output topics, and a record of one as a document: its schema's fields, and its place."""

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
    """A topic, by its name in the settings (`role`), and its records: their name, and their bundled schemas.

    `key`: the field that the record's key has; `gone`: the field that a tombstone sets to true.
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
    """Return a record's fields, ready for JSON: times in milliseconds, bytes in base64.

    `topic`, `partition`, `offset` and `timestamp` are those of the record itself. A record that cannot be read has the
    field `unreadable`, which says why.
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
    return {**{name: _plain(value) for name, value in fields.items()}, **place}


def is_of(record: Arrival, run_id: str) -> bool:
    """Tell whether a record is about a run, by its key; a dead letter has the key of its event."""
    return record.key == run_id.encode(errors="surrogateescape")


def _letter(record: Arrival, partition: int) -> dict[str, Any]:
    letter = letter_of(record, partition)
    if not isinstance(letter, Letter):
        return {"unreadable": letter.flaw}
    return {
        "reason": letter.reason,
        "message": letter.message,
        "schema": letter.schema,
        "source_topic": letter.source.topic,
        "source_partition": letter.source.partition,
        "source_offset": letter.source.offset,
        "source_timestamp": letter.source.timestamp,
        "bytes": letter.size,
        "attempt": letter.attempt,
    }


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode(errors="replace")
