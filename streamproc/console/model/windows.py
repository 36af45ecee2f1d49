"""Writes windows of run-metrics by assistant and model, and their sums over all assistants and models."""

from collections.abc import Collection, Mapping
from sqlite3 import Connection

from streamproc.console.model.entries import Sums, WindowRow, encode, unpack_sums

Key = tuple[int, int]
"""Size and start of a window, in milliseconds."""


def write_windows(db: Connection, windows: Collection[WindowRow]) -> None:
    """Write the latest revision of each window, and replace its earlier revision in the sums."""
    differences: dict[Key, Sums] = {}
    for window in windows:
        before = db.execute(
            "SELECT revision, packed FROM windows WHERE size = ? AND assistant = ? AND model = ? AND start = ?",
            window[:4],
        ).fetchone()
        if before is not None and before[0] >= window.revision:
            continue
        sums = differences.setdefault((window.size, window.start), {})
        add(sums, window.sums)
        if before is not None:
            add(sums, unpack_sums(before[1]), -1)
        db.execute("INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?, ?, ?)", (*window[:5], encode(window.sums)))
    for key, difference in differences.items():
        row = db.execute("SELECT packed FROM sums WHERE size = ? AND start = ?", key).fetchone()
        sums = {} if row is None else unpack_sums(row[0])
        add(sums, difference)
        db.execute("INSERT OR REPLACE INTO sums VALUES (?, ?, ?)", (*key, encode(sums)))


def add(sums: Sums, others: Mapping[str, int], factor: int = 1) -> None:
    """Add counts to counts, name by name; names whose count becomes 0 are removed."""
    for name, count in others.items():
        total = sums.get(name, 0) + factor * count
        if total:
            sums[name] = total
        else:
            sums.pop(name, None)
