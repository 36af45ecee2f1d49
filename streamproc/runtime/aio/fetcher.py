"""Reads many partitions with requests of our own: one to each leader at a time, and only while somebody polls.

aiokafka's fetcher asks for more whenever a record has trickled in, which is the cost of a quiet stream. This one asks
when it is polled: how much is read in one go is up to whoever polls, and so is how often.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from aiokafka import TopicPartition as AioPartition
from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streamproc.awaiting import set_within
from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio.asking import COMMITTED, EARLIEST, LATEST, listed
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import error_of, told
from streamproc.runtime.aio.connection import started, stopped
from streamproc.runtime.aio.contacts import Unreachable
from streamproc.runtime.aio.decompression import TooLarge, limit_decompression
from streamproc.runtime.aio.denials import OF_TOPIC, on_topic
from streamproc.runtime.aio.fetched import FetchedPartition, Heard
from streamproc.runtime.aio.fetchwire import Fetch
from streamproc.runtime.aio.headernames import Damaged
from streamproc.runtime.aio.wire import by_topic
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import Fetched, Gone, TopicPartition, Unreadable
from streamproc.runtime.rights import Operation

PARTITION_BYTES = 4_194_304
"""Of one partition in one answer; a batch that is larger comes alone."""
REQUEST_BYTES = 32 << 20
"""In one answer, and of what is at hand when another one is asked for."""
PROMPT = 0.9
"""Of the time for which a poll waits a broker may wait for records: so the answer comes in time."""
ANSWER_S = 5.0
"""For an answer, besides the time for which the broker may wait for records."""
SILENCE_S = 10.0
"""A broker answers every fetch, with nothing where there is nothing; without an answer for so long it is away."""
PAUSE_S = 1.0
"""Between two polls no more than that counts as waiting: whoever does not poll is told nothing."""
NOBODY = -1
"""Leads a partition whose replicas are all away."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 1.0
"""Before a leader is asked, or looked for, again; longer each time."""
NOTHING = Fetched((), caught_up=False)
"""Of a partition that a poll brings nothing of."""
Asked = tuple[FetchedPartition, int]
"""Of which partition, from which offset on."""
RAISE = "raise kafka.max_batch_bytes and restart where that is what a producer of yours sends"
LOOK = "if it was not damaged on the way, look at the broker's log with kafka-dump-log.sh"


class AioFetcher:
    """Reads many partitions, without a group."""

    def __init__(self, settings: KafkaSettings) -> None:
        limit_decompression(max(settings.max_batch_bytes, 2 * settings.max_record_bytes))
        self._settings = settings
        self._most_bytes = max(PARTITION_BYTES, 2 * settings.max_record_bytes)
        # One connection for each broker: a look-up delays fetches by no more than its own answer.
        self._client = Client(settings, ConnectionGroup.DEFAULT)
        # In the order of the request: a broker fills its answer from the front.
        self._partitions: dict[TopicPartition, FetchedPartition] = {}
        self._requests: dict[Any, asyncio.Task[None]] = {}
        self._waits_s: dict[Any, float] = {}
        self._news = asyncio.Event()
        self._failure: BaseException | None = None
        self._polled = 0.0

    async def start(self) -> None:
        """Connect; raises BrokerUnavailable."""
        await started(self._client, self._settings)

    def seek(self, place: TopicPartition, offset: int) -> None:
        """Read a partition from `offset` on; the answer to a request for its old position is dropped."""
        before = self._partitions.get(place)
        self._partitions[place] = FetchedPartition(place, offset, Heard() if before is None else before.heard)

    def drop(self, place: TopicPartition) -> None:
        """Forget a partition."""
        self._partitions.pop(place, None)

    def position(self, place: TopicPartition) -> int:
        """Return the offset that would be read next; it passes control markers and what compaction removed."""
        return self._partitions[place].position

    async def poll(self, shares: Mapping[TopicPartition, int], timeout_s: float) -> Mapping[TopicPartition, Fetched]:
        """Return what is at hand; see the port. Whoever cancels it loses nothing."""
        deadline = time.monotonic() + timeout_s
        self._refuse_silence(shares)
        self._news.clear()
        at_hand = self._at_hand(shares)
        while not at_hand and (left_s := deadline - time.monotonic()) > 0:
            self._ask(shares, left_s * PROMPT)
            if not await set_within(self._news, left_s):
                break
            self._news.clear()
            at_hand = self._at_hand(shares)
        has_records = any(each.records for each in at_hand.values())
        if not at_hand or (has_records and self._has_more(shares)):
            # Prefetch, only where the next poll has records anyway: else its answer would be as old as this request.
            # The broker must not wait for records: until it answers, no other request can be sent to it.
            self._ask(shares, 0)
        return at_hand

    def lag(self, place: TopicPartition) -> int | None:
        """Return how many offsets lie between what was read and the last stable offset heard of; None before any."""
        known = self._partitions.get(place)
        return None if known is None else known.heard.lag(known.position)

    def read_all(self, place: TopicPartition) -> bool:
        """Return whether the broker said just now that nothing is unread."""
        known = self._partitions.get(place)
        return known is not None and known.heard.says_all(known.position)

    async def look(self, place: TopicPartition) -> None:
        """Find out how far the partition goes by now."""
        known = self._partitions.get(place)
        end = await self._listed(place, LATEST)
        if known is not None:
            known.heard.looked = end

    async def close(self) -> None:
        """Give up the connections."""
        requests = [*self._requests.values()]
        for request in requests:
            request.cancel()
        if requests:
            await asyncio.wait(requests, timeout=1)
        await stopped(self._client)

    def _at_hand(self, shares: Mapping[TopicPartition, int]) -> dict[TopicPartition, Fetched]:
        """Take the records and errors that have arrived."""
        if self._failure is not None:
            raise self._failure
        at_hand: dict[TopicPartition, Fetched] = {}
        for each in self._wanted(shares):
            if each.has_news or each.answered:
                fetched = _taken(each, shares[each.place])
                each.answered = False
                if fetched is not None:
                    at_hand[each.place] = fetched
                    if fetched.records:
                        self._partitions[each.place] = self._partitions.pop(each.place)  # Behind those without records.
        return at_hand

    def _ask(self, shares: Iterable[TopicPartition], wait_s: float) -> None:
        """Fetch partitions with nothing at hand from each leader that has no request to answer."""
        wanted = self._wanted(shares)
        # Of what is polled: a partition that waits, perhaps for long, with its records at hand must not stop others.
        if sum(each.size for each in wanted) >= REQUEST_BYTES:
            return
        by_leader: dict[Any, list[FetchedPartition]] = {}
        for each in wanted:
            if not each.has_news:
                each.asked = True
                leader = self._client.cluster.leader_for_partition(AioPartition(*each.place))
                by_leader.setdefault(None if leader == NOBODY else leader, []).append(each)
        if None not in by_leader:
            self._waits_s.pop(None, None)
        for leader, partitions in by_leader.items():
            if leader not in self._requests:
                request = self._fetch(leader, partitions, wait_s) if leader is not None else self._find_leaders()
                self._requests[leader] = task = asyncio.create_task(request)
                task.add_done_callback(partial(self._done, leader))

    def _done(self, leader: Any, task: "asyncio.Task[None]") -> None:
        if self._requests.get(leader) is task:
            del self._requests[leader]
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
        self._news.set()

    async def _fetch(self, leader: int, partitions: list[FetchedPartition], wait_s: float) -> None:
        """Ask one leader; after a failure it is left alone for a while."""
        offsets = {each.place: (each, each.position) for each in partitions}
        topics = by_topic((place, (place.partition, at)) for place, (_, at) in offsets.items())
        request = Fetch(int(wait_s * 1000), REQUEST_BYTES, self._most_bytes, topics)
        try:
            async with asyncio.timeout(wait_s + ANSWER_S):
                response = await self._client.send(leader, request)
        except (KafkaError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                self._client.forget(leader, ConnectionGroup.DEFAULT)
            for each in partitions:
                each.refusal = error if isinstance(error, Unreachable) else each.refusal
            await self._find_leaders(leader)
            return
        self._waits_s.pop(leader, None)
        refused, is_stale = self._hear(response, offsets)
        if refused or is_stale:
            self._news.set()  # For the other partitions; otherwise `_done` sets it, once the leader may be asked again.
        for each in refused:
            await self._out_of_range(each)
        if is_stale or any(each.gone is None for each in refused):
            await self._find_leaders(leader)

    def _hear(self, response: Any, offsets: Mapping[TopicPartition, Asked]) -> tuple[list[FetchedPartition], bool]:
        """Take an answer; return the partitions whose position is refused, and whether the leader may have changed."""
        refused: list[FetchedPartition] = []
        is_stale = False
        for place, code, high, stable, aborted, data in response.answers:
            each, asked_at = offsets[place]
            if self._partitions.get(place) is not each or each.position != asked_at or each.has_news:
                continue  # A seek moved it, or another leader answered meanwhile.
            refusal = error_of(code)
            if refusal is None:
                each.hear(high, stable, aborted, data)
            elif isinstance(refusal, OffsetOutOfRangeError):
                refused.append(each)
            elif isinstance(refusal, OF_TOPIC):
                _deny(each, refusal)
            else:
                each.refusal, is_stale = refusal, True
        return refused, is_stale

    async def _out_of_range(self, each: FetchedPartition) -> None:
        """Find out which offsets the partition has instead."""
        try:
            first, last = await self._listed(each.place, EARLIEST), await self._listed(each.place, LATEST)
        except BrokerUnavailable:
            return  # It is asked for again.
        each.out_of_range(first, last, OffsetOutOfRangeError())

    async def _find_leaders(self, asked: int | None = None) -> None:
        """Refresh the leaders of all partitions, and leave the leader `asked` alone for a while."""
        wait_s = self._waits_s.get(asked, FIRST_WAIT_S)
        self._waits_s[asked] = min(2 * wait_s, LONGEST_WAIT_S)
        await self._client.refresh({place.topic for place in self._partitions})
        for place, each in self._partitions.items():
            if place.topic in self._client.hidden and each.asked:
                _deny(each, OF_TOPIC())
        self._news.set()
        await asyncio.sleep(wait_s)

    async def _listed(self, place: TopicPartition, at: int) -> int:
        try:
            async with asyncio.timeout(ANSWER_S):
                return (await listed(self._client, [place], at, COMMITTED))[place]
        except (KafkaError, TimeoutError) as error:
            raise BrokerUnavailable(f"no broker reports the end of {place}: {told(error)}") from error

    def _wanted(self, shares: Iterable[TopicPartition]) -> list[FetchedPartition]:
        return [each for place, each in self._partitions.items() if place in shares]

    def _has_more(self, shares: Iterable[TopicPartition]) -> bool:
        """Tell whether something is left at hand, or known to be there."""
        return any(each.has_news or each.heard.lag(each.position) for each in self._wanted(shares))

    def _refuse_silence(self, shares: Iterable[TopicPartition]) -> None:
        """Raise BrokerUnavailable after a long silence; only once, so that the other partitions go on in between."""
        now = time.monotonic()
        waited_s, self._polled = min(now - self._polled, PAUSE_S), now
        silent: list[FetchedPartition] = []
        for each in self._wanted(shares):
            if each.asked and not (each.has_news or each.answered):
                each.silent_s += waited_s
                silent.append(each)
        longest = max(silent, key=lambda each: each.silent_s, default=None)
        if longest is not None and longest.silent_s > SILENCE_S:
            for each in silent:
                each.silent_s = 0.0
            refusal = longest.refusal
            why = "" if refusal is None else f": {told(refusal)}"
            raise BrokerUnavailable(f"{longest.place} has had no answer for {SILENCE_S:.0f} s{why}") from refusal


def _deny(each: FetchedPartition, error: KafkaError) -> None:
    """Report at the next poll that the partition may not be read; it is not fetched again before a poll."""
    each.gone = Denied(on_topic(Operation.READ, each.place.topic))
    each.gone.__cause__ = error
    each.asked, each.silent_s = False, 0.0


def _taken(each: FetchedPartition, most: int) -> Fetched | None:
    """Return what the partition has to hand out; None where that is only the end of an answer handed out before."""
    try:
        records = each.take(most)
    except (Gone, Denied) as gone:
        return Fetched((), caught_up=False, trouble=gone)
    except Damaged as error:
        why = f"{error.why}; {RAISE if isinstance(error.why, TooLarge) else LOOK}"
        return Fetched((), caught_up=False, trouble=Unreadable(each.place, error.first, error.last, why))
    if not records and not each.answered:
        return None
    return Fetched(records, caught_up=not records and each.answered and each.heard.says_all(each.position))
