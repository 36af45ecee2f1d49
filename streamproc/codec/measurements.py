"""RunMeasurement records, both ways: what the fold stage sends on to the windows."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
from msgspec import convert, to_builtins

from streamproc.codec.arrival import Arrival
from streamproc.codec.cloudevents import CloudEvents
from streamproc.codec.decode import Rejection
from streamproc.codec.encode import Message, Source
from streamproc.codec.framing import header_of, label
from streamproc.codec.schemas import load
from streamproc.core.failures import group_key
from streamproc.core.measure import Histogram, Mark, Measurement, Totals
from streamproc.core.model import MAX_TIME_MS
from streamproc.errors import RecordRejected

VERSIONS = ("run_measurement",)


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
        buffer = BytesIO(self._schema.header)
        buffer.seek(0, 2)
        fastavro.schemaless_writer(buffer, self._schema.parsed, said)
        return key, buffer.getvalue(), wall_ms, self._events.headers(f"{self._place}:{number}".encode(), wall_ms)


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
    header = header_of(record.value)
    schema = next((version for version in map(load, VERSIONS) if version.header == header), None)
    if schema is None:
        raise RecordRejected("unknown_schema", f"schema {label(header)} is no RunMeasurement that this release reads")
    try:
        found: Any = fastavro.schemaless_reader(BytesIO((record.value or b"")[len(header) :]), schema.parsed, None)
        partition, mark, totals = found["source_partition"], found["mark"], found["totals"]
        if mark is not None:
            return convert({"source_partition": partition, **mark}, Mark)
        measured = convert(totals, Totals)
        if not 0 <= found["start"] <= MAX_TIME_MS:
            raise ValueError("start is out of range")  # noqa: TRY301
        return Measurement(partition, found["assistant_id"], found["model"], int(found["start"]), measured)
    except Exception as error:  # whatever damaged bytes make the decoder raise
        raise RecordRejected("undecodable", f"no valid RunMeasurement ({type(error).__name__})") from error
