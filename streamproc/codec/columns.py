"""The Arrow columns of a decoded batch, read at the paths of a plan: lists with a value for each record.

Does for a column what `reading` does for an object, and gives the same values.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, repeat
from operator import sub
from sys import intern
from typing import Any

import pyarrow.compute as pc

from streamproc.codec.arrival import (
    MAX_METADATA_KEY_CHARS,
    MAX_METADATA_PAIRS,
    MAX_METADATA_VALUE_CHARS,
    MAX_TOOLS,
    MAX_UNIX_SECONDS,
    flags,
    seconds,
    usage,
)
from streamproc.codec.plan import WHOLE, Field, Path, Plan
from streamproc.codec.schemas import END, END_MARK
from streamproc.core.shape import LIST, METADATA, TOKENS, TOOLS


class Columns:
    """The columns of a batch. One that is absent, or all null, is None."""

    def __init__(self, batch: Any, plan: Plan) -> None:
        self._columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        self._plan = plan
        self._found = {target: self._find(fields) for target, fields in plan.fields.items()}

    def ends(self) -> list[int]:
        """Return the end marks."""
        ends: list[int] = self._columns[END_MARK].to_pylist()
        return ends

    def have_odd_ends(self) -> bool:
        """Tell whether a record does not end where it should."""
        return bool(pc.min_max(self._columns[END_MARK]).as_py() != {"min": END, "max": END})

    def texts(self, target: str) -> Iterable[Any]:
        """Return the texts of a target; Nones without end where there are none."""
        column = self._found.get(target)
        return repeat(None) if column is None else column.to_pylist()

    def shared(self, target: str) -> Iterable[str | None]:
        """Return texts of which equal ones are one object: millions of runs share few statuses and models."""
        column = self._found.get(target)
        if column is None:
            return repeat(None)
        return [None if text is None else intern(text) for text in column.to_pylist()]

    def statuses(self) -> Iterable[str | None]:
        """Return the statuses as the profile names them."""
        found, names = self.shared("status"), self._plan.shape.statuses
        return [status if status is None else names.get(status, status) for status in found] if names else found

    def times(self, target: str) -> Iterable[int | None]:
        """Return times in Unix seconds."""
        column = self._found.get(target)
        if column is None:
            return repeat(None)
        values: list[Any] = column.to_pylist()
        per_second = self._plan.fields[target][0].per_second
        return values if self._is_plain(target) else [seconds(value, per_second) for value in values]

    def usage(self) -> Iterable[Any]:
        """Return token counts."""
        found = [self._found.get(target) for target in TOKENS]
        if all(column is None for column in found):
            return repeat(None)
        return map(usage, *(repeat(None) if column is None else column.to_pylist() for column in found))

    def tools(self) -> tuple[Iterable[tuple[str, ...]], frozenset[int]]:
        """Return the names of the required tools, and the rows where there are too many."""
        if self._found.get(TOOLS) is None:
            return repeat(()), frozenset()
        [(path, *_)] = self._plan.fields[TOOLS]
        at = path.index(LIST)
        lists: Any = _at(self._columns, path[:at])
        names: Any = _below(lists.values, path[at + 1 :])
        texts: list[Any] = [None if name is None else intern(name) for name in names.to_pylist()]
        found = [tuple(texts[start:end]) for start, end in pairwise(lists.offsets.to_pylist())]
        if None in texts:
            found = [tuple(name for name in calls if name is not None) for calls in found]
        many = frozenset(row for row, calls in enumerate(found) if len(calls) > MAX_TOOLS)
        return ([calls[:MAX_TOOLS] for calls in found] if many else found), many

    def flags(self, too_many_tools: frozenset[int]) -> Iterable[tuple[str, ...]]:
        """Return what is odd about each record."""
        column = self._found.get(METADATA)
        if not too_many_tools and (column is None or _is_small(column)):
            return repeat(())
        rows = range(len(self._columns[END_MARK]))
        pairs = [None] * len(rows) if column is None else column.to_pylist()
        # A key that stands twice counts once, as in a dict.
        return [flags(dict(pairs[row] or ()).items(), MAX_TOOLS + 1 if row in too_many_tools else 0) for row in rows]

    def are_short(self, target: str, limit: int) -> bool:
        """Tell whether no text is longer than `limit`, in bytes: one that is may still have fewer characters."""
        column = self._found.get(target)
        return column is None or _longest(column) <= limit

    def is_nameless(self, target: str) -> bool:
        """Tell whether a text is null or empty."""
        column = self._found.get(target)
        return column is None or bool(column.null_count) or not pc.min(pc.binary_length(column)).as_py()

    def are_in_range(self, target: str) -> bool:
        """Tell whether every time is one, as far as that is seen at a glance."""
        column = self._found.get(target)
        if column is None:
            return True
        if not self._is_plain(target):
            return False
        bounds = pc.min_max(column).as_py()
        return bool(bounds["min"] >= 0 and bounds["max"] <= MAX_UNIX_SECONDS)

    def _is_plain(self, target: str) -> bool:
        field = self._plan.fields[target][0]
        return field.kind in WHOLE and field.per_second == 1

    def _find(self, fields: Sequence[Field]) -> Any | None:
        """Return the column of a target: of several, the first that is not null in a row."""
        found = [column for field in fields if (column := _at(self._columns, field.path)) is not None]
        return pc.coalesce(*found) if len(found) > 1 else found[0] if found else None


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
