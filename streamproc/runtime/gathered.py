"""The batches that one cycle gathers, and the partitions that have to stop."""

import time
from collections.abc import Collection, Mapping
from typing import NamedTuple

from streamproc.core.model import Moment
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import OutputRefused, TopicPartition, Unreadable
from streamproc.runtime.stage import Batch, MissingSchemas, TooMany
from streamproc.runtime.task import PartitionTask
from streamproc.store.checked import StoreDamaged
from streamproc.store.disk import DiskFails

Why = MissingSchemas | TooMany | Unreadable | Denied | DiskFails | StoreDamaged
"""Why a partition has to wait."""


class Stopped(NamedTuple):
    """A partition that has to wait at the record at `offset`, and why."""

    task: PartitionTask
    why: Why
    offset: int


class OutputsRefused(Exception):
    """Output partitions accept nothing. `writers`: the sources that write to each of them."""

    def __init__(
        self, error: OutputRefused | Denied, writers: Mapping[TopicPartition, Collection[TopicPartition]]
    ) -> None:
        super().__init__(str(error))
        self.error, self.writers = error, writers


class Gathered:
    """The batches of one cycle, the partitions for which the broker answered, and why some stopped."""

    def __init__(self, wall_ms: int) -> None:
        self.wall_ms = wall_ms
        self.began = time.monotonic()
        self.batches: dict[PartitionTask, Batch] = {}
        self.answered: dict[PartitionTask, bool] = {}
        """By task: whether the answer was that nothing is left."""
        self.stops: dict[PartitionTask, Why] = {}

    @property
    def load(self) -> float:
        """The share of a full commit that is in here."""
        return sum(batch.load for batch in self.batches.values())

    @property
    def records(self) -> int:
        """How many records were absorbed."""
        return sum(batch.records for batch in self.batches.values())

    def batch(self, task: PartitionTask) -> Batch:
        """Return the partition's batch; begin one if there is none yet."""
        if task not in self.batches:
            self.batches[task] = task.begin()
        return self.batches[task]

    def moment(self, task: PartitionTask) -> Moment:
        """Return when the partition was fetched, and whether it was caught up then."""
        return Moment(self.wall_ms, self.answered.get(task, False))
