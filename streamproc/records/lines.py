"""A record as one line for people. Text from other programs is escaped."""

from collections.abc import Callable, Mapping
from typing import Any

from streamproc.escaping import escaped
from streamproc.times import instant

Fields = Mapping[str, Any]


def line(kind: str, fields: Fields) -> str:
    """Return the line of a record: `kind` is a name of KINDS, `fields` its document."""
    if "unreadable" in fields:
        text = f"{instant(fields['timestamp'])}  unreadable: {fields['unreadable']}"
    elif "forgotten" in fields:
        text = f"{instant(fields['timestamp'])}  {fields['run_id']}  forgotten"
    elif "stopped" in fields:
        text = f"{instant(fields['timestamp'])}  {fields['instance_id']}  stopped"
    else:
        text = LINES[kind](fields)
    return escaped(text)


def _transition(fields: Fields) -> str:
    since = fields["in_from_ms"]
    parts = [
        instant(fields["occurred_at"]),
        fields["run_id"],
        f"{fields['from_status'] or '(new)'} → {fields['to_status']}",
        "" if since is None else f"after {since / 1000:,.1f} s",
        fields["error_code"] or "",
        "" if fields["expected"] else "unexpected",
        *_who(fields),
    ]
    return _joined(parts)


def _verdict(fields: Fields) -> str:
    contradiction = f"is {fields['status_before']}, was said {fields['status_said']}"
    verdict = f"{fields['verdict']} ({fields['reason']})"
    return _joined([instant(fields["occurred_at"]), fields["run_id"], verdict, contradiction, _source(fields)])


def _state(fields: Fields) -> str:
    error = fields["error_code"] or ""
    since = f"since {instant(fields['status_since'])}"
    return _joined([instant(fields["timestamp"]), fields["run_id"], fields["status"], since, error, *_who(fields)])


def _alert(fields: Fields) -> str:
    return _joined(
        [instant(fields["decided_at"]), fields["state"], fields["severity"], fields["kind"], fields["summary"]]
    )


def _metrics(fields: Fields) -> str:
    window = f"{instant(fields['window_start'], 'seconds')} to {instant(fields['window_end'], 'seconds')}"
    ended = ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(fields["ended"].items()))
    counts = f"created {fields['created']:,}; ended {ended or 'none'}"
    return _joined([window, f"revision {fields['revision']}", *_who(fields), counts])


def _instance(fields: Fields) -> str:
    running = sum(partition["state"] == "running" and partition["reason"] is None for partition in fields["partitions"])
    progress = f"{running} of {len(fields['partitions'])} partitions go on"
    cost = f"{fields['memory_bytes'] / 2**20:,.0f} MiB, {fields['cpu_seconds']:,.1f} CPU-seconds"
    status = f"{fields['status']}: {fields['message']}"
    return _joined([instant(fields["reported_at"]), fields["instance_id"], fields["version"], progress, cost, status])


def _letter(fields: Fields) -> str:
    return _joined([instant(fields["timestamp"]), fields["reason"], fields["message"], _source(fields)])


LINES: Mapping[str, Callable[[Fields], str]] = {
    "transitions": _transition,
    "verdicts": _verdict,
    "state": _state,
    "alerts": _alert,
    "metrics": _metrics,
    "instances": _instance,
    "dead-letters": _letter,
}


def _who(fields: Fields) -> list[str]:
    return [fields["assistant_id"] or "", fields["model"] or ""]


def _source(fields: Fields) -> str:
    return f"{fields['source_topic']}:{fields['source_partition']}:{fields['source_offset']}"


def _joined(parts: list[str]) -> str:
    return "  ".join(part for part in parts if part)
