"""The fast decoder: a whole batch of one schema through pyruhvro (Avro to Arrow) into RunEvents.

pyruhvro decodes all of a batch or none of it, ignores what is left over behind a record, does not look at what is in a
text, and does not say which record was bad. So every payload is put between two marks: the last one shows that the
payload ended where it should, the first one lets `_is_good` find bad records with probes that fail on purpose, which
costs a quarter of one that succeeds.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, repeat
from sys import intern
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from streamproc.codec.arrival import (
    MAX_ID_CHARS,
    MAX_STATUS_CHARS,
    MAX_UNIX_SECONDS,
    TIMES,
    USAGE,
    Framed,
    check,
    instants,
)
from streamproc.codec.schemas import BEGIN_BYTES, END, END_BYTES, END_MARK, PROBE, PROBE_ERROR
from streamproc.core.model import RunEvent
from streamproc.errors import RecordRejected

SUSPECTS = 8
"""So few are decoded one by one sooner than probed: a probe takes as long as two of them, however small it is."""


class BadRecords(Exception):
    """Some records of the batch are bad: `suspects` has their rows, and few others.

    `events` are those of all other rows where the batch decoded, else None.
    """

    def __init__(self, suspects: Sequence[int], events: list[RunEvent] | None = None) -> None:
        super().__init__(f"bad records among {len(suspects)}")
        self.suspects = suspects
        self.events = events


class Panicked(Exception):
    """The fast decoder has no answer: the reference decoder has to take this batch."""


class _Refused(Exception):
    """The fast decoder refuses one of the records at least."""


def decode_columns(group: Sequence[Framed], fast: str, label: str) -> list[RunEvent]:
    """Decode a batch whose records all have the schema `fast`; raises BadRecords, or Panicked."""
    marked = _marked(group)
    try:
        batch = _deserialize(marked, fast)
    except _Refused as error:
        raise BadRecords(_narrowed(marked, lambda part: _is_good(part, fast))) from error
    if not _is_text(batch):
        raise BadRecords(_narrowed(marked, lambda part: _is_text(_deserialize(part, fast))))
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    events = _events(columns, group, label)
    if not _is_sound(columns, len(group)):
        unsound = _unsound(columns, events)
        gone = set(unsound)
        raise BadRecords(unsound, [event for row, event in enumerate(events) if row not in gone])
    return events


def refused(group: Sequence[Framed], fast: str) -> set[int]:
    """Return the rows that the fast decoder refuses; raises Panicked."""
    marked = _marked(group)
    if not marked or _is_good(marked, fast):
        return set()
    return {row for row, record in enumerate(marked) if not _is_good([record], fast)}


def _marked(group: Sequence[Framed]) -> list[bytes]:
    return [BEGIN_BYTES + framed.payload + END_BYTES for framed in group]


def _deserialize(marked: Sequence[bytes], fast: str) -> Any:
    try:
        return pyruhvro.deserialize_array(marked, fast)
    except (ValueError, pa.ArrowException) as error:
        raise _Refused(str(error)) from error
    except BaseException as error:
        # Rust's panics derive from BaseException, and their type is nowhere to be imported from.
        if type(error).__name__ != "PanicException":
            raise
        raise Panicked(str(error)) from error


def _is_good(marked: Sequence[bytes], fast: str) -> bool:
    """Decode with a record behind that always fails: if it is the one that failed, those before it are good."""
    try:
        _deserialize([*marked, PROBE], fast)
    except _Refused as error:
        return PROBE_ERROR in str(error)
    return False


def _is_text(batch: Any) -> bool:
    """Whether every text is UTF-8, also in the columns that are not read."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _narrowed(marked: Sequence[bytes], passes: Callable[[Sequence[bytes]], bool]) -> list[int]:
    """Return the rows of a batch that does not pass without those of its parts that do."""
    suspects: list[int] = []
    failed = [(0, len(marked))]
    while failed:
        start, end = failed.pop()
        if end - start <= SUSPECTS:
            suspects.extend(range(start, end))
            continue
        middle = (start + end) // 2
        left_passes = passes(marked[start:middle])
        # Where the left half passes, the right one must be what failed.
        if left_passes or not passes(marked[middle:end]):
            failed.append((middle, end))
        if not left_passes:
            failed.append((start, middle))
    return suspects


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
            instants([framed.record.timestamp for framed in group]),
            [framed.record.offset for framed in group],
            repeat(label),
            [framed.payload for framed in group],
        )
    )


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
    index = column.type.get_field_index(name)  # type: ignore[union-attr]
    return None if index < 0 else column.flatten()[index]  # type: ignore[union-attr]


def _usage(column: Any | None) -> Iterable[Any]:
    if _is_void(column):
        return repeat(None)
    present = column.is_valid().to_pylist()  # type: ignore[union-attr]
    counts = zip(*(_child(column, name).to_pylist() for name in USAGE), strict=True)  # type: ignore[union-attr]
    return [usage if there else None for there, usage in zip(present, counts, strict=True)]


def _required_tools(column: Any | None) -> Iterable[tuple[str, ...]]:
    calls = _child(_child(column, "submit_tool_outputs"), "tool_calls")
    if _is_void(calls) or _is_void(calls.values):  # type: ignore[union-attr]
        return repeat(())
    names = [intern(name) for name in _child(_child(calls.values, "function"), "name").to_pylist()]  # type: ignore[union-attr]
    ends = calls.offsets.to_pylist()  # type: ignore[union-attr]
    return [tuple(names[start:end]) for start, end in pairwise(ends)]


def _is_void(column: Any | None) -> bool:
    return column is None or column.null_count == len(column)
