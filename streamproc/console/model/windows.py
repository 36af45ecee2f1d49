"""Windows of run-metrics by assistant and model, and their sums over all of them."""

from collections.abc import Collection, Mapping
from sqlite3 import Connection

from streamproc.console.model.entries import Sums, WindowRow, encode, unpack_sums

Key = tuple[int, int]
"""Size and start of a window, in milliseconds."""


def write_windows(db: Connection, windows: Collection[WindowRow]) -> None:
    """Take over windows, the latest revision of each; what the one before had said is taken off the sums."""
    differences: dict[Key, Sums] = {}
    for each in windows:
        before = db.execute(
            "SELECT revision, packed FROM windows WHERE size = ? AND assistant = ? AND model = ? AND start = ?",
            each[:4],
        ).fetchone()
        if before is not None and before[0] >= each.revision:
            continue
        sums = differences.setdefault((each.size, each.start), {})
        add(sums, each.sums)
        if before is not None:
            add(sums, unpack_sums(before[1]), -1)
        db.execute("INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?, ?, ?)", (*each[:5], encode(each.sums)))
    for key, difference in differences.items():
        row = db.execute("SELECT packed FROM sums WHERE size = ? AND start = ?", key).fetchone()
        sums = {} if row is None else unpack_sums(row[0])
        add(sums, difference)
        db.execute("INSERT OR REPLACE INTO sums VALUES (?, ?, ?)", (*key, encode(sums)))


def add(sums: Sums, others: Mapping[str, int], factor: int = 1) -> None:
    """Add counts to counts, name by name; what comes to nothing is left out."""
    for name, count in others.items():
        total = sums.get(name, 0) + factor * count
        if total:
            sums[name] = total
        else:
            sums.pop(name, None)
