"""Lists of runs, read in the order of an index, a bounded number at a time; and single runs.

A list is never counted or sorted as a whole. The index is chosen by how many runs have the requested values; the other
conditions are tried on the rows that it yields.
"""

import json
import time
from collections.abc import Mapping, Sequence
from sqlite3 import Connection
from typing import Any, NamedTuple

from streamproc.console.answers.runs import Run
from streamproc.console.qualifiers import Filter
from streamproc.console.queries.conditions import ages, conditions
from streamproc.console.queries.paging import Part, beginning_with, joined
from streamproc.console.queries.view import View

EXAMINED_AT_ONCE = 2_000
WIDER = 6
"""While a page is not full, each round examines this many times more rows."""
SEARCH_S = 0.12
"""Time for filling one page; it is cut short then, and the next page goes on from there."""
FEW = 5_000
MOST_STREAMS = 100
"""Limit on the values whose streams are merged: a producer may invent any number of statuses."""
COUNTED = ("status", "assistant", "model", "error")

Key = tuple[Any, ...]


class StoredRun(NamedTuple):
    """A run, and the offset of its state."""

    run: Run
    place: int


class RunsPart(NamedTuple):
    """A part of a list; `last`: the key of the last row examined, None where no rows follow."""

    runs: list[Run]
    last: Key | None
    is_partial: bool


class _Stream(NamedTuple):
    """The runs with one value of an index, in the order of the index."""

    by: str
    condition: str
    values: Sequence[Any]


def one(db: Connection, view: View, run_id: str) -> StoredRun | None:
    """Return one run."""
    row = db.execute(f"SELECT place, {view.columns} FROM runs WHERE run_id = ?", [run_id]).fetchone()
    return None if row is None else StoredRun(view.shown(row[1], row[2], row[3:]), row[0])


def page(
    db: Connection, view: View, wanted: Filter, sort: str, limit: int, behind: Key | None, now_ms: int
) -> RunsPart:
    """Return up to `limit` runs behind a key; raises BadQuery for metadata that is not indexed."""
    order, tried = _order(db, view, wanted, sort, now_ms), conditions(view, wanted, now_ms)
    rows: list[tuple[Key, Any]] = []
    deadline = time.monotonic() + SEARCH_S
    last, at_once, is_over = behind, limit + 1, False
    while len(rows) <= limit and not is_over and time.monotonic() < deadline:
        keys = order.keys(db, last, at_once)
        rows += _matching(db, view, keys, tried)
        is_over, last = len(keys) < at_once, keys[-1] if keys else last
        at_once = min(WIDER * at_once, EXAMINED_AT_ONCE)
    if len(rows) > limit:
        return RunsPart([_shown(view, row) for _, row in rows[:limit]], rows[limit - 1][0], is_partial=False)
    return RunsPart([_shown(view, row) for _, row in rows], None if is_over else last, is_partial=not is_over)


class _Order(NamedTuple):
    """The order of a list: streams that are merged by the columns of a key."""

    streams: Sequence[_Stream]
    columns: tuple[str, str]
    bounds: Sequence[Part] = ()
    is_descending: bool = False

    def keys(self, db: Connection, behind: Key | None, limit: int) -> list[Key]:
        """Return up to `limit` keys behind a key."""
        first, second = self.columns
        direction, sign = ("DESC", "<") if self.is_descending else ("ASC", ">")
        ordered = f"ORDER BY {first} {direction}, {second} {direction} LIMIT {limit:d}"
        bounds = [*self.bounds] if behind is None else [*self.bounds, (f"({first}, {second}) {sign} (?, ?)", behind)]
        within, bound_values = joined(bounds)
        parts: list[str] = []
        values: list[Any] = []
        for stream in self.streams:
            parts.append(
                f"SELECT * FROM (SELECT {first}, {second} FROM runs INDEXED BY {stream.by} "
                f"WHERE {stream.condition} AND {within} {ordered})"
            )
            values += [*stream.values, *bound_values]
        if not parts:
            return []
        return db.execute(
            f"{' UNION ALL '.join(parts)} ORDER BY 1 {direction}, 2 {direction} LIMIT {limit:d}", values
        ).fetchall()


def _order(db: Connection, view: View, wanted: Filter, sort: str, now_ms: int) -> _Order:
    if wanted.run_id:
        span = _Stream("sqlite_autoindex_runs_1", *beginning_with("run_id", wanted.run_id))
        return _Order([span], ("run_id", "id"))
    if sort == "deadline":
        limits = _Stream("runs_ends_first", "ends_first IS NOT NULL", ())
        return _Order([limits], ("ends_first", "id"))
    return _Order(
        _streams(db, view, wanted, now_ms), ("since", "id"), list(ages(wanted, now_ms)), is_descending=sort == "-since"
    )


def _streams(db: Connection, view: View, wanted: Filter, now_ms: int) -> Sequence[_Stream]:
    """Return the streams with the fewest runs."""
    for key, value in wanted.metadata.items():
        column = view.metadata_column(key)
        return [_Stream(f"runs_{column}", f"{column} = ?", (value,))]
    if threads := wanted.wanted.get("thread"):
        return [_Stream("runs_thread", "thread = ?", (thread,)) for thread in threads]
    if "illegal" in wanted.flags:
        return [_Stream("runs_illegal", "illegal", ())]
    if "overdue" in wanted.flags and _are_few(db, now_ms):
        return [_Stream("runs_ends_first", "ends_first <= ?", (now_ms,))]
    statuses = _statuses(db, view, wanted)
    options = [(sum(statuses.values()), "status", tuple(statuses))]
    options += [
        (sum(counts(db, name, among).values()), name, among)
        for name in COUNTED[1:]
        if (among := wanted.wanted.get(name))
    ]
    _, name, values = min(options)
    if len(values) > MOST_STREAMS:
        return [_Stream("runs_since", "true", ())]
    return [_Stream(f"runs_{name}", f"{name} = ?", (value,)) for value in values]


def _are_few(db: Connection, now_ms: int) -> bool:
    """Tell whether so few runs are overdue that they may be sorted: their index has another order."""
    few = f"SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_ends_first WHERE ends_first <= ? LIMIT {FEW + 1})"
    return bool(db.execute(few, [now_ms]).fetchone()[0] <= FEW)


def _statuses(db: Connection, view: View, wanted: Filter) -> Mapping[str, int]:
    """Return the existing statuses that a filter admits, with the number of runs in each."""
    outcomes = view.profile.outcomes

    def is_meant(status: str) -> bool:
        outcome = outcomes.get(status)
        return (
            status in wanted.wanted.get("status", (status,))
            and status not in wanted.unwanted.get("status", ())
            and outcome in wanted.wanted.get("outcome", (outcome,))
            and outcome not in wanted.unwanted.get("outcome", ())
            and not (outcome is not None and {"open", "overdue"} & set(wanted.flags))
            and not (outcome is None and "ended" in wanted.flags)
        )

    return {status: count for status, count in counts(db, "status").items() if is_meant(status)}


def counts(db: Connection, name: str, values: Sequence[str] | None = None) -> dict[str, int]:
    """Return how many runs have each value, of all values or of those given."""
    if values is None:
        return dict(db.execute("SELECT value, runs FROM facets WHERE name = ?", [name]).fetchall())
    among = "SELECT value, runs FROM facets WHERE name = ? AND value IN (SELECT value FROM json_each(?))"
    return dict(db.execute(among, [name, json.dumps(values)]).fetchall())


def total(db: Connection, view: View, wanted: Filter) -> int | None:
    """Return how many runs a filter admits, None where that is not known without looking at them."""
    is_counted = not (
        wanted.run_id
        or wanted.metadata
        or wanted.older_ms is not None
        or wanted.younger_ms is not None
        or {"overdue", "illegal"} & set(wanted.flags)
    )
    names = {*wanted.wanted, *wanted.unwanted}
    if is_counted and names <= {"status", "outcome"}:
        return sum(_statuses(db, view, wanted).values())
    if is_counted and len(wanted.wanted) == 1 and not wanted.unwanted and not wanted.flags:
        ((name, values),) = wanted.wanted.items()
        return sum(counts(db, name, values).values()) if name in COUNTED else None
    return None


def _matching(db: Connection, view: View, keys: Sequence[Key], tried: Part) -> list[tuple[Key, Run]]:
    by_id = {key[1]: key for key in keys}
    rows = db.execute(
        f"SELECT id, {view.columns} FROM runs NOT INDEXED WHERE id IN (SELECT value FROM json_each(?)) AND {tried[0]}",
        [json.dumps(list(by_id)), *tried[1]],
    )
    by_row_id = {row[0]: row[1:] for row in rows}
    return [(key, row) for key in keys if (row := by_row_id.get(key[1])) is not None]


def _shown(view: View, row: Sequence[Any]) -> Run:
    return view.shown(row[0], row[1], row[2:])
