"""Removes rows that are too old or too many, a little at a time, so that nobody waits for it."""

from collections.abc import Iterable
from sqlite3 import Connection
from typing import NamedTuple

from streamproc.console.model.database import Database
from streamproc.console.model.entries import StepKind
from streamproc.console.model.history import partitions
from streamproc.console.model.letters import remove_letters
from streamproc.console.model.runs import remove
from streamproc.core.lifecycle import Profile

AT_ONCE = 2_000
STEPS_PER_RUN = 8
"""How many steps are kept for each run that may be kept."""


class HistoryRetention(NamedTuple):
    """How long the past is kept, and how many runs."""

    keep_ms: int
    max_runs: int
    profile: Profile


def tidy(database: Database, retention: HistoryRetention, now_ms: int) -> bool:
    """Remove rows over a limit, at most AT_ONCE of each kind; tell whether there may be more."""
    limit = now_ms - retention.keep_ms
    with database.transaction() as db:
        return any(
            [
                _old_steps(db, limit, STEPS_PER_RUN * retention.max_runs),
                _old_letters(db, limit),
                _surplus_runs(db, retention),
                _may_be_more(db.execute("DELETE FROM rates WHERE start < ?", [limit]).rowcount),
                _may_be_more(db.execute("DELETE FROM sums WHERE start < ?", [limit]).rowcount),
                _may_be_more(
                    db.execute(
                        "DELETE FROM windows WHERE (size, assistant, model, start) IN "
                        "(SELECT size, assistant, model, start FROM windows WHERE start < ? LIMIT ?)",
                        [limit, AT_ONCE],
                    ).rowcount
                ),
                _may_be_more(
                    db.execute(
                        "DELETE FROM alerts WHERE alert_id IN (SELECT alert_id FROM alerts WHERE decided < ? "
                        "AND NOT (state = 'firing' AND ends IS NULL) ORDER BY decided LIMIT ?)",
                        [limit, AT_ONCE],
                    ).rowcount
                ),
            ]
        )


def _old_steps(db: Connection, limit: int, most: int) -> bool:
    """Remove the first steps of each partition: those too old, and a share of those above `most`."""
    places = [(kind, partition) for kind in StepKind for partition in partitions(db, kind)]
    span = "SELECT min(offset), max(offset) FROM steps WHERE kind = ? AND partition = ?"
    spans = [db.execute(span, place).fetchone() for place in places]
    # Offset ranges serve as counts. Each partition gives up its share of the surplus.
    total = sum(last - first for first, last in spans)
    share = max(0, total - most) / max(total, 1)
    counts = [
        db.execute(
            "DELETE FROM steps WHERE kind = ? AND partition = ? AND offset IN (SELECT offset FROM steps WHERE kind = ? "
            "AND partition = ? ORDER BY offset LIMIT ?) AND (recorded < ? OR offset < ?)",
            [*place, *place, AT_ONCE, limit, first + int(share * (last - first))],
        ).rowcount
        for place, (first, last) in zip(places, spans, strict=True)
    ]
    return any(map(_may_be_more, counts))


def _old_letters(db: Connection, limit: int) -> bool:
    places = db.execute(
        "SELECT partition, offset FROM letters WHERE written < ? ORDER BY written LIMIT ?", [limit, AT_ONCE]
    ).fetchall()
    remove_letters(db, places)
    return _may_be_more(len(places))


def _surplus_runs(db: Connection, retention: HistoryRetention) -> bool:
    """Remove the runs that ended first. Open runs stay: somebody may have to act on them."""
    (total,) = db.execute("SELECT coalesce(sum(runs), 0) FROM facets WHERE name = 'status'").fetchone()
    surplus = min(total - retention.max_runs, AT_ONCE)
    if surplus <= 0:
        return False
    run_ids = _oldest(db, retention.profile.outcomes, surplus)
    remove(db, run_ids)
    db.execute(
        "INSERT INTO meta VALUES ('left_out', ?) ON CONFLICT (name) DO UPDATE SET "
        "value = CAST(value AS INTEGER) + excluded.value",
        [str(len(run_ids))],
    )
    return _may_be_more(len(run_ids))


def _oldest(db: Connection, statuses: Iterable[str], count: int) -> list[str]:
    rows = [
        row
        for status in statuses
        for row in db.execute("SELECT since, run_id FROM runs WHERE status = ? ORDER BY since LIMIT ?", [status, count])
    ]
    return [run_id for _, run_id in sorted(rows)[:count]]


def _may_be_more(count: int) -> bool:
    return count >= AT_ONCE
