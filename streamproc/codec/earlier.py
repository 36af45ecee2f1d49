"""Internal records as an earlier release wrote them: Avro, one for each measurement, mark and source.

They may stand in the topics at an upgrade, so they are read for as long as anybody may come from that release, and
never written. The new formats are in `measurements` and `windows`.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import convert

from streamproc.codec.arrival import Arrival
from streamproc.codec.schemas import unframe
from streamproc.core.conditions import Holding
from streamproc.core.measure import (
    ACTION_WAIT,
    COMPLETED,
    CREATED,
    QUEUE_WAIT,
    SUM_MS,
    TO,
    TOKENS,
    Mark,
    Measurement,
    Measurements,
    name,
    run_durations,
)
from streamproc.core.sources import SourceMark
from streamproc.core.windowstate import Silence, Window

MEASUREMENTS, WINDOW_STATES = ("run_measurement",), ("window_state",)
"""The bundled schemas."""
Value = Window | SourceMark | Holding | Silence
VALUES: Mapping[str, type[Value]] = {"window": Window, "source": SourceMark, "failing": Holding, "silence": Silence}
"""The fields of WindowState, one of which is set, and what it holds."""


def read_measurement(record: Arrival) -> Measurements:
    """Return what a RunMeasurement holds; raises RecordRejected, and anything for damaged bytes."""
    found = unframe(record, MEASUREMENTS, "RunMeasurement")
    if found["mark"] is not None:
        return Measurements(marks=[convert([found["source_partition"], *found["mark"].values()], Mark)])
    group = name(found["assistant_id"]), name(found["model"])
    return Measurements([convert([*group, found["start"], _totals(found["totals"])], Measurement)])


def read_value(record: Arrival, kind: str) -> tuple[int, Value]:
    """Return the source offset and the value of a WindowState; raises as `read_measurement`."""
    found = unframe(record, WINDOW_STATES, "WindowState")
    if found[kind] is None:
        raise ValueError("the value is of another kind than the key")
    said = list(found[kind].values())
    if kind == "window":
        said[0] = _totals(said[0])
    return found["source_offset"], convert(said, VALUES[kind])


def _totals(found: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Return a record Totals as the core's has its fields, in the same order."""
    moves, waits = found["transitions"], ((QUEUE_WAIT, found["queue_wait"]), (ACTION_WAIT, found["action_wait"]))
    runs = ((run_durations(outcome), durations) for outcome, durations in found["durations"].items())
    counts = {CREATED: found["created"], COMPLETED: max(0, found["arrivals"] - sum(moves.values()))}
    counts |= {TO + status: count for status, count in moves.items()}
    counts |= {TOKENS + kind: count for kind, count in found["tokens"].items()}
    for names, durations in (*waits, *runs):
        prefix = names.sum_ms.removesuffix(SUM_MS)
        counts |= {prefix + bucket: count for bucket, count in durations["buckets"].items()}
        counts[names.sum_ms] = durations["sum_ms"]
    return {name: count for name, count in counts.items() if count}, found["errors"]
