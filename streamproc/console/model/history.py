"""Writes the steps of runs, their rates in each ten seconds, and the current alerts."""

from collections.abc import Iterable, Iterator, Sequence
from sqlite3 import Connection

from streamproc.console.model.entries import Alerted, Arrived, StepKind, StepRow, encode

RATE_MS = 10_000


def write_steps(db: Connection, steps: Sequence[StepRow]) -> None:
    """Write steps. None counts twice: the offsets read are written in the same transaction."""
    db.executemany(
        "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(step.kind, *step[1:6], encode(step.content)) for step in steps],
    )
    _write_rates(db, steps)
    _write_alerts(db, (step.content for step in steps if isinstance(step.content, Alerted)))


def partitions(db: Connection, kind: StepKind) -> Iterator[int]:
    """Yield the partitions with steps of a kind. One index look-up for each, instead of a scan."""
    at: int | None = -1
    while at is not None:
        row = db.execute("SELECT min(partition) FROM steps WHERE kind = ? AND partition > ?", [kind, at]).fetchone()
        if (at := row[0]) is not None:
            yield at


def _write_rates(db: Connection, steps: Iterable[StepRow]) -> None:
    rates: dict[int, list[int]] = {}
    for step in steps:
        content = step.content
        if isinstance(content, Arrived) and content.verdict == "applied":
            counts = rates.setdefault(step.at - step.at % RATE_MS, [0, 0, 0, 0, 0])
            counts[0] += 1
            counts[1] += content.from_status is None
            counts[2] += content.outcome == "succeeded"
            counts[3] += content.outcome == "failed"
            counts[4] += content.outcome is not None
    db.executemany(
        "INSERT INTO rates VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (start) DO UPDATE SET "
        "transitions = transitions + excluded.transitions, created = created + excluded.created, "
        "succeeded = succeeded + excluded.succeeded, failed = failed + excluded.failed, ended = ended + excluded.ended",
        [(start, *counts) for start, counts in rates.items()],
    )


def _write_alerts(db: Connection, alerts: Iterable[Alerted]) -> None:
    """Keep the latest record of each alert, and when it fired and was resolved."""
    db.executemany(
        "INSERT INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (alert_id) DO UPDATE SET "
        "state = excluded.state, decided = excluded.decided, ends = excluded.ends, packed = excluded.packed, "
        "fired = coalesce(excluded.fired, fired), resolved = excluded.resolved",
        [
            (
                alert.alert_id,
                alert.kind,
                alert.state,
                alert.run_id,
                alert.assistant_id,
                alert.decided_at,
                alert.ends_at,
                alert.decided_at if alert.state == "firing" else None,
                alert.decided_at if alert.state == "resolved" else None,
                encode(alert),
            )
            for alert in alerts
        ],
    )
