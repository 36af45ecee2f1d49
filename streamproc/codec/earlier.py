"""Internal records as an earlier release wrote them: Avro, one for each measurement, mark and source.

They may still be in the topics after an upgrade, so they are read for as long as an upgrade from that release is
supported. They are never written. The new formats are in `measurements` and `windows`.
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
"""The fields of WindowState and their types; exactly one field of a record is set."""


def read_measurement(record: Arrival) -> Measurements:
    """Decode a RunMeasurement; raises RecordRejected, and any exception for fields that do not fit."""
    fields = unframe(record, MEASUREMENTS, "RunMeasurement")
    if fields["mark"] is not None:
        return Measurements(marks=[convert([fields["source_partition"], *fields["mark"].values()], Mark)])
    group = name(fields["assistant_id"]), name(fields["model"])
    return Measurements([convert([*group, fields["start"], _totals(fields["totals"])], Measurement)])


def read_value(record: Arrival, kind: str) -> tuple[int, Value]:
    """Return the source offset and the value of a WindowState; raises what `read_measurement` raises."""
    fields = unframe(record, WINDOW_STATES, "WindowState")
    if fields[kind] is None:
        raise ValueError("the value is of another kind than the key")
    values = list(fields[kind].values())
    if kind == "window":
        values[0] = _totals(values[0])
    return fields["source_offset"], convert(values, VALUES[kind])


def _totals(totals: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    """Convert a record Totals to the fields of the core's Totals, in their order."""
    moves, waits = totals["transitions"], ((QUEUE_WAIT, totals["queue_wait"]), (ACTION_WAIT, totals["action_wait"]))
    runs = ((run_durations(outcome), durations) for outcome, durations in totals["durations"].items())
    counts = {CREATED: totals["created"], COMPLETED: max(0, totals["arrivals"] - sum(moves.values()))}
    counts |= {TO + status: count for status, count in moves.items()}
    counts |= {TOKENS + kind: count for kind, count in totals["tokens"].items()}
    for names, durations in (*waits, *runs):
        prefix = names.sum_ms.removesuffix(SUM_MS)
        counts |= {prefix + bucket: count for bucket, count in durations["buckets"].items()}
        counts[names.sum_ms] = durations["sum_ms"]
    return {name: count for name, count in counts.items() if count}, totals["errors"]
