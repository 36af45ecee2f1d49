"""Writes dead letters, and their counts by reason, schema and source partition."""

from collections import Counter
from collections.abc import Sequence
from sqlite3 import Connection

from streamproc.console.model.entries import LetterRow, ReceiptRow, encode

Group = tuple[str, str, str, int]
"""Reason, schema, topic, partition of the events."""


def write_letters(db: Connection, letters: Sequence[LetterRow]) -> None:
    """Write dead letters."""
    db.executemany(
        "INSERT OR REPLACE INTO letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
        [(*letter[:7], letter.content.key, encode(letter.content)) for letter in letters],
    )
    db.executemany(
        "INSERT INTO letter_groups VALUES (?, ?, ?, ?, 1, 1, ?, ?) ON CONFLICT (reason, schema, topic, source) DO "
        "UPDATE SET letters = letters + 1, open = open + 1, first = min(first, excluded.first), "
        "last = max(last, excluded.last)",
        [(*group_of(letter), letter.written, letter.written) for letter in letters],
    )


def write_receipts(db: Connection, receipts: Sequence[ReceiptRow]) -> None:
    """Note which letters were sent back. A receipt for a letter that is not stored is ignored."""
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
    """Remove letters from the read model."""
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
    """Return the group of a letter."""
    return letter.reason, letter.schema, letter.topic, letter.source
