"""Partitions of the outputs that take nothing, and whose turn it is to try them again. Pure but for its clock."""

import time
from collections.abc import Iterable, Sequence

from streamproc.runtime.backoff import Backoff
from streamproc.runtime.cycle import Refused
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.task import PartitionTask

MIN_BACKOFF_S, MAX_BACKOFF_S = 1.0, 30.0
"""A try that fails again sets all partitions of the worker back."""


class _Refusal:
    """Of one place: what it says, who writes to it, and from when on one of them may try again."""

    def __init__(self) -> None:
        self.message = ""
        self.sources: set[TopicPartition] = set()
        self._backoff = Backoff(MIN_BACKOFF_S, MAX_BACKOFF_S)
        self.again_at = 0.0

    def add(self, message: str, sources: Iterable[TopicPartition]) -> None:
        self.message = message
        self.sources.update(sources)
        self.again_at = time.monotonic() + self._backoff.failed()


class Refusals:
    """By place. A partition that writes to one is held: it is left out of the commit of the others."""

    def __init__(self) -> None:
        self._places: dict[TopicPartition, _Refusal] = {}

    def add(self, refused: Refused) -> None:
        """Hold those that write to the places, until these take something."""
        for place, sources in refused.writers.items():
            self._places.setdefault(place, _Refusal()).add(f"{place} takes no records: {refused.error.why}", sources)

    def holds(self, task: PartitionTask) -> str:
        """Return why a task is left out, empty where it is not."""
        return next((each.message for each in self._places.values() if task.source in each.sources), "")

    def due(self, tasks: Sequence[PartitionTask]) -> PartitionTask | None:
        """Return the task that is to try again now, for all that are held with it."""
        now = time.monotonic()
        for refusal in self._places.values():
            if refusal.again_at <= now:
                return next((task for task in tasks if task.source in refusal.sources), None)
        return None

    def took(self, task: PartitionTask) -> Iterable[TopicPartition]:
        """Release those that were held with a task whose try succeeded; return them."""
        free = {place: each for place, each in self._places.items() if task.source in each.sources}
        for place in free:
            del self._places[place]
        return set().union(*(each.sources for each in free.values()))
