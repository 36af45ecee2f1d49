"""The fast decoder: a whole batch of one schema through pyruhvro (Avro to Arrow) into RunEvents.

pyruhvro decodes all of a batch or none of it, reads on past the end of no record, and does not say which one was bad.
So every payload is put between two marks: the last one shows that the payload ended where it should, the first one lets
`_refused` look for bad records with probes that fail on purpose, which costs a quarter of one that succeeds.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat
from sys import intern
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from streamproc.codec.arrival import MAX_ID_CHARS, MAX_STATUS_CHARS, MAX_UNIX_SECONDS, TIMES, USAGE, Framed, check
from streamproc.codec.schemas import BEGIN_BYTES, END, END_BYTES, END_MARK, PROBE, PROBE_ERROR
from streamproc.core.model import RunEvent
from streamproc.errors import RecordRejected

PROBED_AT_ONCE = 64


class BadRecords(Exception):  # noqa: N818  it says what it holds
    """Some records of the batch are bad: `rows` has their indices."""

    def __init__(self, rows: Sequence[int]) -> None:
        super().__init__(f"{len(rows)} bad records")
        self.rows = frozenset(rows)


def decode_columns(group: Sequence[Framed], fast: str, label: str) -> list[RunEvent]:
    """Decode a batch whose records all have the schema `fast`; raises BadRecords, never an empty one."""
    marked = [BEGIN_BYTES + framed.payload + END_BYTES for framed in group]
    try:
        batch = pyruhvro.deserialize_array(marked, fast)
    except (ValueError, pa.ArrowException) as error:
        raise BadRecords(_refused(marked, fast)) from error
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    events = _events(columns, group, label)
    if not _is_sound(columns, len(group)):
        raise BadRecords(_unsound(columns, events))
    return events


def _events(columns: dict[str, Any], group: Sequence[Framed], label: str) -> list[RunEvent]:
    return list(
        map(
            RunEvent,
            columns["id"].to_pylist(),
            _shared(columns["status"]),
            _plain(columns.get("thread_id")),
            _shared(columns.get("assistant_id")),
            _shared(columns.get("model")),
            *(_plain(columns.get(name)) for name in TIMES),
            _usage(columns.get("usage")),
            _shared(_child(columns.get("last_error"), "code")),
            _required_tools(columns.get("required_action")),
            [framed.record.key for framed in group],
            [framed.record.timestamp for framed in group],
            [framed.record.offset for framed in group],
            repeat(label),
            [framed.payload for framed in group],
        )
    )


def _refused(marked: Sequence[bytes], fast: str) -> list[int]:
    """Return the rows that pyruhvro refuses; all of them where it cannot be found out."""
    rows: list[int] = []
    for block in range(0, len(marked), PROBED_AT_ONCE):
        start, end = block, min(block + PROBED_AT_ONCE, len(marked))
        while start < end and not _is_good(marked[start:end], fast):
            good, bad = start, end
            while bad - good > 1:
                middle = (good + bad) // 2
                if _is_good(marked[start:middle], fast):
                    good = middle
                else:
                    bad = middle
            rows.append(good)
            start = good + 1
    return rows or list(range(len(marked)))


def _is_good(marked: Sequence[bytes], fast: str) -> bool:
    """Decode with a record behind that always fails: if it is the one that failed, those before it are good."""
    try:
        pyruhvro.deserialize_array([*marked, PROBE], fast)
    except (ValueError, pa.ArrowException) as error:
        return PROBE_ERROR in str(error)
    return False


def _is_sound(columns: dict[str, Any], count: int) -> bool:
    """Hold a whole batch against the limits of `arrival.check`, a column at a time."""
    return (
        columns[END_MARK].to_pylist().count(END) == count
        and _within(pc.utf8_length(columns["id"]), 1, MAX_ID_CHARS)
        and _within(pc.utf8_length(columns["status"]), 1, MAX_STATUS_CHARS)
        and all(_within(columns[name], 0, MAX_UNIX_SECONDS) for name in TIMES if name in columns)
    )


def _within(column: Any, lowest: int, highest: int) -> bool:
    if column.null_count == len(column):
        return True
    bounds = pc.min_max(column).as_py()
    return bool(lowest <= bounds["min"] and bounds["max"] <= highest)


def _unsound(columns: dict[str, Any], events: Sequence[RunEvent]) -> list[int]:
    ends = columns[END_MARK].to_pylist()
    return [row for row, (event, end) in enumerate(zip(events, ends, strict=True)) if end != END or not _passes(event)]


def _passes(event: RunEvent) -> bool:
    try:
        check(event)
    except RecordRejected:
        return False
    return True


def _plain(column: Any | None) -> Iterable[Any]:
    """Return a column's values; Nones without end where there are none."""
    return repeat(None) if _is_void(column) else column.to_pylist()  # type: ignore[union-attr]


def _shared(column: Any | None) -> Iterable[str | None]:
    """Return a text column in which equal values are one object: millions of runs share few statuses and models."""
    if _is_void(column):
        return repeat(None)
    return [None if text is None else intern(text) for text in column.to_pylist()]  # type: ignore[union-attr]


def _child(column: Any | None, name: str) -> Any | None:
    """Return a field of a column of records, null where the record is null."""
    if _is_void(column):
        return None
    return column.flatten()[column.type.get_field_index(name)]  # type: ignore[union-attr]


def _usage(column: Any | None) -> Iterable[Any]:
    if _is_void(column):
        return repeat(None)
    present = column.is_valid().to_pylist()  # type: ignore[union-attr]
    counts = zip(*(_child(column, name).to_pylist() for name in USAGE), strict=True)  # type: ignore[union-attr]
    return [usage if there else None for there, usage in zip(present, counts, strict=True)]


def _required_tools(column: Any | None) -> Iterable[tuple[str, ...]]:
    calls = _child(_child(column, "submit_tool_outputs"), "tool_calls")
    if calls is None:
        return repeat(())
    return [tuple(intern(call["function"]["name"]) for call in found or ()) for found in calls.to_pylist()]


def _is_void(column: Any | None) -> bool:
    return column is None or column.null_count == len(column)
