"""The job as its users would write it in Python: Avro in, one run folded with one event, a transition out.

Imported by the peers in environments of their own, which have fastavro and nothing of the service.
"""

import io
import json
from pathlib import Path
from typing import Any

import fastavro

HERE = Path(__file__).parent
SCHEMAS = HERE.parents[2] / "schemas"
HEADER_BYTES = 10
"""C3 01 and the schema's fingerprint: Avro single-object encoding."""

OUTCOMES = {
    "completed": "succeeded",
    "incomplete": "incomplete",
    "failed": "failed",
    "cancelled": "cancelled",
    "expired": "expired",
}
DOCUMENTED = {
    "queued": {"in_progress"},
    "in_progress": {"requires_action", "completed", "incomplete", "failed", "cancelling", "expired"},
    "requires_action": {"queued", "expired"},
    "cancelling": {"cancelled"},
}
ACCEPTED = {"queued": {"cancelling", "requires_action"}, "requires_action": {"in_progress", "cancelling"}}
"""What else may follow what; that a run ends is always accepted."""


def _parsed(path: Path) -> Any:
    return fastavro.parse_schema(json.loads(path.read_text()))


RUN_OBJECT = _parsed(SCHEMAS / "run_object_v2_1.avsc")
TRANSITION = _parsed(SCHEMAS / "run_transition.avsc")
RUN = _parsed(HERE / "run.avsc")
TRANSITION_HEADER = b"\xc3\x01" + bytes.fromhex(
    fastavro.schema.fingerprint(
        fastavro.schema.to_parsing_canonical_form(json.loads((SCHEMAS / "run_transition.avsc").read_text())),
        "CRC-64-AVRO",
    )
)


def decode(value: bytes) -> Any:
    """Return the RunObject of an event."""
    return fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), RUN_OBJECT, None)


def fold(run: Any, event: Any, value: bytes, timestamp: int, place: tuple[str, int, int]) -> tuple[Any, Any]:
    """Return the run after an event, and the transition that it made; None for what stays or is none.

    `place`: topic, partition and offset of the event.
    """
    status = event["status"]
    before = run["status"] if run else None
    if before == status and (status in OUTCOMES or run["event"] == value):
        return None, None
    if before != status and not _may_follow(before, status):
        return None, None
    error = event["last_error"]["code"] if event["last_error"] else None
    moves = before != status
    after = {
        "run_id": event["id"],
        "thread_id": event["thread_id"],
        "assistant_id": event["assistant_id"],
        "model": event["model"],
        "status": status,
        "status_since": timestamp if moves else run["status_since"],
        "created_at": run["created_at"] if run else event["created_at"],
        "started_at": run["started_at"] if run and run["started_at"] else event["started_at"],
        "expires_at": event["expires_at"] or (run and run["expires_at"]),
        "transitions": (run["transitions"] if run else 0) + moves,
        "error_code": error,
        "source_offset": place[2],
        "event": value,
    }
    return after, _transition(run, after, timestamp, place) if moves else None


def _may_follow(before: str | None, status: str) -> bool:
    if before is None:
        return True
    if before in OUTCOMES:
        return False
    known = before in DOCUMENTED and status in DOCUMENTED
    return not known or status in DOCUMENTED[before] or status in ACCEPTED.get(before, ())


def _transition(run: Any, after: Any, timestamp: int, place: tuple[str, int, int]) -> dict[str, Any]:
    before, status = run["status"] if run else None, after["status"]
    topic, partition, offset = place
    return {
        "run_id": after["run_id"],
        "thread_id": after["thread_id"],
        "assistant_id": after["assistant_id"],
        "model": after["model"],
        "from_status": before,
        "to_status": status,
        "occurred_at": timestamp,
        "in_from_ms": max(0, timestamp - run["status_since"]) if run else None,
        "expected": status in DOCUMENTED.get(before, ()) if before else status == "queued",
        "outcome": OUTCOMES.get(status),
        "error_code": after["error_code"],
        "source_topic": topic,
        "source_partition": partition,
        "source_offset": offset,
        "attempt": 1,
    }


def encode(transition: Any) -> bytes:
    """Return a transition as a record's value."""
    out = io.BytesIO()
    out.write(TRANSITION_HEADER)
    fastavro.schemaless_writer(out, TRANSITION, transition)
    return out.getvalue()


def headers(transition: Any) -> list[tuple[str, bytes]]:
    """Return the CloudEvents headers; ce_id is the event's place, by which repeats are found."""
    place = f"{transition['source_topic']}:{transition['source_partition']}:{transition['source_offset']}"
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", b"streamproc.run.transition"),
        ("ce_source", b"/peer/transitions"),
        ("content-type", b"application/avro"),
        ("ce_id", place.encode()),
    ]


def pack(run: Any) -> bytes:
    """Return a run as it is kept."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, RUN, run)
    return out.getvalue()


def unpack(kept: bytes) -> Any:
    """Return a run from what was kept of it."""
    return fastavro.schemaless_reader(io.BytesIO(kept), RUN, None)
