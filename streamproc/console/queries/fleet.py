"""Queries about all runs: counts by status, rates, series of windows, completions of qualifiers."""

from collections import Counter
from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any

from streamproc.console.answers.fleet import Rate, SeriesPoint, StatusCount
from streamproc.console.model.entries import Sums, unpack_sums
from streamproc.console.model.history import RATE_MS
from streamproc.console.model.windows import add
from streamproc.console.queries.paging import beginning_with
from streamproc.console.queries.runs import counts
from streamproc.console.queries.view import View
from streamproc.console.reads import SeriesFilter

RATES_MS = 900_000
MOST_STATUSES = 100
MOST_COMPLETED = 1_000
"""How many values with a prefix are searched for the most frequent ones."""
NESTED = ("ended", "errors", "transitions", "tokens")


def statuses(db: Connection, view: View, now_ms: int) -> list[StatusCount]:
    """Return the runs by status: the profile's statuses in their order, then others that producers sent."""
    profile, counted = view.profile, counts(db, "status")
    others = [status for status, _ in Counter(counted).most_common() if status not in profile.statuses]
    named = [*profile.statuses, *others][:MOST_STATUSES]
    overdue = dict(
        db.execute(
            "SELECT status, count(*) FROM (SELECT status FROM runs INDEXED BY runs_ends_first WHERE ends_first <= ? "
            "LIMIT 100000) GROUP BY status",
            [now_ms],
        ).fetchall()
    )
    return [_status(db, view, status, counted.get(status, 0), overdue.get(status, 0)) for status in named]


def _status(db: Connection, view: View, status: str, count: int, overdue: int) -> StatusCount:
    oldest = db.execute(
        "SELECT since, run_id FROM runs INDEXED BY runs_status WHERE status = ? ORDER BY since LIMIT 1", [status]
    ).fetchone()
    since, run_id = oldest or (None, None)
    limit_ms = view.deadlines.limits.get(status)
    outcome = view.profile.outcomes.get(status)
    return StatusCount(
        status=status,
        outcome=outcome,
        is_open=outcome is None,
        count=count,
        overdue=overdue,
        oldest_since=since,
        oldest_run_id=run_id,
        limit_s=limit_ms // 1_000 if limit_ms else None,
    )


def rates(db: Connection, now_ms: int) -> list[Rate]:
    """Return the rates of each ten seconds in the last quarter of an hour, including those with no events."""
    last = now_ms - now_ms % RATE_MS
    first = last - RATES_MS + RATE_MS
    names = ("transitions", "created", "succeeded", "failed", "ended")
    rows = db.execute(f"SELECT start, {', '.join(names)} FROM rates WHERE start BETWEEN ? AND ?", [first, last])
    by_start = {start: dict(zip(names, counts, strict=True)) for start, *counts in rows}
    nothing = dict.fromkeys(names, 0)
    return [Rate(start=start, **by_start.get(start, nothing)) for start in range(first, last + 1, RATE_MS)]


def values(db: Connection, qualifier: str, prefix: str, limit: int) -> list[tuple[str, int]]:
    """Return values with a prefix, the most frequent first."""
    begins, bounds = beginning_with("value", prefix)
    rows = db.execute(
        f"SELECT value, runs FROM facets WHERE name = ? AND {begins} LIMIT ?", [qualifier, *bounds, MOST_COMPLETED]
    ).fetchall()
    return sorted(rows, key=lambda row: (-row[1], row[0]))[:limit]


def sizes(db: Connection) -> list[int]:
    """Return the sizes of the stored windows in milliseconds, ascending."""
    sizes_ms: list[int] = []
    while True:
        (size,) = db.execute("SELECT min(size) FROM sums WHERE size > ?", [sizes_ms[-1] if sizes_ms else 0]).fetchone()
        if size is None:
            return sizes_ms
        sizes_ms.append(size)


def windows(db: Connection, wanted: SeriesFilter, size_ms: int, limit: int) -> list[SeriesPoint]:
    """Return up to `limit` windows, summed over all assistants and models that the filter does not restrict."""
    span = [size_ms, wanted.since_ms, wanted.until_ms]
    if wanted.assistant is None and wanted.model is None:
        rows = db.execute(
            "SELECT start, packed FROM sums WHERE size = ? AND start >= ? AND start < ? ORDER BY start LIMIT ?",
            [*span, limit],
        )
        return [window(start, size_ms, unpack_sums(packed)) for start, packed in rows]
    conditions, named = "", list[Any]()
    for column, value in (("assistant", wanted.assistant), ("model", wanted.model)):
        if value is not None:
            conditions += f" AND {column} = ?"
            named.append(value)
    rows = db.execute(
        f"SELECT start, packed FROM windows WHERE size = ? AND start >= ? AND start < ?{conditions}",
        [*span, *named],
    )
    sums: dict[int, Sums] = {}
    for start, packed in rows:
        add(sums.setdefault(start, {}), unpack_sums(packed))
    return [window(start, size_ms, sums[start]) for start in sorted(sums)[:limit]]


def window(start: int, size_ms: int, sums: Sums) -> SeriesPoint:
    """Return the sums of a window as an answer."""
    nested: dict[str, dict[str, int]] = {name: {} for name in NESTED}
    for name, count in sums.items():
        outer, _, inner = name.partition(".")
        if outer in nested:
            nested[outer][inner] = count
    ended = sum(nested["ended"].values())
    return SeriesPoint(
        start=start,
        end=start + size_ms,
        created=sums.get("created", 0),
        ended=nested["ended"],
        errors=nested["errors"],
        transitions=nested["transitions"],
        tokens=nested["tokens"],
        failure_rate=nested["ended"].get("failed", 0) / ended if ended else None,
        queue_wait_mean_s=_mean_s(sums, "queue_wait"),
        run_duration_mean_s=_mean_s(sums, "run_duration"),
        action_wait_mean_s=_mean_s(sums, "action_wait"),
    )


def summed(windows: Sequence[SeriesPoint]) -> Counter[str]:
    """Return the total tokens of windows by type."""
    total: Counter[str] = Counter()
    for window in windows:
        total.update(window.tokens)
    return total


def _mean_s(sums: Sums, name: str) -> float | None:
    count = sums.get(f"{name}.count", 0)
    return round(sums.get(f"{name}.sum_ms", 0) / count / 1_000, 3) if count else None
