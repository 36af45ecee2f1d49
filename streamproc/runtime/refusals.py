"""Partitions of the outputs that take nothing, and when it is worth while to try them again."""

import asyncio
import time
from collections.abc import Collection, Mapping

from streamproc.errors import TaskInvalid
from streamproc.runtime.backoff import Backoff
from streamproc.runtime.ports import Kafka, OutputRefused, TopicPartition

MIN_BACKOFF_S, MAX_BACKOFF_S = 1.0, 15.0


class _Refusal:
    """Of one place: what it says, who writes to it (nobody, once it may take something), who has found out by which id.

    The transaction of that id wrote to the place, so it ends when the place takes its marker: that is how one hears.
    """

    def __init__(self) -> None:
        self.message = ""
        self.sources: frozenset[TopicPartition] = frozenset()
        self.by: TopicPartition | None = None
        self.again_at = 0.0
        self.backoff = Backoff(MIN_BACKOFF_S, MAX_BACKOFF_S)


class Refusals:
    """By place. A partition that writes to one is held: it is left out of the commit of the others."""

    def __init__(self, kafka: Kafka, ending: set[TopicPartition], wake: asyncio.Event) -> None:
        self._kafka = kafka
        self._ending = ending
        self._wake = wake
        self._places: dict[TopicPartition, _Refusal] = {}
        self._asking: asyncio.Task[Collection[TopicPartition]] | None = None

    def add(
        self,
        error: OutputRefused,
        writers: Mapping[TopicPartition, Collection[TopicPartition]],
        by: TopicPartition | None,
    ) -> None:
        """Hold those that write to the places, as a transaction with the id `by` has found out."""
        for place, sources in writers.items():
            refusal = self._places.setdefault(place, _Refusal())
            refusal.message = f"{place} takes no records: {error.why}"
            refusal.sources = frozenset(sources)
            refusal.by = by
            refusal.again_at = time.monotonic() + refusal.backoff.failed()
        if by is not None:
            self._ending.add(by)

    def holds(self, source: TopicPartition) -> str:
        """Return why a partition is left out, empty where it is not."""
        return next((each.message for each in self._places.values() if source in each.sources), "")

    def release(self) -> Collection[TopicPartition]:
        """Look whether a place may take something by now; return those that are held no longer."""
        if self._asking is not None:
            return self._heard(self._asking)
        now = time.monotonic()
        due = [each for each in self._places.values() if each.sources and each.again_at <= now]
        ids = {each.by for each in due if each.by is not None}
        if due:
            self._asking = asyncio.create_task(self._ask(sorted(ids)))
            self._asking.add_done_callback(lambda _: self._wake.set())
        return ()

    async def end(self) -> None:
        """Break off what is asked."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
            self._asking = None

    def _heard(self, asking: "asyncio.Task[Collection[TopicPartition]]") -> Collection[TopicPartition]:
        if not asking.done():
            return ()
        self._asking = None
        ended = asking.result()
        self._ending.difference_update(ended)
        free: set[TopicPartition] = set()
        for refusal in self._places.values():
            if refusal.sources and (refusal.by is None or refusal.by in ended):
                free |= refusal.sources
                refusal.sources = frozenset()
            elif refusal.sources:
                refusal.again_at = time.monotonic() + refusal.backoff.failed()
        return {source for source in free if not self.holds(source)}

    async def _ask(self, ids: list[TopicPartition]) -> Collection[TopicPartition]:
        """Return those of the ids whose transactions have ended."""
        try:
            return set(ids) - set(await self._kafka.fence(ids))
        except TaskInvalid:
            return ()
