"""A subscription in a consumer group of its own: one consumer for all partitions, since there is little to read."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as AioPartition
from aiokafka.errors import CommitFailedError, GroupAuthorizationFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio.assignor import sticky
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.aio.codes import told
from streamproc.runtime.aio.connection import connection, started, stopped
from streamproc.runtime.aio.denials import on_group
from streamproc.runtime.aio.failures import refuse_deaf
from streamproc.runtime.aio.fetcher import AioFetcher
from streamproc.runtime.aio.group import MAX_HEARTBEAT_MS
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.denied import Denied
from streamproc.runtime.feed import Assigned, Brought, Start
from streamproc.runtime.ports import Committed, Fetched, Gone, TopicPartition, Unreadable
from streamproc.runtime.rights import Operation

UNASSIGNED_S = 0.1
"""Before a subscription looks again whether it has got partitions."""
FETCH_RECORDS = 200
"""Decoded in one go: a few milliseconds of the event loop that the pipeline runs on."""
PATIENCE_MS = 2_147_483_647
"""A reader whose receiver is away for hours fetches nothing in that time, and stays a member."""
NOTHING = Brought({}, frozenset())


class AioFeed(ConsumerRebalanceListener):
    """A subscription, by aiokafka: its consumer is the member, a fetcher reads."""

    def __init__(self, settings: KafkaSettings, group_id: str, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._group_id = group_id
        self._on_revoked: Callable[[], None] = lambda: None
        self._generation = 0
        self._news: frozenset[int] | None = None
        self._ends: dict[int, int] = {}
        self._kafka = AioKafka(settings, group_id)
        self._fetcher = AioFetcher(settings)
        self._consumer = AIOKafkaConsumer(
            group_id=group_id,
            group_instance_id=settings.group_instance_id,
            partition_assignment_strategy=(sticky(),),
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=min(MAX_HEARTBEAT_MS, settings.session_timeout_ms // 3),
            max_poll_interval_ms=PATIENCE_MS,
            enable_auto_commit=False,
            **connection(settings),
        )
        self._consumer._client = Client(settings)  # noqa: SLF001  it has made one of aiokafka's, and not started it

    async def start(self, on_revoked: Callable[[], None]) -> None:
        """Take part in the group."""
        self._on_revoked = on_revoked
        await started(self._consumer, self._settings)
        await self._fetcher.start()
        self._consumer.subscribe([self._topic], listener=self)

    async def fetch(self, timeout_s: float) -> Assigned | Brought:
        """Return the next assignment, or what is at hand."""
        async with self._unavailable("the subscription ended"):
            if self._news is not None:
                return await self._open(self._news)
            refuse_deaf(self._consumer)
            self._consumer._coordinator.check_errors()  # noqa: SLF001  its own fetches would say so
            if not self._ends:
                await asyncio.sleep(min(timeout_s, UNASSIGNED_S))
                return NOTHING
            generation = self._generation
            share = max(1, FETCH_RECORDS // len(self._ends))
            polled = await self._polled({self._at(number): share for number in self._ends}, timeout_s)
            if generation != self._generation:
                return NOTHING  # Whichever generation they belong to, `_open` seeks: they come again.
            for place, fetched in polled.items():
                await self._pass(place, fetched.trouble)
            return Brought(
                {place.partition: each.records for place, each in polled.items() if each.records}, self._caught_up()
            )

    async def commit(self, offsets: Mapping[int, Committed]) -> bool:
        """Store where to start next time."""
        stored = {
            AioPartition(*self._at(number)): OffsetAndMetadata(*committed) for number, committed in offsets.items()
        }
        try:
            # aiokafka would retry for ever.
            async with (
                self._unavailable("offsets are not stored"),
                asyncio.timeout(self._settings.request_timeout_ms / 1000),
            ):
                await self._consumer.commit(stored)
        except (CommitFailedError, IllegalStateError):
            return False
        return True

    async def close(self) -> None:
        """Leave the group."""
        await stopped(self._consumer)
        await self._fetcher.close()
        await self._kafka.close()

    async def on_partitions_revoked(self, revoked: Collection[AioPartition]) -> None:  # noqa: ARG002  all of them
        """Take note: from here on nothing is ours."""
        self._generation += 1
        self._news, self._ends = None, {}
        self._on_revoked()

    async def on_partitions_assigned(self, assigned: Collection[AioPartition]) -> None:
        """Take note, and let `fetch` ask where each of them starts: a callback must not wait for the broker."""
        self._generation += 1
        self._news = frozenset(partition for _, partition in assigned)
        self._consumer.pause(*assigned)
        for place in assigned:
            self._consumer.seek(place, 0)  # Else aiokafka asks where to begin.

    async def _open(self, partitions: frozenset[int]) -> Assigned | Brought:
        """Find out where to start, and go there; a seek drops what was fetched since the assignment."""
        generation, places = self._generation, [self._at(number) for number in partitions]
        stored = await self._kafka.offsets(places)
        spans = await self._kafka.spans(places) if places else {}
        if generation != self._generation:
            return NOTHING
        starts: dict[int, Start] = {}
        for place, (first, last) in spans.items():
            committed = stored.get(place)
            starts[place.partition] = Start(committed, _begin(committed, first, last), last)
            self._fetcher.seek(place, starts[place.partition].begin)
        self._ends = {number: start.end for number, start in starts.items()}
        self._news = None
        return Assigned(starts)

    async def _polled(self, shares: Mapping[TopicPartition, int], timeout_s: float) -> Mapping[TopicPartition, Fetched]:
        """Return what is at hand: nothing while the broker is away, as what was read before counts until it is back."""
        try:
            return await self._fetcher.poll(shares, timeout_s)
        except BrokerUnavailable:
            return {}

    async def _pass(self, place: TopicPartition, trouble: Gone | Unreadable | Denied | None) -> None:
        """Go on at the first record there is where the topic has dropped what comes next; raises what else there is."""
        if isinstance(trouble, Denied):
            raise trouble
        if isinstance(trouble, Unreadable):
            raise BrokerUnavailable(str(trouble)) from trouble
        if trouble is not None:
            first, _ = await self._kafka.bounds(*place)
            self._fetcher.seek(place, first)

    def _caught_up(self) -> frozenset[int]:
        """Return the partitions whose position, which passes control markers, reached the end of their start."""
        return frozenset(n for n, end in self._ends.items() if self._fetcher.position(self._at(n)) >= end)

    @asynccontextmanager
    async def _unavailable(self, what: str) -> AsyncIterator[None]:
        """Turn what aiokafka raises for trouble with the broker into BrokerUnavailable."""
        try:
            yield
        except (CommitFailedError, IllegalStateError):
            raise
        except GroupAuthorizationFailedError as error:
            raise Denied(on_group(Operation.READ, self._group_id)) from error
        except (KafkaError, TimeoutError) as error:
            raise BrokerUnavailable(f"{what}: {told(error)}") from error

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)


def _begin(committed: Committed | None, first: int, end: int) -> int:
    """Return where to start: at the first record too where the committed one is gone, or never was in this topic."""
    return committed.offset if committed is not None and first <= committed.offset <= end else first
