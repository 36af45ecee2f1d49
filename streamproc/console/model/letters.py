"""Dead letters, and how many have reason, schema and place in common."""

from collections import Counter
from collections.abc import Sequence
from sqlite3 import Connection

from streamproc.console.model.entries import LetterRow, ReceiptRow, encode

Group = tuple[str, str, str, int]
"""Reason, schema, topic, partition of the events."""


def write_letters(db: Connection, letters: Sequence[LetterRow]) -> None:
    """Take over dead letters."""
    db.executemany(
        "INSERT OR REPLACE INTO letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
        [(*each[:7], each.said.key, encode(each.said)) for each in letters],
    )
    db.executemany(
        "INSERT INTO letter_groups VALUES (?, ?, ?, ?, 1, 1, ?, ?) ON CONFLICT (reason, schema, topic, source) DO "
        "UPDATE SET letters = letters + 1, open = open + 1, first = min(first, excluded.first), "
        "last = max(last, excluded.last)",
        [(*group_of(each), each.written, each.written) for each in letters],
    )


def write_receipts(db: Connection, receipts: Sequence[ReceiptRow]) -> None:
    """Take over which letters were sent back; a receipt for a letter that is not here is none."""
    closed: Counter[Group] = Counter()
    for partition, offset, at in receipts:
        row = db.execute(
            "SELECT reason, schema, topic, source, replayed FROM letters WHERE partition = ? AND offset = ?",
            (partition, offset),
        ).fetchone()
        if row is not None:
            *group, before = row
            closed[group[0], group[1], group[2], group[3]] += (at is not None) - (before is not None)
            db.execute("UPDATE letters SET replayed = ? WHERE partition = ? AND offset = ?", (at, partition, offset))
    db.executemany(
        "UPDATE letter_groups SET open = open - ? WHERE reason = ? AND schema = ? AND topic = ? AND source = ?",
        [(count, *group) for group, count in closed.items()],
    )


def remove_letters(db: Connection, places: Sequence[tuple[int, int]]) -> None:
    """Leave letters out."""
    groups: Counter[tuple[Group, bool]] = Counter()
    for place in places:
        row = db.execute(
            "SELECT reason, schema, topic, source, replayed IS NULL FROM letters WHERE partition = ? AND offset = ?",
            place,
        ).fetchone()
        groups[(row[0], row[1], row[2], row[3]), bool(row[4])] += 1
    db.executemany("DELETE FROM letters WHERE partition = ? AND offset = ?", places)
    db.executemany(
        "UPDATE letter_groups SET letters = letters - ?, open = open - ? "
        "WHERE reason = ? AND schema = ? AND topic = ? AND source = ?",
        [(count, count * is_open, *group) for (group, is_open), count in groups.items()],
    )
    db.execute("DELETE FROM letter_groups WHERE letters <= 0")


def group_of(letter: LetterRow) -> Group:
    """Return what a letter has in common with others."""
    return letter.reason, letter.schema, letter.topic, letter.source
