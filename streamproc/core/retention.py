"""When a run is forgotten (rules.md 17)."""

from msgspec import Struct

from streamproc.core.model import Run

MIN_BUCKET_MS = 1_000
MAX_FORGOTTEN_PER_COMMIT = 5_000
BUCKETS_PER_RETENTION = 1_000


class Retention(Struct, frozen=True):
    """How long a run is remembered."""

    terminal_ms: int
    open_ms: int

    @property
    def shortest_ms(self) -> int:
        """Before so long no run is forgotten, ended or not."""
        return min(self.terminal_ms, self.open_ms)

    @property
    def bucket_ms(self) -> int:
        """How finely runs are filed by when they may be forgotten."""
        return max(MIN_BUCKET_MS, self.shortest_ms // BUCKETS_PER_RETENTION)

    def due_at(self, run: Run, *, terminal: bool) -> int:
        """Return the instant, in milliseconds, from which the run is forgotten."""
        return run.retained_from + (self.terminal_ms if terminal else self.open_ms)
