"""A record as one line for people. Whatever somebody else made comes out escaped."""

from collections.abc import Callable, Mapping
from typing import Any

from streamproc.escaping import escaped
from streamproc.times import instant

Said = Mapping[str, Any]


def line(kind: str, said: Said) -> str:
    """Return the line of a record, given the name of its kind and its document."""
    if "unreadable" in said:
        text = f"{instant(said['timestamp'])}  unreadable: {said['unreadable']}"
    elif "forgotten" in said:
        text = f"{instant(said['timestamp'])}  {said['run_id']}  forgotten"
    elif "stopped" in said:
        text = f"{instant(said['timestamp'])}  {said['instance_id']}  stopped"
    else:
        text = LINES[kind](said)
    return escaped(text)


def _transition(said: Said) -> str:
    since = said["in_from_ms"]
    parts = [
        instant(said["occurred_at"]),
        said["run_id"],
        f"{said['from_status'] or '(new)'} → {said['to_status']}",
        "" if since is None else f"after {since / 1000:,.1f} s",
        said["error_code"] or "",
        "" if said["expected"] else "unexpected",
        *_who(said),
    ]
    return _joined(parts)


def _verdict(said: Said) -> str:
    told = f"is {said['status_before']}, was said {said['status_said']}"
    verdict = f"{said['verdict']} ({said['reason']})"
    return _joined([instant(said["occurred_at"]), said["run_id"], verdict, told, _source(said)])


def _state(said: Said) -> str:
    error = said["error_code"] or ""
    since = f"since {instant(said['status_since'])}"
    return _joined([instant(said["timestamp"]), said["run_id"], said["status"], since, error, *_who(said)])


def _alert(said: Said) -> str:
    return _joined([instant(said["decided_at"]), said["state"], said["severity"], said["kind"], said["summary"]])


def _metrics(said: Said) -> str:
    window = f"{instant(said['window_start'], 'seconds')} to {instant(said['window_end'], 'seconds')}"
    ended = ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(said["ended"].items()))
    counts = f"created {said['created']:,}; ended {ended or 'none'}"
    return _joined([window, f"revision {said['revision']}", *_who(said), counts])


def _instance(said: Said) -> str:
    running = sum(each["state"] == "running" and each["reason"] is None for each in said["partitions"])
    partitions = f"{running} of {len(said['partitions'])} partitions go on"
    cost = f"{said['memory_bytes'] / 2**20:,.0f} MiB, {said['cpu_seconds']:,.1f} CPU-seconds"
    status = f"{said['status']}: {said['message']}"
    return _joined([instant(said["reported_at"]), said["instance_id"], said["version"], partitions, cost, status])


def _letter(said: Said) -> str:
    return _joined([instant(said["timestamp"]), said["reason"], said["message"], _source(said)])


LINES: Mapping[str, Callable[[Said], str]] = {
    "transitions": _transition,
    "verdicts": _verdict,
    "state": _state,
    "alerts": _alert,
    "metrics": _metrics,
    "instances": _instance,
    "dead-letters": _letter,
}


def _who(said: Said) -> list[str]:
    return [said["assistant_id"] or "", said["model"] or ""]


def _source(said: Said) -> str:
    return f"{said['source_topic']}:{said['source_partition']}:{said['source_offset']}"


def _joined(parts: list[str]) -> str:
    return "  ".join(part for part in parts if part)
