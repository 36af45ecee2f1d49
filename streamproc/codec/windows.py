"""What the window stage writes: RunMetrics, and its state, both ways."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from streamproc.codec import earlier
from streamproc.codec.arrival import Arrival
from streamproc.codec.cloudevents import CloudEvents
from streamproc.codec.encode import OutputSource
from streamproc.codec.message import Message
from streamproc.codec.packed import PackedFormat, is_packed
from streamproc.codec.runstate import OTHER_RELEASE, REPLAY, unreadable
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames, load_framed
from streamproc.core.alerts import AlertKind, Severity, Subject
from streamproc.core.conditions import Holding, HoldingKey
from streamproc.core.measure import BUCKETS, group_key
from streamproc.core.sources import Sources
from streamproc.core.summary import Histogram, summary_of
from streamproc.core.windowstate import (
    SILENCE_KEY,
    SOURCES_KEY,
    Closing,
    Key,
    Silence,
    Value,
    Window,
    WindowKey,
)
from streamproc.errors import RecordRejected, RejectionReason

STATE = PackedFormat("run-windows", "w", 1)
"""`[source offset, value]`; the key says which kind of value it is."""
FAILING, HOLDING = "failing", "holding"
"""Keys of conditions: that of failure rates, which were there first, and that of all others, whose kind follows."""
_KINDS = {
    FAILING if kind is AlertKind.FAILURE_RATE else kind.value: kind
    for kind in AlertKind
    if kind.subject is Subject.WINDOWS
}
"""Of conditions, as keys name them."""
_DECODE: Mapping[str, Callable[[memoryview], tuple[int, Value]]] = {
    kind: msgspec.msgpack.Decoder(tuple[int, value]).decode  # type: ignore[valid-type]
    for kind, value in (
        ("window", Window),
        (FAILING, Holding),
        (HOLDING, Holding),
        (SILENCE_KEY, Silence),
        (SOURCES_KEY, Sources),
    )
}


class WindowEncoder:
    """Encodes the outputs of one window task."""

    def __init__(self, source: OutputSource, frames: Frames = SINGLE_OBJECTS) -> None:
        self._metrics = load_framed("run_metrics", frames)
        prefix = f"/streamproc/{source.application_id}"
        self._place = f"{source.topic}:{source.partition}"
        self._metrics_events = CloudEvents("streamproc.run.metrics", f"{prefix}/metrics", self._metrics.label)
        self._state_events = STATE.events("streamproc.window.state", f"{prefix}/windows")

    def metrics(self, closings: Iterable[Closing], wall_ms: int) -> list[Message]:
        """Return a message for each revision of a window, keyed by assistant and model."""
        return [self._metrics_message(closing, wall_ms) for closing in closings]

    def states(self, changed: Mapping[Key, Value | None], offset: int, sequence: int, wall_ms: int) -> list[Message]:
        """Return a message for each changed value, a tombstone for None; `offset`: of the last measurement."""
        return [
            (
                state_key(key),
                None if value is None else STATE.pack((offset, value)),
                wall_ms,
                self._state_events.headers(f"{self._place}:{sequence}:{number}".encode(), wall_ms),
            )
            for number, (key, value) in enumerate(changed.items())
        ]

    def _metrics_message(self, closing: Closing, wall_ms: int) -> Message:
        key, summary = closing.key, summary_of(closing.totals)
        end = key.start + key.size_ms
        fields = {
            "window_start": key.start,
            "window_end": end,
            "assistant_id": key.assistant_id,
            "model": key.model,
            "revision": closing.revision,
            "created": summary.created,
            "ended": summary.ended,
            "errors": summary.errors,
            "transitions": summary.transitions,
            "tokens": summary.tokens,
            "queue_wait": _histogram(summary.queue_wait),
            "run_duration": _histogram(summary.run_duration),
            "action_wait": _histogram(summary.action_wait),
            "late": closing.late,
        }
        window = f"{key.size_ms // 1000}:{key.start}:{closing.revision}"
        event_id = f"{_part(key.assistant_id)}:{_part(key.model)}:{window}".encode()
        headers = self._metrics_events.headers(event_id, end)
        return group_key(key.group).encode(), self._metrics.frame(fields), max(0, min(end, wall_ms)), headers


def decode_window_states(records: Sequence[Arrival]) -> list[tuple[Key, Value | None, int]]:
    """Return each record's key, value (None for a tombstone) and source offset (-1 for a tombstone).

    Raises ConfigError for a record that is damaged, or of a version unknown to this release: no record is skipped.
    """
    return [_decode_state(record) for record in records]


def state_key(key: Key) -> bytes:
    """Return the record key of a value: a JSON array that begins with the kind."""
    if isinstance(key, WindowKey):
        return msgspec.json.encode(["window", *key])
    if isinstance(key, int):
        return msgspec.json.encode(["source", key])
    if isinstance(key, str):
        return msgspec.json.encode([key])
    named = [FAILING] if key.kind is AlertKind.FAILURE_RATE else [HOLDING, key.kind]
    return msgspec.json.encode([*named, *key.group, key.severity])


def _key_of(kind: str, parts: Sequence[Any]) -> Key:
    if kind == "window":
        return WindowKey(*parts)
    if kind == "source":
        return int(parts[0])
    if kind in (FAILING, HOLDING):
        named, assistant_id, model, severity = (kind, *parts) if kind == FAILING else parts
        return HoldingKey(_KINDS[named], (assistant_id, model), Severity(severity))
    if kind in (SILENCE_KEY, SOURCES_KEY) and not parts:
        return kind
    raise ValueError("a key of an unknown kind")


def _decode_state(record: Arrival) -> tuple[Key, Value | None, int]:
    try:
        kind, *parts = msgspec.json.decode(record.key or b"")
        key, value = _key_of(kind, parts), record.value
        if not value:
            return key, None, -1
        decoded = _DECODE[kind](STATE.payload(value)) if is_packed(value) else earlier.read_value(record, kind)
        return key, decoded[1], decoded[0]
    except RecordRejected as error:
        remedy = REPLAY if error.reason is RejectionReason.UNDECODABLE else OTHER_RELEASE
        raise unreadable(record, str(error), remedy) from error
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, IndexError, EOFError) as error:
        raise unreadable(record, f"it is damaged ({type(error).__name__})", REPLAY) from error


def _part(name: str | None) -> str:
    """Return a name escaped for an id, so that different names never make the same id."""
    if name is None:
        return ""
    return name.replace("%", "%25").replace(":", "%3A") or "%00"


def _histogram(histogram: Histogram) -> dict[str, Any]:
    counts = histogram.buckets
    buckets = {bound: counts.get(bound, 0) for bound in BUCKETS}
    return {"count": histogram.count, "sum_ms": histogram.sum_ms, "buckets": buckets}
