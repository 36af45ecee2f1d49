"""A subscription in a consumer group of its own: one consumer for all partitions, since there is little to read."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio.assignor import sticky
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.aio.connection import connection, started, stopped
from streamproc.runtime.aio.failures import refuse_mute
from streamproc.runtime.aio.group import MAX_HEARTBEAT_MS
from streamproc.runtime.aio.headernames import take_any_header_name
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.feed import Assigned, Brought, Start
from streamproc.runtime.ports import Committed
from streamproc.runtime.ports import TopicPartition as OurPartition

FETCH_MAX_WAIT_MS = 500
FETCH_RECORDS = 200
"""Decoded in one go: a few milliseconds of the event loop that the pipeline runs on."""
PATIENCE_MS = 2_147_483_647
"""A reader whose receiver is away for hours fetches nothing in that time, and stays a member."""
NOTHING = Brought({}, frozenset())


class AioFeed(ConsumerRebalanceListener):
    """A subscription, by aiokafka."""

    def __init__(self, settings: KafkaSettings, group_id: str, topic: str) -> None:
        take_any_header_name()
        self._settings = settings
        self._topic = topic
        self._on_revoked: Callable[[], None] = lambda: None
        self._generation = 0
        self._news: frozenset[int] | None = None
        self._ends: dict[int, int] = {}
        self._kafka = AioKafka(settings, group_id)
        self._consumer = AIOKafkaConsumer(
            group_id=group_id,
            group_instance_id=settings.group_instance_id,
            partition_assignment_strategy=(sticky(),),
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=min(MAX_HEARTBEAT_MS, settings.session_timeout_ms // 3),
            max_poll_interval_ms=PATIENCE_MS,
            isolation_level="read_committed",
            # Only where the topic has dropped what comes next while it was read; `_open` says where to start.
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            **connection(settings),
        )

    async def start(self, on_revoked: Callable[[], None]) -> None:
        """Take part in the group."""
        self._on_revoked = on_revoked
        await started(self._consumer, self._settings)
        self._consumer.subscribe([self._topic], listener=self)

    async def fetch(self, timeout_s: float) -> Assigned | Brought:
        """Return the next assignment, or what is at hand."""
        async with _unavailable("the subscription ended"):
            if self._news is not None:
                return await self._open(self._news)
            refuse_mute(self._consumer)
            generation = self._generation
            found = await self._consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=FETCH_RECORDS)
            if generation != self._generation:
                return NOTHING  # Whichever generation they belong to, `_open` seeks: they come again.
            return Brought({partition: records for (_, partition), records in found.items()}, self._caught_up())

    async def commit(self, offsets: Mapping[int, Committed]) -> bool:
        """Store where to start next time."""
        stored = {self._at(number): OffsetAndMetadata(*committed) for number, committed in offsets.items()}
        try:
            # aiokafka would retry for ever.
            async with (
                _unavailable("offsets are not stored"),
                asyncio.timeout(self._settings.request_timeout_ms / 1000),
            ):
                await self._consumer.commit(stored)
        except (CommitFailedError, IllegalStateError):
            return False
        return True

    async def close(self) -> None:
        """Leave the group."""
        await stopped(self._consumer)
        await self._kafka.close()

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002  all of them
        """Take note: from here on nothing is ours."""
        self._generation += 1
        self._news, self._ends = None, {}
        self._on_revoked()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Take note, and let `fetch` ask where each of them starts: a callback must not wait for the broker."""
        self._generation += 1
        self._news = frozenset(partition for _, partition in assigned)

    async def _open(self, partitions: frozenset[int]) -> Assigned | Brought:
        """Find out where to start, and go there; a seek drops what was fetched since the assignment."""
        generation, places = self._generation, [self._at(number) for number in partitions]
        async with asyncio.timeout(self._settings.request_timeout_ms / 1000):
            # Not by the consumer: it drops the metadata, and takes an error about the group for "nothing committed".
            stored = await self._kafka.offsets([OurPartition(*place) for place in places])
            first = await self._consumer.beginning_offsets(places) if places else {}
            last = await self._consumer.end_offsets(places) if places else {}
        if generation != self._generation:
            return NOTHING
        starts: dict[int, Start] = {}
        for place in places:
            committed = stored.get(OurPartition(*place))
            starts[place.partition] = Start(committed, _begin(committed, first[place], last[place]), last[place])
            self._consumer.seek(place, starts[place.partition].begin)
        self._ends = {number: start.end for number, start in starts.items()}
        self._news = None
        return Assigned(starts)

    def _caught_up(self) -> frozenset[int]:
        """Return the partitions whose position, which passes control markers, reached the end of their start."""
        assignment = self._consumer._subscription.subscription.assignment  # noqa: SLF001  without waiting for it
        states = {number: assignment.state_value(self._at(number)) for number in self._ends}
        return frozenset(
            number
            for number, end in self._ends.items()
            if (state := states[number]) is not None and state.has_valid_position and state.position >= end
        )

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)


def _begin(committed: Committed | None, first: int, end: int) -> int:
    """Return where to start: at the first record too where the committed one is gone, or never was in this topic."""
    return committed.offset if committed is not None and first <= committed.offset <= end else first


@asynccontextmanager
async def _unavailable(what: str) -> AsyncIterator[None]:
    """Turn what aiokafka raises for trouble with the broker into BrokerUnavailable."""
    try:
        yield
    except (CommitFailedError, IllegalStateError):
        raise
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(f"{what}: {error!r}") from error
