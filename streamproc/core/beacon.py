"""When a fold task tells the windows how far it has come (rules.md 18)."""

from streamproc.core.measure import Mark

MARK_INTERVAL_MS = 1_000
IDLE_INTERVAL_MS = 5_000
"""A source that stays idle says so again: windows close by what it has read until then, and no further."""


class Beacon:
    """The marks of one source: at most one a second, and none that says nothing new."""

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._last: Mark | None = None

    def due(self, watermark: int, *, idle: bool, seen_at: int, wall_ms: int) -> Mark | None:
        """Return the mark to be sent with the next commit, if one is due; `sent` says that it was."""
        last = self._last
        if last is not None:
            same = (last.watermark, last.idle, last.seen_at) == (watermark, idle, seen_at)
            if same and not idle:
                return None
            if 0 <= wall_ms - last.sent_at < (IDLE_INTERVAL_MS if same else MARK_INTERVAL_MS):
                return None
        return Mark(self._partition, watermark, idle, seen_at, wall_ms)

    def sent(self, mark: Mark) -> None:
        """Take note of a confirmed mark."""
        self._last = mark

    def forget(self) -> None:
        """Begin anew: another owner may have sent marks in between."""
        self._last = None
