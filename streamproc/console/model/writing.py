"""Writes a batch and the offsets behind it in one transaction, so that each record counts once."""

from collections.abc import Mapping
from sqlite3 import Connection

from streamproc.console.model.database import Database
from streamproc.console.model.entries import Checkpoint, Writes
from streamproc.console.model.history import write_steps
from streamproc.console.model.letters import write_letters, write_receipts
from streamproc.console.model.runs import RunTable
from streamproc.console.model.windows import write_windows
from streamproc.runtime.ports import TopicPartition


def write(database: Database, runs: RunTable, batch: Writes) -> None:
    """Write a batch, all of it or nothing."""
    with database.transaction() as db:
        runs.write(db, batch.runs.values())
        write_steps(db, batch.steps)
        write_letters(db, batch.letters)
        write_receipts(db, batch.receipts)
        write_windows(db, batch.windows.values())
        _write_instances(db, batch)
        write_marks(db, batch.marks)


def marks(db: Connection) -> dict[TopicPartition, Checkpoint]:
    """Return how far each partition was read."""
    rows = db.execute("SELECT topic, partition, next, last, print FROM positions")
    return {TopicPartition(topic, partition): Checkpoint(*mark) for topic, partition, *mark in rows}


def write_marks(db: Connection, marks: Mapping[TopicPartition, Checkpoint]) -> None:
    """Write how far partitions were read."""
    db.executemany(
        "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)", [(*place, *mark) for place, mark in marks.items()]
    )


def topic_ids(db: Connection) -> dict[str, str]:
    """Return the ids of the topics that were read, where they had one."""
    return dict(db.execute("SELECT topic, id FROM topics").fetchall())


def write_topic_ids(db: Connection, ids: Mapping[str, str]) -> None:
    """Write the ids of topics. This must happen before any of their records are read."""
    db.executemany("INSERT OR REPLACE INTO topics VALUES (?, ?)", ids.items())


def _write_instances(db: Connection, batch: Writes) -> None:
    for instance_id, packed in batch.instances.values():
        if packed is None:
            db.execute("DELETE FROM instances WHERE instance_id = ?", [instance_id])
        else:
            # The earlier report is kept, too: the CPU in use is the difference of two reports.
            db.execute(
                "INSERT INTO instances VALUES (?, ?, NULL) ON CONFLICT (instance_id) DO UPDATE SET before = packed, "
                "packed = excluded.packed",
                [instance_id, packed],
            )
