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

from streamproc.codec.arrival import MAX_ID_CHARS, MAX_STATUS_CHARS, Framed, instants, is_text
from streamproc.codec.columns import Columns
from streamproc.codec.schemas import BEGIN_BYTES, END_BYTES, PROBE, PROBE_ERROR, WriterSchema
from streamproc.core.model import RunEvent
from streamproc.core.shape import TIMES

SUSPECTS = 4
"""So few are decoded one by one sooner than probed: a probe takes as long as two of them, however small it is."""


class BadRecords(Exception):
    """Some records of the batch are bad, or the fast decoder cannot tell: `suspects` has their rows, and few others.

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
    columns = Columns(batch, schema.plan)
    events = _events(columns, group, schema.label)
    if suspects := columns.cut() | columns.doubtful | set(_suspects(events)):
        raise BadRecords(sorted(suspects), [event for row, event in enumerate(events) if row not in suspects])
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
    return list(
        map(
            RunEvent,
            columns.required("id"),
            columns.statuses(),
            columns.texts("thread_id"),
            columns.shared("assistant_id"),
            columns.shared("model"),
            *(columns.times(target) for target in TIMES),
            columns.usage(),
            columns.codes(),
            columns.tools(),
            [framed.record.key for framed in group],
            instants([framed.record.timestamp for framed in group]),
            [framed.record.offset for framed in group],
            repeat(label),
            [framed.payload for framed in group],
            columns.flags(),  # The last of the columns, as it wants to be.
            [framed.partition for framed in group],
        )
    )


def _suspects(events: Sequence[RunEvent]) -> Iterator[int]:
    """Yield rows that `arrival.check` refuses. What is sound as a whole costs no look at the rows."""
    ids, statuses = [event.run_id for event in events], [event.status for event in events]
    for texts, limit in ((ids, MAX_ID_CHARS), (statuses, MAX_STATUS_CHARS)):
        if not all(texts) or max(map(len, texts)) > limit or not "".join(texts).isprintable():
            yield from (row for row, text in enumerate(texts) if not (text and len(text) <= limit and is_text(text)))
