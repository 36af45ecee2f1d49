"""Reads many partitions by requests of our own: one for each leader, and only when somebody asks.

aiokafka's fetcher sends a request for each record that trickles in, has a lock that a rebalance shares, and hands out
what came in the order of fetching; this one lets the caller say when, and shares what comes fairly.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

from aiokafka import TopicPartition as AioPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.protocol.fetch import FetchRequest

from streamproc.codec.arrival import Arrival
from streamproc.codec.sizes import MAX_HEADERS, memory_bytes, omitted
from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio.asking import COMMITTED, EARLIEST, LATEST, listed
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import told
from streamproc.runtime.aio.connection import started, stopped
from streamproc.runtime.aio.decompression import TooLarge, limit_decompression
from streamproc.runtime.aio.fetched import Damaged
from streamproc.runtime.aio.headernames import AnyNames, Answer
from streamproc.runtime.aio.wire import by_topic
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Fetched, Gone, TopicPartition, Unreadable

PARTITION_BYTES, REQUEST_BYTES = 4_194_304, 33_554_432
"""Of one partition, and of one answer: what is not yet handed out lies in memory."""
PART_BYTES = 16 << 20
"""Handed out in one go, of a partition: a fetch of a megabyte may hold a thousand records of some megabytes each."""
ANSWERED_S = 0.1
"""More than the broker was told to wait for: its answer has a way to go."""
FRESH_S = 2.0
"""What the broker said longer ago tells nothing of the time since: the process may have stood still in between."""
SILENCE_S = 10.0
"""A broker answers every fetch, with nothing where there is nothing; without an answer for so long it is away."""
RETRY_S = 0.1
READ_COMMITTED = 1
RAISE = "raise kafka.max_batch_bytes and restart where that is what a producer of yours sends"
LOOK = "if it was not damaged on the way, look at the broker's log with kafka-dump-log.sh"


class _Partition:
    """What is known of one partition, and what is still to be handed out. `answer`: none since it was last asked for."""

    def __init__(self, place: TopicPartition, offset: int) -> None:
        self.place = place
        self.position = offset
        self.is_answered = False
        self.silent_s = 0.0
        self.high: int | None = None
        self.stable: int | None = None
        self.seen_end: int | None = None
        self._answered_at = 0.0
        self._records: AnyNames | None = None
        self._trouble: KafkaError | Damaged | None = None

    @property
    def has_news(self) -> bool:
        """Whether there is something to hand out, be it that there is nothing."""
        return self.is_answered or self._records is not None or self._trouble is not None

    @property
    def is_wanted(self) -> bool:
        """Whether a request is to ask for it."""
        return self._records is None and self._trouble is None and not self.is_answered

    def answered(self, high: int, stable: int, aborted: Any, data: bytes) -> None:
        """Take what the broker said."""
        self.is_answered, self.silent_s = True, 0.0
        self.high, self.stable, self.seen_end = high, stable, None
        self._answered_at = time.time()
        if data:
            place = AioPartition(*self.place)
            self._records = AnyNames(place, Answer(data), aborted, self.position, None, None, True, READ_COMMITTED)

    def failed(self, error: KafkaError) -> None:
        """Take an error about this partition that asking again does not change."""
        self._trouble = error

    def take(self, most: int) -> tuple[list[Arrival], KafkaError | Damaged | None]:
        """Return records that come next, or why they cannot be had, which is told only behind those in front of it."""
        self.is_answered = False
        found: list[Arrival] = []
        if self._trouble is None and self._records is not None:
            found = self._next(self._records, most)
        if found or self._trouble is None:
            return found, None
        trouble, self._trouble = self._trouble, None  # It is asked for again: it may have been damaged on the way.
        self._records = None
        return found, trouble

    def lag(self) -> int | None:
        ends = [end for end in (self.stable, self.seen_end) if end is not None]
        return max(0, max(ends) - self.position) if ends else None

    def read_all(self) -> bool:
        # By the wall clock: the monotonic one stands still with a machine that sleeps. Behind the end is no better than
        # before it: a new leader may not know yet how far the old one was.
        is_fresh = abs(time.time() - self._answered_at) < FRESH_S
        return self._records is None and self.position == self.high and is_fresh

    def _next(self, records: AnyNames, most: int) -> list[Arrival]:
        found: list[Arrival] = []
        size = 0
        try:
            for record in records:
                found.append(record)
                size += record.serialized_value_size + record.serialized_key_size
                if record.headers:
                    if len(record.headers) > MAX_HEADERS:
                        record.headers = omitted(len(record.headers))
                    size += memory_bytes(record.headers)
                if size >= PART_BYTES or len(found) >= most:
                    break
            else:
                self._records = None
        except Damaged as damage:
            self._trouble = damage
        self.position = records.next_fetch_offset
        return found


class AioFetcher:
    """A fetcher, by a client that may be shared: nothing that is urgent should wait behind its long polls."""

    def __init__(self, settings: KafkaSettings, client: Client, *, owns_client: bool = True) -> None:
        limit_decompression(max(settings.max_batch_bytes, 2 * settings.max_record_bytes))
        self._settings = settings
        self._client = client
        self._owns_client = owns_client
        self._partition_bytes = max(PARTITION_BYTES, 2 * settings.max_record_bytes)
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._turn = 0
        self._metadata_at = 0.0

    async def start(self) -> None:
        """Connect; raises BrokerUnavailable."""
        if self._owns_client:
            await started(self._client, self._settings)

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Read a partition from `offset` on."""
        self._partitions[place] = _Partition(place, offset)

    def drop(self, place: TopicPartition) -> None:
        """Forget a partition."""
        self._partitions.pop(place, None)

    async def poll(self, shares: Mapping[TopicPartition, int], timeout_s: float) -> Mapping[TopicPartition, Fetched]:
        """Return what is at hand; see the port."""
        wanted = [self._partitions[place] for place in shares]
        began = time.monotonic()
        await self._client.know({place.topic for place in shares})
        while True:
            left_s = began + timeout_s - time.monotonic()
            is_at_hand = any(each.has_news for each in wanted)
            self._ask(wanted, 0.0 if is_at_hand else max(0.0, left_s))
            if is_at_hand or left_s <= 0 or not self._requests:
                break
            await asyncio.wait(self._requests.values(), timeout=left_s + ANSWERED_S, return_when=asyncio.FIRST_COMPLETED)
        self._refuse_silence(wanted, time.monotonic() - began)
        found = {each.place: await self._take(each, shares[each.place]) for each in wanted if each.has_news}
        # Of what is known to have more the next part comes while this one is worked on.
        self._ask([each for each in wanted if each.lag()], 0.0)
        return found

    def position(self, place: TopicPartition) -> int:
        """Return the offset that would be read next."""
        return self._partitions[place].position

    def lag(self, place: TopicPartition) -> int | None:
        """Return how many offsets lie between what was read and the last stable offset heard of."""
        known = self._partitions.get(place)
        return None if known is None else known.lag()

    def read_all(self, place: TopicPartition) -> bool:
        """Return whether the broker said just now that nothing is unread."""
        known = self._partitions.get(place)
        return known is not None and known.read_all()

    async def look(self, place: TopicPartition) -> None:
        """Find out how far the partition goes by now."""
        try:
            end = (await listed(self._client, [place], LATEST, COMMITTED))[place]
        except KafkaError as error:
            raise BrokerUnavailable(str(error)) from error
        if place in self._partitions:
            self._partitions[place].seen_end = end

    async def close(self) -> None:
        """Give up the connections."""
        for request in self._requests.values():
            request.cancel()
        if self._owns_client:
            await stopped(self._client)

    def _ask(self, wanted: Collection[_Partition], wait_s: float) -> None:
        """Send a request to each leader of which some partition has nothing to hand out, unless one is under way."""
        by_leader: dict[int, list[_Partition]] = {}
        for each in wanted:
            if each.is_wanted:
                leader = self._client.cluster.leader_for_partition(AioPartition(*each.place))
                if leader is None or leader < 0:
                    self._refresh()
                elif leader not in self._requests:
                    by_leader.setdefault(leader, []).append(each)
        for leader, partitions in by_leader.items():
            self._turn += 1
            turn = self._turn % len(partitions)  # A broker fills its answer in their order.
            request = asyncio.create_task(self._request(leader, partitions[turn:] + partitions[:turn], wait_s))
            self._requests[leader] = request
            request.add_done_callback(partial(self._forget, leader))

    def _forget(self, leader: int, request: asyncio.Task[None]) -> None:
        if self._requests.get(leader) is request:
            del self._requests[leader]
        if not request.cancelled():
            request.exception()

    async def _request(self, leader: int, partitions: list[_Partition], wait_s: float) -> None:
        asked = {each.place: (each, each.position) for each in partitions}
        topics = by_topic((each.place, (each.place.partition, each.position, self._partition_bytes)) for each in partitions)
        request = FetchRequest(int(wait_s * 1000), 1, REQUEST_BYTES, READ_COMMITTED, topics)
        try:
            response = await self._client.send(leader, request)
        except KafkaError:
            self._refresh()
            await asyncio.sleep(RETRY_S)
            return
        for topic, answers in response.topics:
            for partition, code, high, stable, *rest in answers:
                each, offset = asked[TopicPartition(topic, partition)]
                # What was sought away, or forgotten, since it was asked for is not what is wanted now.
                if self._partitions.get(each.place) is each and each.position == offset:
                    # Versions differ in what stands in between.
                    self._answered(each, told(code), high, stable, next(_lists(rest), []), rest[-1])

    def _answered(
        self, each: _Partition, error: KafkaError | None, high: int, stable: int, aborted: Any, data: bytes
    ) -> None:
        if error is None:
            each.answered(high, stable, aborted, data or b"")
        elif isinstance(error, OffsetOutOfRangeError):
            each.failed(error)
        else:
            self._refresh()

    async def _take(self, each: _Partition, most: int) -> Fetched:
        was_answered = each.is_answered
        records, trouble = each.take(most)
        if isinstance(trouble, Damaged):
            way_out = RAISE if isinstance(trouble.why, TooLarge) else LOOK
            why = f"{trouble.why}; {way_out}"
            return Fetched((), False, Unreadable(each.place, trouble.first, trouble.last, why))
        if trouble is not None:
            return Fetched((), False, await self._gone(each))
        return Fetched(records, caught_up=not records and was_answered and each.read_all())

    async def _gone(self, each: _Partition) -> Gone:
        topic, partition = each.place
        try:
            first, last = [(await listed(self._client, [each.place], at, COMMITTED))[each.place] for at in (EARLIEST, LATEST)]
        except KafkaError as error:
            raise BrokerUnavailable(str(error)) from error
        return Gone(
            f"offset {each.position} of {topic} partition {partition} is no longer there (it holds {first} to {last}): "
            "retention removed unread records, or the topic was recreated",
            first if each.position < first else None,
        )

    def _refresh(self) -> None:
        """Ask for the leaders anew, a few times a second at most."""
        now = time.monotonic()
        if now - self._metadata_at >= RETRY_S:
            self._metadata_at = now
            self._client.force_metadata_update()

    def _refuse_silence(self, wanted: Collection[_Partition], waited_s: float) -> None:
        """Raise BrokerUnavailable where nothing came for long. Only the waiting counts: in between there may be pauses."""
        for each in wanted:
            if not each.has_news:
                each.silent_s += waited_s
                if each.silent_s > SILENCE_S:
                    raise BrokerUnavailable(f"{each.place} has had no answer for {SILENCE_S:.0f} s")


def _lists(fields: Collection[Any]) -> Iterator[list[Any]]:
    """Return the lists among the fields of an answer: there is one, of aborted transactions."""
    return (field for field in fields if isinstance(field, list))
