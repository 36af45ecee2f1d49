"""When a fold task tells the windows how far it has come (rules.md 18)."""

from streamproc.core.measure import Mark

MARK_INTERVAL_MS = 1_000
IDLE_INTERVAL_MS = 5_000
"""An idle source repeats its mark: windows close up to the time of its last mark, and no further."""


class Beacon:
    """The marks of one source: at most one in each second of the clock, and none without news.

    A source sends its mark when it is first asked in a second, or not in that second at all. Each mark goes to every
    partition of the measurements; so the marks of all sources of a worker are in one commit a second, not in each.
    """

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._last: Mark | None = None
        self._settled: int | None = None

    def due(self, watermark: int, *, idle: bool, seen_at: int, wall_ms: int) -> Mark | None:
        """Return the mark to send with the next commit, if one is due; `sent` confirms it."""
        second, last = wall_ms // MARK_INTERVAL_MS, self._last
        if second == self._settled:
            return None
        if last is not None and (last.watermark, last.idle, last.seen_at) == (watermark, idle, seen_at):
            repeats = idle and wall_ms // IDLE_INTERVAL_MS != last.sent_at // IDLE_INTERVAL_MS
            if not repeats:
                self._settled = second
                return None
        return Mark(self._partition, watermark, idle, seen_at, wall_ms)

    def sent(self, mark: Mark) -> None:
        """Note that the commit with the mark is confirmed."""
        self._last = mark
        self._settled = mark.sent_at // MARK_INTERVAL_MS

    def forget(self) -> None:
        """Forget the last mark: another owner may have sent marks in between."""
        self._last = self._settled = None
