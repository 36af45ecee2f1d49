"""Snapshots of one partition's state: when one is due, whether one fits, and what of the state topic follows it."""

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
    """What a snapshot is of: a commit. All that the state's topic has below `since` is in it.

    `topic_id`: of that topic, empty where the broker gives none: one that was made anew has another.
    """

    topic: str
    partition: int
    topic_id: str
    position: Position
    since: int


_encode = Encoder().encode
_decode = Decoder(About).decode


class Snapshots:
    """Of one partition; `where`: its state in Kafka."""

    def __init__(self, job: Job, source: TopicPartition, where: TopicPartition) -> None:
        self.where = where
        self._job = job
        self._source = source
        # Not all partitions at once: one thread writes them.
        share = (1 + source.partition % SPREAD_OVER) / SPREAD_OVER
        self._next_at = time.monotonic() + job.snapshot_interval_s * share
        self._asking: asyncio.Task[None] | None = None

    @property
    def are_taken(self) -> bool:
        """Whether there may be one."""
        return self._job.snapshot_interval_s < float("inf")

    async def load(self, keeper: PayloadKeeper | None, position: Position | None) -> int | None:
        """Load the last snapshot where it fits a commit; return from where on the topic has to be read.

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
        """Take a snapshot where one is due. `committed`: which commit the state is of; None: not known just now."""
        now = time.monotonic()
        if keeper is None or not keeper.is_lasting or now < self._next_at:
            return
        self._next_at = now + self._job.snapshot_interval_s
        self._asking = asyncio.create_task(self._take(keeper, committed))
        self._asking.add_done_callback(seen)

    async def _take(self, keeper: PayloadKeeper, committed: Callable[[], Position | None]) -> None:
        """Find out how far the topic goes, then which commit that may be of: a state of that one has all that is below.

        Somebody else may have the partition by now, and have committed what this state knows nothing of.
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
        """Tell whether a snapshot is of this commit or one before it; others may have committed since."""
        of = about.position
        return (
            (about.topic, about.partition, about.topic_id) == (*self._source, topic_id)
            and (of.partitions, of.profile) == (position.partitions, position.profile)
            and of.sequence <= position.sequence
            and of.offset <= position.offset
        )
