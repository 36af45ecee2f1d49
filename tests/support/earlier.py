"""Internal records as an earlier release wrote them, made from what the core has now."""

from typing import Any

import msgspec
from msgspec.structs import asdict

from streamproc.codec.schemas import load
from streamproc.codec.windows import state_key
from streamproc.core.conditions import Holding
from streamproc.core.measure import Mark, Measurement, Totals
from streamproc.core.sources import SourceMark
from streamproc.core.summary import Histogram, summary_of
from streamproc.core.windowstate import Key, Silence, Window
from tests.support.runobjects import Arrived, encode

MEASUREMENT, STATE = load("run_measurement"), load("window_state")
FIELDS: dict[type, str] = {Window: "window", SourceMark: "source", Holding: "failing", Silence: "silence"}


def measurement(measured: Measurement, partition: int = 0) -> bytes:
    """Return the record of one measurement."""
    return measurement_of(
        source_partition=partition,
        assistant_id=measured.assistant_id,
        model=measured.model,
        start=measured.start,
        totals=totals(measured.totals),
    )


def mark(sent: Mark) -> bytes:
    """Return the record of one mark."""
    fields = asdict(sent)
    return measurement_of(source_partition=fields.pop("source_partition"), mark=fields)


def measurement_of(**fields: Any) -> bytes:
    """Return a record of RunMeasurement."""
    return MEASUREMENT.header + encode(MEASUREMENT, fields)


def state(key: Key, value: Any, offset: int = 0) -> Arrived:
    """Return the record of one value of a window task's state."""
    fields = asdict(value)
    if isinstance(value, Window):
        fields["totals"] = totals(value.totals)
    name = state_key(key) if not isinstance(key, int) else msgspec.json.encode(["source", key])
    said = {"source_offset": offset, FIELDS[type(value)]: fields}
    return Arrived(offset, STATE.header + encode(STATE, said), key=name)


def totals(found: Totals) -> dict[str, Any]:
    """Return sums as both schemas had them."""
    summary = summary_of(found)
    return {
        "arrivals": found.arrivals,
        "created": summary.created,
        "transitions": summary.transitions,
        "errors": dict(summary.errors),
        "tokens": summary.tokens,
        "durations": {outcome: _durations(each) for outcome, each in summary.runs.items()},
        "queue_wait": _durations(summary.queue_wait),
        "action_wait": _durations(summary.action_wait),
    }


def _durations(histogram: Histogram) -> dict[str, Any]:
    return {"sum_ms": histogram.sum_ms, "buckets": histogram.buckets}
