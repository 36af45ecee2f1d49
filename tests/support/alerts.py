"""RunAlerts, and the bytes that run-alerts holds of them."""

from typing import Any

from streamproc.codec.alerts import AlertEncoder
from streamproc.codec.message import Message
from streamproc.core.alerts import Alert, AlertState, Severity

START_MS = 1_717_200_000_000
MINUTE_MS = 60_000
ENCODER = AlertEncoder("app")


def firing(run: str = "run_1", kind: str = "stuck_queued", at: int = 0, **fields: Any) -> Alert:
    """Return an alert about a run, firing since `at` milliseconds after START_MS."""
    values: dict[str, Any] = {
        "alert_id": f"{kind}:{run}:7",
        "kind": kind,
        "severity": Severity.WARNING,
        "state": AlertState.FIRING,
        "since": START_MS + at,
        "decided_at": START_MS + at,
        "summary": f"{run} has not moved on",
        "run_id": run,
        "thread_id": "thread_1",
        "assistant_id": "asst_1",
        "model": "gpt-4o",
        "status": "queued",
        "deadline_at": START_MS + at,
        "source_topic": "run-events",
        "source_partition": 3,
        "source_offset": 7,
    }
    return Alert(**{**values, **fields})


def resolved(run: str = "run_1", kind: str = "stuck_queued", at: int = 0, **fields: Any) -> Alert:
    """Return the end of such an alert, `at` milliseconds after START_MS."""
    ended = {"state": AlertState.RESOLVED, "ends_at": START_MS + at, "decided_at": START_MS + at, "since": START_MS}
    return firing(run, kind, **{**ended, **fields})


def message(alert: Alert, published_ms: int | None = None) -> Message:
    """Return the record of an alert; its timestamp is when it was decided, unless told otherwise."""
    key, value, timestamp, headers = ENCODER.messages([alert], alert.decided_at)[0]
    return key, value, timestamp if published_ms is None else published_ms, headers
