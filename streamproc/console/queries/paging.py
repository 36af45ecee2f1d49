"""Reads one page of a table in the order of an index, newest first; the number of rows examined is bounded."""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any, NamedTuple

EXAMINED_AT_MOST = 20_000
"""How many rows are examined for one page. If the filter passes too few of them, the page is shorter."""

Key = Sequence[Any]
Part = tuple[str, Sequence[Any]]
"""An SQL condition, and the values of its placeholders."""


class PagedTable(NamedTuple):
    """A table to page through: `by` an index, in the order of its columns `key`, restricted to `within`."""

    table: str
    by: str
    key: Sequence[str]
    within: Sequence[Part] = ()


def page(
    db: Connection, source: PagedTable, columns: str, tried: Sequence[Part], limit: int, behind: Key | None
) -> tuple[list[Any], Key | None]:
    """Return up to `limit` rows behind a key that meet all of `tried`, and the key behind which there may be more.

    Each row has the source's key in front of `columns`.
    """
    key, order = ", ".join(source.key), ", ".join(f"{column} DESC" for column in source.key)
    marks = ", ".join("?" * len(source.key))
    within = [*source.within, *([(f"({key}) < ({marks})", behind)] if behind is not None else [])]
    condition, values = joined(within)
    examined = f"FROM {source.table} INDEXED BY {source.by} WHERE {condition} ORDER BY {order}"
    also, more = joined(tried)
    rows = db.execute(
        f"SELECT {key}, {columns} FROM (SELECT * {examined} LIMIT {EXAMINED_AT_MOST}) WHERE {also} LIMIT ?",
        [*values, *more, limit + 1],
    ).fetchall()
    if len(rows) > limit:
        return rows[:limit], rows[limit - 1][: len(source.key)]
    last = db.execute(f"SELECT {key} {examined} LIMIT 1 OFFSET {EXAMINED_AT_MOST - 1}", values).fetchone()
    return rows, last


def beginning_with(column: str, prefix: str) -> Part:
    """Return the condition for texts with a prefix, as a range of an index: U+10FFFF is the last character."""
    return f"{column} >= ? AND {column} < ?", (prefix, prefix + "\U0010ffff")


def joined(parts: Sequence[Part]) -> Part:
    """Join conditions with AND."""
    return " AND ".join(["true", *(text for text, _ in parts)]), [value for _, values in parts for value in values]
