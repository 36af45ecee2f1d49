"""RunMeasurement records, both ways: what the fold stage sends on to the windows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import convert, to_builtins
from msgspec.structs import replace

from streamproc.codec.arrival import Arrival, Rejection
from streamproc.codec.cloudevents import CloudEvents
from streamproc.codec.encode import Message, Source
from streamproc.codec.schemas import load, unframe
from streamproc.core.failures import group_key
from streamproc.core.measure import Histogram, Mark, Measurement, Totals, name
from streamproc.core.model import MAX_TIME_MS
from streamproc.errors import RecordRejected

VERSIONS = ("run_measurement",)
MAX_BYTES = 131_072
"""Of a measurement: names and codes are limited where they are measured. A larger one is somebody else's, and what is
kept of it would go into no topic."""


class MeasurementEncoder:
    """Encodes the measurements and marks of one source."""

    def __init__(self, source: Source) -> None:
        self._schema = load("run_measurement")
        kind, where = "streamproc.run.measurement", f"/streamproc/{source.application_id}/measurements"
        self._events = CloudEvents(kind, where, self._schema.label)
        self._place = f"{source.topic}:{source.partition}"

    def measurements(self, found: Sequence[Measurement], sequence: int, wall_ms: int) -> list[Message]:
        """Return a message for each measurement of the commit `sequence`, keyed by assistant and model."""
        return [
            self._message(
                group_key((each.assistant_id, each.model)).encode(), _said(each), f"{sequence}:{number}", wall_ms
            )
            for number, each in enumerate(found)
        ]

    def mark(self, mark: Mark, sequence: int, wall_ms: int) -> Message:
        """Return the message that goes to every measurement partition."""
        said = {"source_partition": mark.source_partition, "mark": to_builtins(mark)}
        return self._message(None, said, f"{sequence}:mark", wall_ms)

    def _message(self, key: bytes | None, said: dict[str, Any], number: str, wall_ms: int) -> Message:
        return key, self._schema.frame(said), wall_ms, self._events.headers(f"{self._place}:{number}".encode(), wall_ms)


def _said(measurement: Measurement) -> dict[str, Any]:
    # One by one, since that is half the time of msgspec's to_builtins, which copies every map.
    totals = measurement.totals
    return {
        "source_partition": measurement.source_partition,
        "assistant_id": measurement.assistant_id,
        "model": measurement.model,
        "start": measurement.start,
        "totals": {
            "arrivals": totals.arrivals,
            "created": totals.created,
            "transitions": totals.transitions,
            "errors": totals.errors,
            "tokens": totals.tokens,
            "durations": {outcome: _durations(each) for outcome, each in totals.durations.items()},
            "queue_wait": _durations(totals.queue_wait),
            "action_wait": _durations(totals.action_wait),
        },
    }


def _durations(histogram: Histogram) -> dict[str, Any]:
    return {"sum_ms": histogram.sum_ms, "buckets": histogram.buckets}


class Measured(NamedTuple):
    """What a batch of records turned out to be."""

    arrivals: list[Measurement | Mark]
    rejections: list[Rejection]


def decode_measurements(records: Sequence[Arrival]) -> Measured:
    """Decode measurements; what is none goes to `rejections`, as somebody else wrote it."""
    arrivals: list[Measurement | Mark] = []
    rejections: list[Rejection] = []
    for record in records:
        try:
            arrivals.append(_decode(record))
        except RecordRejected as error:
            rejections.append(Rejection(record, error.reason, str(error)))
    return Measured(arrivals, rejections)


def _decode(record: Arrival) -> Measurement | Mark:
    try:
        if len(record.value or b"") > MAX_BYTES:
            raise ValueError("it is larger than any of ours")  # noqa: TRY301
        found = unframe(record, VERSIONS, "RunMeasurement")
        partition, mark, totals = found["source_partition"], found["mark"], found["totals"]
        if mark is not None:
            said = convert({"source_partition": partition, **mark}, Mark)
            # By the broker's clock where the source's is ahead: a watermark never goes back.
            return replace(said, sent_at=max(0, min(said.sent_at, record.timestamp)))
        measured = convert(totals, Totals)
        if not 0 <= found["start"] <= MAX_TIME_MS:
            raise ValueError("start is out of range")  # noqa: TRY301
        group = name(found["assistant_id"]), name(found["model"])
        return Measurement(partition, *group, int(found["start"]), measured)
    except RecordRejected:
        raise
    except Exception as error:  # whatever damaged bytes make the decoder raise
        raise RecordRejected("undecodable", f"no valid RunMeasurement ({type(error).__name__})") from error
