"""What a worker goes by, whatever its stages do."""

import math
import time
from collections.abc import Callable

from msgspec import Struct

from streamproc.runtime.config import CommitSettings, DeadLetterSettings, TopicSettings
from streamproc.runtime.learning import Registry
from streamproc.runtime.observer import Observer
from streamproc.runtime.ports import Kafka


class Job(Struct, frozen=True):
    """What a worker goes by. `topics` with their prefix; `clock` gives wall time in seconds.

    `snapshot_interval_s`: how old a snapshot of a state may be; without end where there are none.
    """

    kafka: Kafka
    topics: TopicSettings
    commit: CommitSettings
    max_record_bytes: int
    observer: Observer
    registry: Registry | None = None
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    clock: Callable[[], float] = time.time
    snapshot_interval_s: float = math.inf

    def now_ms(self) -> int:
        """Return the wall time in milliseconds."""
        return int(self.clock() * 1000)
