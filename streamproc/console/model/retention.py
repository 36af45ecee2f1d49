"""What is too old, or too much, goes: a little at a time, so that nobody waits for it."""

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
"""For each run that is kept, so many steps."""


class HistoryRetention(NamedTuple):
    """How long the past is kept, and how many runs."""

    keep_ms: int
    max_runs: int
    profile: Profile


def tidy(database: Database, retention: HistoryRetention, now_ms: int) -> bool:
    """Take off what is over a limit, AT_ONCE of each kind at most; tell whether there may be more."""
    limit = now_ms - retention.keep_ms
    with database.transaction() as db:
        return any(
            [
                _old_steps(db, limit, STEPS_PER_RUN * retention.max_runs),
                _old_letters(db, limit),
                _surplus_runs(db, retention),
                _gone(db.execute("DELETE FROM rates WHERE start < ?", [limit]).rowcount),
                _gone(db.execute("DELETE FROM sums WHERE start < ?", [limit]).rowcount),
                _gone(
                    db.execute(
                        "DELETE FROM windows WHERE (size, assistant, model, start) IN "
                        "(SELECT size, assistant, model, start FROM windows WHERE start < ? LIMIT ?)",
                        [limit, AT_ONCE],
                    ).rowcount
                ),
                _gone(
                    db.execute(
                        "DELETE FROM alerts WHERE alert_id IN (SELECT alert_id FROM alerts WHERE decided < ? "
                        "AND NOT (state = 'firing' AND ends IS NULL) ORDER BY decided LIMIT ?)",
                        [limit, AT_ONCE],
                    ).rowcount
                ),
            ]
        )


def _old_steps(db: Connection, limit: int, most: int) -> bool:
    """Take off the first of each partition that are too old; and where there are too many, the first anyway."""
    places = [(kind, partition) for kind in StepKind for partition in partitions(db, kind)]
    span = "SELECT min(offset), max(offset) FROM steps WHERE kind = ? AND partition = ?"
    spans = [db.execute(span, place).fetchone() for place in places]
    # Offsets are as good as a count here: each partition gives up its share of what is too much.
    held = sum(last - first for first, last in spans)
    share = max(0, held - most) / max(held, 1)
    counts = [
        db.execute(
            "DELETE FROM steps WHERE kind = ? AND partition = ? AND offset IN (SELECT offset FROM steps WHERE kind = ? "
            "AND partition = ? ORDER BY offset LIMIT ?) AND (recorded < ? OR offset < ?)",
            [*place, *place, AT_ONCE, limit, first + int(share * (last - first))],
        ).rowcount
        for place, (first, last) in zip(places, spans, strict=True)
    ]
    return any(map(_gone, counts))


def _old_letters(db: Connection, limit: int) -> bool:
    places = db.execute(
        "SELECT partition, offset FROM letters WHERE written < ? ORDER BY written LIMIT ?", [limit, AT_ONCE]
    ).fetchall()
    remove_letters(db, places)
    return _gone(len(places))


def _surplus_runs(db: Connection, retention: HistoryRetention) -> bool:
    """Leave out the runs that ended first; of open ones none, or nobody would see what waits."""
    (held,) = db.execute("SELECT coalesce(sum(runs), 0) FROM facets WHERE name = 'status'").fetchone()
    surplus = min(held - retention.max_runs, AT_ONCE)
    if surplus <= 0:
        return False
    found = _oldest(db, retention.profile.outcomes, surplus)
    remove(db, found)
    db.execute(
        "INSERT INTO meta VALUES ('left_out', ?) ON CONFLICT (name) DO UPDATE SET "
        "value = CAST(value AS INTEGER) + excluded.value",
        [str(len(found))],
    )
    return _gone(len(found))


def _oldest(db: Connection, statuses: Iterable[str], count: int) -> list[str]:
    each = [
        row
        for status in statuses
        for row in db.execute("SELECT since, run_id FROM runs WHERE status = ? ORDER BY since LIMIT ?", [status, count])
    ]
    return [run_id for _, run_id in sorted(each)[:count]]


def _gone(count: int) -> bool:
    return count >= AT_ONCE
