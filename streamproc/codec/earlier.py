"""Internal records as an earlier release wrote them: Avro, one for each measurement, mark and source.

They may stand in the topics at an upgrade, so they are read for as long as anybody may come from that release, and
never written. The new formats are in `measurements` and `windows`.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import convert

from streamproc.codec.arrival import Arrival
from streamproc.codec.schemas import unframe
from streamproc.core.failures import Failing
from streamproc.core.measure import Mark, Measurement, Measurements, name
from streamproc.core.sources import SourceMark
from streamproc.core.windowstate import Silence, Window

MEASUREMENTS, WINDOW_STATES = ("run_measurement",), ("window_state",)
"""The bundled schemas."""
Value = Window | SourceMark | Failing | Silence
VALUES: Mapping[str, type[Value]] = {"window": Window, "source": SourceMark, "failing": Failing, "silence": Silence}
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
    said = list(found[kind].values())
    if kind == "window":
        said[0] = _totals(said[0])
    return found["source_offset"], convert(said, VALUES[kind])


def _totals(found: Mapping[str, Any]) -> list[Any]:
    """Return a record Totals as the core's has its fields, in the same order."""
    durations = {outcome: list(each.values()) for outcome, each in found["durations"].items()}
    waits = (list(found[wait].values()) for wait in ("queue_wait", "action_wait"))
    names = ("arrivals", "created", "transitions", "errors", "tokens")
    return [*(found[each] for each in names), durations, *waits]
