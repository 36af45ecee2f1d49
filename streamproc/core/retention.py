"""When a run is forgotten (rules.md 17)."""

from msgspec import Struct

from streamproc.core.model import Run

MIN_BUCKET_MS = 1_000
MAX_FORGOTTEN_PER_COMMIT = 5_000
BUCKETS_PER_RETENTION = 1_000
HEARD_PER_RETENTION = 100
"""How many times per retention an open run's state is renewed by events that change nothing else."""


class Retention(Struct, frozen=True):
    """How long a run is remembered."""

    terminal_ms: int
    open_ms: int

    @property
    def shortest_ms(self) -> int:
        """No run, ended or not, is forgotten before this."""
        return min(self.terminal_ms, self.open_ms)

    @property
    def bucket_ms(self) -> int:
        """The width of the buckets in which runs are filed by when they may be forgotten."""
        return max(MIN_BUCKET_MS, self.shortest_ms // BUCKETS_PER_RETENTION)

    @property
    def heard_every_ms(self) -> int:
        """After this time, an event that changes nothing else renews `retained_from` of an open run."""
        return max(1, self.open_ms // HEARD_PER_RETENTION)

    def due_at(self, run: Run, *, terminal: bool) -> int:
        """Return the instant, in milliseconds, from which the run is forgotten."""
        return run.retained_from + (self.terminal_ms if terminal else self.open_ms)
