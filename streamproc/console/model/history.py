"""What happened: steps of runs, how many in each ten seconds, and the alerts as they are now."""

from collections.abc import Iterable, Iterator, Sequence
from sqlite3 import Connection

from streamproc.console.model.entries import Alerted, Arrived, StepKind, StepRow, encode

RATE_MS = 10_000


def write_steps(db: Connection, steps: Sequence[StepRow]) -> None:
    """Take over steps; each comes once, as its place is written along with it."""
    db.executemany(
        "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(each.kind, *each[1:6], encode(each.said)) for each in steps],
    )
    _write_rates(db, steps)
    _write_alerts(db, (each.said for each in steps if isinstance(each.said, Alerted)))


def partitions(db: Connection, kind: StepKind) -> Iterator[int]:
    """Yield the partitions of which there are steps, by going from one to the next."""
    at: int | None = -1
    while at is not None:
        row = db.execute("SELECT min(partition) FROM steps WHERE kind = ? AND partition > ?", [kind, at]).fetchone()
        if (at := row[0]) is not None:
            yield at


def _write_rates(db: Connection, steps: Iterable[StepRow]) -> None:
    rates: dict[int, list[int]] = {}
    for each in steps:
        said = each.said
        if isinstance(said, Arrived) and said.verdict == "applied":
            counts = rates.setdefault(each.at - each.at % RATE_MS, [0, 0, 0, 0, 0])
            counts[0] += 1
            counts[1] += said.from_status is None
            counts[2] += said.outcome == "succeeded"
            counts[3] += said.outcome == "failed"
            counts[4] += said.outcome is not None
    db.executemany(
        "INSERT INTO rates VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (start) DO UPDATE SET "
        "transitions = transitions + excluded.transitions, created = created + excluded.created, "
        "succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed, ended = ended + excluded.ended",
        [(start, *counts) for start, counts in rates.items()],
    )


def _write_alerts(db: Connection, alerts: Iterable[Alerted]) -> None:
    """Keep of each alert the latest record, and when it fired and was resolved."""
    db.executemany(
        "INSERT INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (alert_id) DO UPDATE SET "
        "state = excluded.state, decided = excluded.decided, ends = excluded.ends, packed = excluded.packed, "
        "fired = coalesce(excluded.fired, fired), resolved = excluded.resolved",
        [
            (
                each.alert_id,
                each.kind,
                each.state,
                each.run_id,
                each.assistant_id,
                each.decided_at,
                each.ends_at,
                each.decided_at if each.state == "firing" else None,
                each.decided_at if each.state == "resolved" else None,
                encode(each),
            )
            for each in alerts
        ],
    )
