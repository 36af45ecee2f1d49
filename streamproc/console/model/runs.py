"""Writes the runs, and how many have each value."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from sqlite3 import Connection
from typing import NamedTuple

from streamproc.console.model.entries import RunChange, encode
from streamproc.console.model.tables import metadata_column
from streamproc.core.alerts import AlertKind, kind_of
from streamproc.core.model import Run

FACETS = ("status", "assistant", "model", "error")
"""The columns for which the table `facets` counts the runs with each value."""
COLUMNS = ("run_id", "partition", "status", "since", "assistant", "model", "thread", "error", "ends_first", "illegal")
TAKEN_AT_ONCE = 2_000

EndsFirst = Callable[[Run], int | None]
"""When the first limit of a run is over, in milliseconds; None where it has none."""


class _Before(NamedTuple):
    run_id: str
    partition: int
    since: int
    status: str
    assistant: str | None
    model: str | None
    error: str | None


class RunTable:
    """Writes the latest state of each run."""

    def __init__(self, ends_first: EndsFirst, index_metadata: Sequence[str]) -> None:
        self._ends_first = ends_first
        metadata = [metadata_column(number) for number in range(len(index_metadata))]
        columns = [*COLUMNS, *metadata, "place", "packed"]
        changed = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
        self._upsert = (
            f"INSERT INTO runs ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
            f"ON CONFLICT (run_id) DO UPDATE SET {changed}"
        )

    def write(self, db: Connection, changes: Iterable[RunChange]) -> None:
        """Write states. For a run on two partitions, the state with the later status wins (rules.md 1)."""
        latest: dict[str, RunChange] = {}
        for change in changes:
            if (earlier := latest.get(change.run_id)) is None or _goes_before(change, earlier):
                latest[change.run_id] = change
        before = _known(db, latest)
        applied = [change for change in latest.values() if _is_news(change, before.get(change.run_id))]
        forgotten = [change.run_id for change in applied if change.run is None]
        counts: Counter[tuple[str, str]] = Counter()
        for change in applied:
            _count(counts, before.get(change.run_id), change.run)
        db.executemany(self._upsert, [self._row(change, change.run) for change in applied if change.run is not None])
        db.executemany("DELETE FROM runs WHERE run_id = ?", [(run_id,) for run_id in forgotten])
        _store(db, counts)

    def _row(self, change: RunChange, run: Run) -> tuple[object, ...]:
        return (
            run.run_id,
            change.partition,
            run.status,
            run.status_since,
            run.assistant_id,
            run.model,
            run.thread_id,
            run.error_code,
            self._ends_first(run),
            is_illegal(run),
            *change.metadata,
            change.offset,
            encode(run),
        )


def remove(db: Connection, run_ids: Sequence[str]) -> None:
    """Remove runs, to make room."""
    counts: Counter[tuple[str, str]] = Counter()
    for before in _known(db, run_ids).values():
        _count(counts, before, None)
    db.executemany("DELETE FROM runs WHERE run_id = ?", [(run_id,) for run_id in run_ids])
    _store(db, counts)


def is_illegal(run: Run) -> bool:
    """Tell whether an event contradicted the run's end."""
    return any(kind_of(identity) == AlertKind.ILLEGAL for identity in run.alerts)


def _known(db: Connection, run_ids: Iterable[str]) -> Mapping[str, _Before]:
    ids, stored = list(run_ids), dict[str, _Before]()
    for start in range(0, len(ids), TAKEN_AT_ONCE):
        rows = db.execute(
            "SELECT run_id, partition, since, status, assistant, model, error FROM runs "
            "WHERE run_id IN (SELECT value FROM json_each(?))",
            [json.dumps(ids[start : start + TAKEN_AT_ONCE])],
        )
        stored.update((row[0], _Before(*row)) for row in rows)
    return stored


def _goes_before(change: RunChange, earlier: RunChange) -> bool:
    """Tell whether `change` replaces `earlier`, a state of the same run that may be of another partition."""
    if change.run is None or earlier.run is None:
        return earlier.run is None
    return change.run.status_since >= earlier.run.status_since


def _is_news(change: RunChange, before: _Before | None) -> bool:
    if before is None:
        return change.run is not None
    if before.partition == change.partition:
        return True
    return change.run is not None and change.run.status_since >= before.since


def _count(counts: Counter[tuple[str, str]], before: _Before | None, after: Run | None) -> None:
    if before is not None:
        counts.subtract(_values(before.status, before.assistant, before.model, before.error))
    if after is not None:
        counts.update(_values(after.status, after.assistant_id, after.model, after.error_code))


def _values(*values: str | None) -> list[tuple[str, str]]:
    return [(name, value) for name, value in zip(FACETS, values, strict=True) if value is not None]


def _store(db: Connection, counts: Mapping[tuple[str, str], int]) -> None:
    changed = [(*key, count) for key, count in counts.items() if count]
    db.executemany(
        "INSERT INTO facets VALUES (?, ?, ?) ON CONFLICT (name, value) DO UPDATE SET runs = runs + excluded.runs",
        changed,
    )
    db.executemany("DELETE FROM facets WHERE name = ? AND value = ? AND runs = 0", [row[:2] for row in changed])
