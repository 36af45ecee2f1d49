"""A read model in a directory of a test, runs for it, and all that is in it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from streamproc.console.model.database import Database
from streamproc.console.model.entries import RunChange, Writes, unpack_run, unpack_sums
from streamproc.console.model.runs import RunTable
from streamproc.console.model.writing import write
from streamproc.console.queries.view import View
from streamproc.core.deadlines import Deadlines
from streamproc.core.model import Run
from streamproc.core.profiles import ASSISTANTS

EVENTS = "run-events"
METADATA = ("team",)
LIMITS = Deadlines(limits={status: seconds * 1_000 for status, seconds in ASSISTANTS.limits_s.items()})
VIEW = View(EVENTS, LIMITS, ASSISTANTS, METADATA)
TABLE = RunTable(VIEW.ends_first, METADATA)


def database(directory: Path, name: str = "console.sqlite", identity: str = "test") -> Database:
    """Open the read model of a directory."""
    return Database(directory / name, {"of": identity}, METADATA)


def run(run_id: str, status: str = "queued", since: int = 1_000, **fields: Any) -> Run:
    """Return a run."""
    values = {
        "thread_id": None,
        "assistant_id": None,
        "model": None,
        "status_offset": 0,
        "first_seen_at": since,
        "retained_from": since,
        "created_at": None,
        "started_at": None,
        "expires_at": None,
        "ended_at": None,
        "transitions": 1,
        "usage": None,
        "error_code": None,
        "required_tools": (),
        "alerts": (),
        "offset": 0,
        "event_schema": "json",
        "event": b"",
    }
    return Run(run_id=run_id, status=status, status_since=since, **{**values, **fields})


def change(found: Run, offset: int = 0, partition: int = 0, team: str | None = None) -> RunChange:
    """Return the record of a run's state."""
    return RunChange(found.run_id, partition, offset, found, (team,))


def gone(run_id: str, offset: int = 0, partition: int = 0) -> RunChange:
    """Return the null of a run that was forgotten."""
    return RunChange(run_id, partition, offset, None, ())


def put(into: Database, *changes: RunChange) -> None:
    """Write states in one batch."""
    write(into, TABLE, Writes(runs={(each.run_id, each.partition): each for each in changes}))


def runs_in(found: Database) -> dict[str, Run]:
    """Return all runs."""
    return {run_id: unpack_run(packed) for run_id, packed in found.writer.execute("SELECT run_id, packed FROM runs")}


def facets_in(found: Database) -> dict[tuple[str, str], int]:
    """Return how many runs have which value, as it is kept."""
    return {(name, value): count for name, value, count in found.writer.execute("SELECT * FROM facets")}


def contents(found: Database) -> dict[str, list[Any]]:
    """Return every row of what comes from the topics, decoded where the packing could differ."""
    kept = ("runs", "facets", "steps", "rates", "alerts", "letters", "letter_groups", "windows", "sums")
    rows = {table: sorted(_rows(found, table), key=repr) for table in kept}
    rows["sums"] = [(*key, unpack_sums(packed)) for *key, packed in rows["sums"]]
    return rows


def _rows(found: Database, table: str) -> Iterable[Any]:
    # The number of a run in the table is when it came; all else is what the topics say.
    columns = [name for _, name, *_ in found.writer.execute(f"PRAGMA table_info({table})") if name != "id"]
    return found.writer.execute(f"SELECT {', '.join(columns)} FROM {table}")
