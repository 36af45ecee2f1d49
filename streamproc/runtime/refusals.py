"""Output partitions that accept nothing, and when to try them again."""

import asyncio
import time
from collections.abc import Collection, Mapping

from streamproc.errors import BrokerUnavailable, TaskInvalid
from streamproc.runtime.denied import Denied
from streamproc.runtime.granting import is_granted, patience
from streamproc.runtime.observer import Pause
from streamproc.runtime.ports import Kafka, OutputRefused, TopicPartition
from streamproc.runtime.rights import Right


class _TopicRefusal:
    """The refusal of one output partition: its message, and its `sources`, which are empty once it may accept again.

    `by`: the transactional ids whose transactions were refused. Each wrote to the partition, so it ends only when the
    partition accepts its marker: this shows that it accepts again. `denied`: the lacking right, if that is the cause;
    then nothing was written, and the right is asked for instead.
    """

    def __init__(self) -> None:
        self.message = ""
        self.denied: Denied | None = None
        self.sources: frozenset[TopicPartition] = frozenset()
        self.by: frozenset[TopicPartition] = frozenset()
        self.again_at = 0.0
        self.backoff = patience()


_Answer = tuple[Collection[_TopicRefusal], Collection[TopicPartition], Collection[tuple[Right, ...]]]
"""The refusals that were asked about, the ids whose transactions have ended, and the rights that are granted again."""


class Refusals:
    """Refusals by output partition. A source that writes to one is paused: it is left out of the others' commit.

    `ending`: the ids whose transactions have not ended, as far as the worker knows; it takes off those that it fenced.
    """

    def __init__(self, kafka: Kafka, ending: set[TopicPartition], wake: asyncio.Event) -> None:
        self._kafka = kafka
        self._ending = ending
        self._wake = wake
        self._places: dict[TopicPartition, _TopicRefusal] = {}
        self._asking: asyncio.Task[_Answer] | None = None

    def add(
        self,
        error: OutputRefused | Denied,
        writers: Mapping[TopicPartition, Collection[TopicPartition]],
        by: TopicPartition | None,
    ) -> None:
        """Pause the writers of the places; a transaction with the id `by` was refused there."""
        denied = error if isinstance(error, Denied) else None
        why = error.why if isinstance(error, OutputRefused) else str(error)
        for place, sources in writers.items():
            refusal = self._places.setdefault(place, _TopicRefusal())
            refusal.message, refusal.denied = f"{place} takes no records: {why}", denied
            # Added to those before: a source that was still being restored then has met the same refusal now. If they
            # took turns, each turn would spend one more id on a transaction that does not end.
            refusal.sources |= frozenset(sources)
            if denied is None and by is not None:  # A denied write was not made: its transaction has ended.
                refusal.by |= {by}
            refusal.again_at = time.monotonic() + refusal.backoff.failed()
        if denied is None and by is not None:
            self._ending.add(by)

    def pause_of(self, source: TopicPartition) -> tuple[Pause, str] | None:
        """Return why a source is paused, None if it is not."""
        refusals = (each for each in self._places.values() if source in each.sources)
        return next(((Pause.DENIED if each.denied else Pause.OUTPUT, each.message) for each in refusals), None)

    def release(self) -> Collection[TopicPartition]:
        """Check whether places accept records again; return the sources that are no longer paused."""
        if self._asking is not None:
            return self._heard(self._asking)
        now = time.monotonic()
        due = [each for each in self._places.values() if each.sources and each.again_at <= now]
        if due:
            self._asking = asyncio.create_task(self._ask(due))
            self._asking.add_done_callback(lambda _: self._wake.set())
        return ()

    async def end(self) -> None:
        """Cancel the check."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
            self._asking = None

    def _heard(self, asking: "asyncio.Task[_Answer]") -> Collection[TopicPartition]:
        if not asking.done():
            return ()
        self._asking = None
        asked, ended, granted = asking.result()
        self._ending.difference_update(ended)
        free: set[TopicPartition] = set()
        for refusal in self._places.values():
            refusal.by &= self._ending
            if refusal.sources and not refusal.by and (refusal.denied is None or refusal.denied.rights in granted):
                free |= refusal.sources
                refusal.sources = frozenset()
            elif refusal in asked:  # Each waits for its own turn: of the others nothing is known yet.
                refusal.again_at = time.monotonic() + refusal.backoff.failed()
        return {source for source in free if not self.pause_of(source)}

    async def _ask(self, due: Collection[_TopicRefusal]) -> _Answer:
        # Only of those that are ending still: the worker may own one that has ended, and a check would fence it.
        ids = sorted({source for each in due for source in each.by & self._ending})
        denials = {each.denied.rights: each.denied for each in due if each.denied is not None}
        granted = {rights for rights, denied in denials.items() if await is_granted(self._kafka, denied)}
        try:
            return due, set(ids) - set(await self._kafka.fence(ids) if ids else ()), granted
        except (TaskInvalid, BrokerUnavailable):
            return due, set(), granted
