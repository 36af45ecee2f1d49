"""The fast decoder: a whole batch of one schema through pyruhvro (Avro to Arrow) into RunEvents.

It decodes all of a batch or none of it, and says nothing of which record was bad: that is the reference decoder's part.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat
from sys import intern
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from streamproc.codec.arrival import MAX_ID_CHARS, MAX_STATUS_CHARS, MAX_UNIX_SECONDS, TIMES, USAGE, Framed
from streamproc.codec.schemas import END, END_BYTES, END_MARK
from streamproc.core.model import RunEvent


class BatchFailed(Exception):
    """At least one record of the batch is bad."""


def decode_columns(group: Sequence[Framed], fast: str, label: str) -> list[RunEvent]:
    """Decode a batch whose records all have the schema `fast`; raises BatchFailed where any of them is bad."""
    try:
        batch = pyruhvro.deserialize_array([framed.payload + END_BYTES for framed in group], fast)
    except (ValueError, pa.ArrowException) as error:
        raise BatchFailed(str(error)) from error
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    _check(columns, len(group))
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


def _check(columns: dict[str, Any], count: int) -> None:
    """Hold a whole batch against the limits of `arrival.check`, a column at a time."""
    if columns[END_MARK].to_pylist().count(END) != count:
        raise BatchFailed("bytes are left over after a record")
    for name, longest in (("id", MAX_ID_CHARS), ("status", MAX_STATUS_CHARS)):
        if not _within(pc.utf8_length(columns[name]), 1, longest):
            raise BatchFailed(f"{name} is empty or too long")
    for name in TIMES:
        column = columns.get(name)
        if column is not None and not _within(column, 0, MAX_UNIX_SECONDS):
            raise BatchFailed(f"{name} is out of range")


def _within(column: Any, lowest: int, highest: int) -> bool:
    if column.null_count == len(column):
        return True
    bounds = pc.min_max(column).as_py()
    return bool(lowest <= bounds["min"] and bounds["max"] <= highest)


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
