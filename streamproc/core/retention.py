"""When a run is forgotten (rules.md 17), and an index that finds the due ones without a scan.

The index is a calendar of buckets: 8 bytes a run, no entry removed before its bucket is due. A bucket's runs are looked
at again when it is due, because a run that moved on since then is due later.
"""

from collections.abc import Iterator
from heapq import heappop, heappush

from streamproc.core.model import Retention, Run

MIN_BUCKET_MS = 1_000
MAX_FORGOTTEN_PER_COMMIT = 5_000
BUCKETS_PER_RETENTION = 1_000


def due_at(run: Run, retention: Retention, *, terminal: bool) -> int:
    """Return the instant, in milliseconds, from which the run is forgotten."""
    return run.retained_from + (retention.terminal_ms if terminal else retention.open_ms)


class Calendar:
    """Run ids by the bucket of time in which they may be due. Derived from the state, never stored."""

    def __init__(self, retention: Retention) -> None:
        shortest = min(retention.terminal_ms, retention.open_ms)
        self._width = max(MIN_BUCKET_MS, shortest // BUCKETS_PER_RETENTION)
        self._buckets: dict[int, list[str]] = {}
        self._order: list[int] = []

    def add(self, run_id: str, due_ms: int) -> None:
        """Look at the run again once `due_ms` has passed."""
        bucket = due_ms // self._width + 1
        ids = self._buckets.get(bucket)
        if ids is None:
            self._buckets[bucket] = [run_id]
            heappush(self._order, bucket)
        else:
            ids.append(run_id)

    def due_buckets(self, now: int) -> Iterator[tuple[int, list[str]]]:
        """Yield the ids of each bucket that is due, oldest first, and the horizon up to which it goes."""
        for bucket in sorted(bucket for bucket in self._order if bucket * self._width <= now):
            yield bucket * self._width, self._buckets[bucket]

    def take(self, horizon: int) -> Iterator[str]:
        """Remove the buckets up to `horizon` and yield their ids."""
        while self._order and self._order[0] * self._width <= horizon:
            yield from self._buckets.pop(heappop(self._order))
