"""The fast decoder: a whole batch of one schema through pyruhvro (Avro to Arrow) into RunEvents.

pyruhvro decodes all of a batch or none of it, ignores what is left over behind a record, does not look at what is in a
text, and does not say which record was bad. So every payload is put between two marks: the last one shows that the
payload ended where it should, the first one lets `_is_good` find bad records with probes that fail on purpose, which
costs a quarter of one that succeeds.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyruhvro

from streamproc.codec.arrival import (
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    MAX_STATUS_CHARS,
    MAX_UNIX_SECONDS,
    Framed,
    check,
    instants,
    is_text,
)
from streamproc.codec.avro import Names, branches, kind, parts
from streamproc.codec.columns import Columns
from streamproc.codec.schemas import BEGIN_BYTES, END, END_BYTES, PROBE, PROBE_ERROR, WriterSchema
from streamproc.core.model import RunEvent
from streamproc.core.shape import NAMES, TIMES, TOOLS
from streamproc.errors import RecordRejected

SUSPECTS = 4
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


def decode_columns(group: Sequence[Framed], schema: WriterSchema, fast: str) -> list[RunEvent]:
    """Decode a batch whose records all have the schema; `fast` is its text. Raises BadRecords, or Panicked."""
    try:
        return _decoded(group, schema, fast)
    except (BadRecords, Panicked):
        raise
    except Exception as error:  # Of a schema that nobody foresaw: the reference decoder takes every one.
        raise Panicked(type(error).__name__) from error


def _decoded(group: Sequence[Framed], schema: WriterSchema, fast: str) -> list[RunEvent]:
    marked = _marked(group)
    try:
        batch = _deserialize(marked, fast)
    except _Refused as error:
        raise BadRecords(_narrowed(marked, lambda part: _is_good(part, fast))) from error
    if not _is_text(batch, schema):
        raise BadRecords(_narrowed(marked, lambda part: _is_text(_deserialize(part, fast), schema)))
    columns = Columns(batch, schema.plan)
    events = _events(columns, group, schema.label)
    if unsound := _unsound(columns, events):
        gone = set(unsound)
        raise BadRecords(unsound, [event for row, event in enumerate(events) if row not in gone])
    return events


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


def _is_text(batch: Any, schema: WriterSchema) -> bool:
    """Whether every text is UTF-8, also in the columns that are not read."""
    try:
        if not schema.opaque:
            batch.validate(full=True)
        for name, column in zip(batch.schema.names, batch.columns, strict=True) if schema.opaque else ():
            _validate(column, schema.opaque.get(name), schema.names)
    except pa.ArrowInvalid:
        return False
    return True


def _validate(column: Any, found: Any | None, names: Names) -> None:
    """Validate a column but for the bytes in it; `found`: its type, None where it has none of them."""
    several = found is None or len(branches(found, names)) != 1  # Where there are several, none of them is of bytes.
    value: Any = None if several else branches(found, names)[0]
    match kind(value):
        case "bytes":
            pass
        case "record" | "error":
            for number, field in enumerate(parts(value)):
                _validate(column.field(number), field, names)
        case "array":
            _validate(column.values, value["items"], names)
        case "map":
            column.keys.validate(full=True)
            _validate(column.items, value["values"], names)
        case _:
            column.validate(full=True)


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


def _events(columns: Columns, group: Sequence[Framed], label: str) -> list[RunEvent]:
    tools, too_many = columns.tools()
    return list(
        map(
            RunEvent,
            columns.texts("id"),
            columns.statuses(),
            columns.texts("thread_id"),
            columns.shared("assistant_id"),
            columns.shared("model"),
            *(columns.times(target) for target in TIMES),
            columns.usage(),
            columns.shared("error_code"),
            tools,
            [framed.record.key for framed in group],
            instants([framed.record.timestamp for framed in group]),
            [framed.record.offset for framed in group],
            repeat(label),
            [framed.payload for framed in group],
            columns.flags(too_many),
        )
    )


def _unsound(columns: Columns, events: Sequence[RunEvent]) -> list[int]:
    """Return the rows that `arrival.check` refuses, or that do not end where they should, in their order."""
    cut = {row for row, end in enumerate(columns.ends()) if end != END} if columns.have_odd_ends() else set()
    suspects = {row for row in _suspects(columns, events) if row not in cut}
    return sorted(cut | {row for row in suspects if not _passes(events[row])})


def _suspects(columns: Columns, events: Sequence[RunEvent]) -> Iterator[int]:
    """Yield rows that may be refused. A column that is sound as a whole costs no look at its rows."""
    for target, limit in (("id", MAX_ID_CHARS), ("status", MAX_STATUS_CHARS)):
        texts = [event.run_id if target == "id" else event.status for event in events]
        if columns.is_nameless(target):
            yield from (row for row, text in enumerate(texts) if not text)
        if not columns.are_short(target, limit):
            yield from (row for row, text in enumerate(texts) if text and len(text) > limit)
        if not "".join([text or "" for text in texts]).isprintable():
            yield from (row for row, text in enumerate(texts) if text and not is_text(text))
    for target in NAMES:
        if not columns.are_short(target, MAX_NAME_CHARS):
            yield from (row for row, event in enumerate(events) if len(getattr(event, target) or "") > MAX_NAME_CHARS)
    if not columns.are_short(TOOLS, MAX_NAME_CHARS):
        yield from (row for row, event in enumerate(events) if event.required_tools)
    for target in TIMES:
        if not columns.are_in_range(target):
            times = (getattr(event, target) for event in events)
            yield from (row for row, time in enumerate(times) if not 0 <= (time or 0) <= MAX_UNIX_SECONDS)


def _passes(event: RunEvent) -> bool:
    try:
        check(event)
    except RecordRejected:
        return False
    return True
