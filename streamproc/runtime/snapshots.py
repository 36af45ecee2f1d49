"""Snapshots of one partition's state: when one is due, whether one fits, from which offset the topic goes on."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder, Encoder

from streamproc.awaiting import seen
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.job import Job
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.position import Position, read
from streamproc.store.keeper import PayloadKeeper

SPREAD_OVER = 16


class About(Struct, array_like=True):
    """The commit that a snapshot is of. It contains all that the state topic has below the offset `since`.

    `topic_id`: of the state topic, empty where the broker gives none; a recreated topic has another.
    """

    topic: str
    partition: int
    topic_id: str
    position: Position
    since: int


_encode = Encoder().encode
_decode = Decoder(About).decode


class Snapshots:
    """The snapshots of one partition; `where`: its state topic partition."""

    def __init__(self, job: Job, source: TopicPartition, where: TopicPartition) -> None:
        self.where = where
        self._job = job
        self._source = source
        # Staggered by partition: one thread writes them all.
        share = (1 + source.partition % SPREAD_OVER) / SPREAD_OVER
        self._next_at = time.monotonic() + job.snapshot_interval_s * share
        self._asking: asyncio.Task[None] | None = None

    @property
    def are_taken(self) -> bool:
        """Whether snapshots are taken at all."""
        return self._job.snapshot_interval_s < float("inf")

    async def load(self, keeper: PayloadKeeper | None, position: Position | None) -> int | None:
        """Load the last snapshot if it fits the commit; return the offset from which the topic has to be read.

        None: from its beginning, nothing was loaded. Raises DiskFails, StoreDamaged.
        """
        if keeper is None or not self.are_taken:
            return None
        topic_id = await self._topic_id()
        abouts: list[About] = []

        def fits(about: bytes) -> bool:
            with suppress(DecodeError):
                abouts.append(_decode(about))
            return position is not None and bool(abouts) and self._fits(abouts[0], position, topic_id)

        return abouts[0].since if await keeper.load(fits) else None

    def take(self, keeper: PayloadKeeper | None, committed: Callable[[], Position | None]) -> None:
        """Take a snapshot if one is due. `committed`: returns the commit of the state, None while that is not known."""
        now = time.monotonic()
        if keeper is None or not keeper.is_lasting or now < self._next_at:
            return
        self._next_at = now + self._job.snapshot_interval_s
        self._asking = asyncio.create_task(self._take(keeper, committed))
        self._asking.add_done_callback(seen)

    async def _take(self, keeper: PayloadKeeper, committed: Callable[[], Position | None]) -> None:
        """Look up the end of the topic, then the last commit: a state of that commit has all records below that end.

        Another worker may own the partition by now, and have committed changes that this state does not have.
        """
        wall_ms = self._job.now_ms()
        try:
            _, since = await self._job.kafka.bounds(*self.where)
            stable = (await self._job.kafka.stable([self._source])).get(self._source)
            topic_id = await self._topic_id()
        except (BrokerUnavailable, ConfigError):
            return
        last = None if stable is None else read(stable)
        if not isinstance(last, Position):
            return
        sequence = last.sequence

        def about() -> bytes | None:
            position = committed()
            if position is None or position.sequence < sequence:
                return None
            return _encode(About(*self._source, topic_id, position, since))

        keeper.snapshot(about, wall_ms)

    async def _topic_id(self) -> str:
        return (await self._job.kafka.topic_ids([self.where.topic])).get(self.where.topic, "")

    def _fits(self, about: About, position: Position, topic_id: str) -> bool:
        """Tell whether a snapshot is of this commit or an earlier one; other workers may have committed since."""
        of = about.position
        return (
            (about.topic, about.partition, about.topic_id) == (*self._source, topic_id)
            and (of.partitions, of.profile) == (position.partitions, position.profile)
            and of.sequence <= position.sequence
            and of.offset <= position.offset
        )
