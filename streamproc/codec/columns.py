"""The Arrow columns of a decoded batch, read at the paths of a plan: lists with a value for each record.

A column that is sound as a whole is taken as it stands; of any other each value is read as `reading` reads it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import pairwise, repeat
from operator import sub
from sys import intern
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamproc.codec.arrival import (
    FLAGS,
    MAX_METADATA_KEY_CHARS,
    MAX_METADATA_PAIRS,
    MAX_METADATA_VALUE_CHARS,
    MAX_NAME_CHARS,
    MAX_TOOL_CHARS,
    MAX_TOOLS_CHARS,
    MAX_UNIX_SECONDS,
    TIME_UNREADABLE,
    TIME_UNSET,
)
from streamproc.codec.moments import seconds
from streamproc.codec.plan import TEXT, WHOLE, Field, Path, Plan
from streamproc.codec.schemas import END, END_MARK
from streamproc.codec.values import ASTRAY, DAMAGED, count, metadata, text, tools, usage
from streamproc.core.shape import LIST, METADATA, TOKENS, TOOLS

Odd = dict[str, set[int]]
"""For each flag the rows that have it."""
Read = Callable[[Any, Field, Odd], list[Any]]
"""Returns the values of a column."""


class Columns:
    """The columns of a batch. `doubtful`: rows whose id or status has to be looked at, once they were asked for.

    What is odd about the rows is collected while their values are asked for: the flags come last.
    """

    def __init__(self, batch: Any, plan: Plan) -> None:
        self._columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        self._plan = plan
        self._rows = batch.num_rows
        self._odd: Odd = {}
        self.doubtful = set[int]()

    def cut(self) -> set[int]:
        """Return the rows that do not end where they should."""
        column = self._columns[END_MARK]
        if pc.min_max(column).as_py() == {"min": END, "max": END}:
            return set()
        return {row for row, end in enumerate(column.to_pylist()) if end != END}

    def required(self, target: str) -> list[str | None]:
        """Return the ids, or the statuses as they are written."""
        odd: Odd = {}
        found = self._values(target, partial(_texts, limit=MAX_NAME_CHARS), odd)
        self.doubtful.update(*odd.values())
        return [None] * self._rows if found is None else found

    def statuses(self) -> list[str | None]:
        """Return the statuses as the profile names them."""
        found, shape = _interned(self.required("status")), self._plan.shape
        if names := shape.statuses:
            found = [None if status is None else names.get(status, status) for status in found]
        if shape.only and not shape.only.issuperset(found):
            self.doubtful.update(row for row, status in enumerate(found) if status not in shape.only)
        return found

    def texts(self, target: str) -> Iterable[str | None]:
        """Return the texts of a target; Nones without end where there are none."""
        found = self._values(target, partial(_texts, limit=MAX_NAME_CHARS), self._odd)
        return repeat(None) if found is None else found

    def shared(self, target: str) -> Iterable[str | None]:
        """Return texts of which equal ones are one object: millions of runs share few statuses and models."""
        found = self._values(target, partial(_texts, limit=MAX_NAME_CHARS), self._odd)
        return repeat(None) if found is None else _interned(found)

    def codes(self) -> Iterable[str | None]:
        """Return the error codes: one that is empty says that there is none."""
        return (code or None for code in self.shared("error_code"))

    def times(self, target: str) -> Iterable[int | None]:
        """Return times in Unix seconds."""
        found = self._values(target, _times, self._odd)
        return repeat(None) if found is None else found

    def usage(self) -> Iterable[Any]:
        """Return token counts."""
        found = [self._values(target, _counts, self._odd) for target in TOKENS]
        if all(values is None for values in found):
            return repeat(None)
        return map(usage, *(repeat(None) if values is None else values for values in found))

    def tools(self) -> Iterable[tuple[str, ...]]:
        """Return the names of the required tools."""
        for field, column in self._columns_of(TOOLS):
            if LIST not in field.path:  # Which is not read, then.
                return _each(_raw(column, field), tools, self._odd)
            lists: Any = _at(self._columns, field.path[: field.path.index(LIST)])
            sound = _sound_texts(column, field, MAX_TOOL_CHARS)
            names = _raw(column, field) if sound is None else sound
            found = [names[start:end] for start, end in pairwise(lists.offsets.to_pylist())]
            if sound is None or max(map(len, found)) * MAX_TOOL_CHARS > MAX_TOOLS_CHARS:
                return _each(found, tools, self._odd)
            return [tuple([intern(name) for name in calls if name is not None]) for calls in found]
        return repeat(())

    def flags(self) -> Iterable[tuple[str, ...]]:
        """Return what is odd about each record: of all that was asked for, and of its metadata."""
        for field, column in self._columns_of(METADATA):
            if not field.is_read:
                _each(_raw(column, field), metadata, self._odd)
            elif not _is_small(column):
                _each(_maps(column), metadata, self._odd)
        if not any(self._odd.values()):
            return repeat(())
        found: list[tuple[str, ...]] = [()] * self._rows
        for flag in FLAGS:
            for row in self._odd.get(flag, ()):
                found[row] += (flag,)
        return found

    def _columns_of(self, target: str) -> Iterator[tuple[Field, Any]]:
        """Yield the columns that a target may be in, in the order in which they are tried."""
        for field in self._plan.fields.get(target, ()):
            column = _at(self._columns, field.path)
            if column is not None:
                yield field, column

    def _values(self, target: str, read: Read, odd: Odd) -> list[Any] | None:
        """Return the values of a target, of several columns the first that has one in a row; None: there are none."""
        found: list[Any] | None = None
        for field, column in self._columns_of(target):
            here: Odd = {}
            values = read(column, field, here)
            for flag, rows in here.items():
                # Where there is a value, the reference decoder looks no further.
                odd.setdefault(flag, set()).update(row for row in rows if found is None or found[row] is None)
            found = values if found is None else [a if a is not None else b for a, b in zip(found, values, strict=True)]
        return found


def _interned(texts: list[str | None]) -> list[str | None]:
    return [None if text is None else intern(text) for text in texts]


def _texts(column: Any, field: Field, odd: Odd, *, limit: int) -> list[Any]:
    sound = _sound_texts(column, field, limit)
    return _each(_raw(column, field), partial(text, limit=limit), odd) if sound is None else sound


def _sound_texts(column: Any, field: Field, limit: int) -> list[Any] | None:
    """Return the texts of a column; None where one of them has to be looked at."""
    if not field.is_read or field.kind not in TEXT or _longest(column) > limit:
        return None
    try:
        found: list[Any] = column.to_pylist()
    except UnicodeDecodeError:  # The fast decoder does not look at what is in a text.
        return None
    return found


def _times(column: Any, field: Field, odd: Odd) -> list[Any]:
    if field.kind not in WHOLE or not field.is_read:
        return _each(_raw(column, field), partial(seconds, per_second=field.per_second), odd)
    found: list[Any] = column.to_pylist()
    if field.per_second != 1:
        found = [None if time is None else time // field.per_second for time in found]
    bounds = pc.min_max(column).as_py()
    if bounds["min"] >= field.per_second and bounds["max"] // field.per_second <= MAX_UNIX_SECONDS:
        return found
    # What `seconds` does, for a whole column: some producers have no null, and write 0 with every record.
    odd[TIME_UNSET] = {row for row, time in enumerate(found) if time is not None and time <= 0}
    odd[TIME_UNREADABLE] = {row for row, time in enumerate(found) if time is not None and time > MAX_UNIX_SECONDS}
    return [time if time is not None and 0 < time <= MAX_UNIX_SECONDS else None for time in found]


def _counts(column: Any, field: Field, odd: Odd) -> list[Any]:
    if field.kind in WHOLE and field.is_read:
        found: list[Any] = column.to_pylist()
        return found
    return _each(_raw(column, field), count, odd)


def _each(values: Iterable[Any], read: Callable[..., Any], odd: Odd) -> list[Any]:
    """Return what a function of `values` or `moments` reads from each value."""
    found: list[Any] = []
    here: list[str] = []
    for row, value in enumerate(values):
        found.append(read(value, odd=here))
        for flag in here:
            odd.setdefault(flag, set()).add(row)
        here.clear()
    return found


def _raw(column: Any, field: Field) -> list[Any]:
    """Return the values of a column as the reference decoder has them."""
    if not field.is_read:
        return [ASTRAY if there else None for there in column.is_valid().to_pylist()]
    found: list[Any] = _damaged_texts(column) if field.kind in TEXT else column.to_pylist()
    return found


def _damaged_texts(column: Any) -> list[str | None]:
    return [None if value is None else value.decode(errors=DAMAGED) for value in column.cast(pa.binary()).to_pylist()]


def _maps(column: Any) -> list[dict[Any, Any]]:
    """Return a column of maps of texts. A key that stands twice counts once."""
    pairs = list(zip(_damaged_texts(column.keys), _damaged_texts(column.items), strict=True))
    return [dict(pairs[start:end]) for start, end in pairwise(column.offsets.to_pylist())]


def _at(columns: Mapping[str, Any], path: Path) -> Any | None:
    """Return the column at a path; at a list, the values of all its items."""
    return _below(columns.get(path[0]), path[1:])


def _below(column: Any, path: Path) -> Any | None:
    for step in path:
        if _is_void(column):
            return None
        # Not flatten(): that is done to all fields, and Arrow aborts the process where one of them is a union.
        column = column.values if step == LIST else pc.struct_field(column, step)
    return None if _is_void(column) else column


def _is_void(column: Any | None) -> bool:
    return column is None or column.null_count == len(column)


def _longest(column: Any) -> int:
    """Return how long the longest text is in bytes: it may still have fewer characters."""
    longest: int = pc.max(pc.binary_length(column)).as_py() or 0
    return longest


def _is_small(column: Any) -> bool:
    """Whether no metadata is over its limits, by the lengths in bytes."""
    ends = column.offsets.to_pylist()
    return (
        max(map(sub, ends[1:], ends)) <= MAX_METADATA_PAIRS
        and _longest(column.keys) <= MAX_METADATA_KEY_CHARS
        and _longest(column.items) <= MAX_METADATA_VALUE_CHARS
    )
