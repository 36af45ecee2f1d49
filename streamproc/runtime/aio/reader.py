"""Reads one partition: the input, or a state to restore from."""

import time
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streamproc.codec.arrival import Arrival
from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio.connection import connection, started, stopped
from streamproc.runtime.aio.decompression import TooLarge, limit_decompression
from streamproc.runtime.aio.fetched import Damaged
from streamproc.runtime.aio.headernames import take_any_header_name
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Fetched, Gone, Unreadable
from streamproc.runtime.ports import TopicPartition as Place

FETCH_BYTES = 4_194_304
FETCH_MAX_WAIT_MS = 250
FRESH_S = 2.0
"""What the broker said longer ago tells nothing of the time since: the process may have stood still in between."""
SILENCE_S = 10.0
"""A broker answers every fetch, with nothing where there is nothing; without an answer for so long it is away."""
RAISE = "raise kafka.max_batch_bytes and restart where that is what a producer of yours sends"
LOOK = "if it was not damaged on the way, look at the broker's log with kafka-dump-log.sh"


class AioReader:
    """Reads one partition, without a group."""

    def __init__(self, settings: KafkaSettings, topic: str, partition: int) -> None:
        limit_decompression(max(settings.max_batch_bytes, 2 * settings.max_record_bytes))
        take_any_header_name()
        self._partition = TopicPartition(topic, partition)
        self._settings = settings
        self._answer: int | None = None
        self._silent_s = 0.0
        self._end: int | None = None
        self._consumer = AIOKafkaConsumer(
            group_id=None,
            isolation_level="read_committed",
            auto_offset_reset="none",
            enable_auto_commit=False,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            max_partition_fetch_bytes=max(FETCH_BYTES, 2 * settings.max_record_bytes),
            **connection(settings),
        )

    async def start(self) -> None:
        """Connect."""
        await started(self._consumer, self._settings)
        self._consumer.assign([self._partition])

    async def seek(self, offset: int) -> None:
        """Read from `offset` on."""
        self._consumer.seek(self._partition, offset)

    async def fetch(self, max_records: int, timeout_s: float) -> Fetched:
        """Return what is at hand; see the port."""
        consumer, partition = self._consumer, self._partition
        polled_before, began = consumer.last_poll_timestamp(partition), time.monotonic()
        try:
            found = await consumer.getmany(partition, timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except OffsetOutOfRangeError as error:
            raise await self._gone() from error
        except Damaged as error:
            way_out = RAISE if isinstance(error.why, TooLarge) else LOOK
            raise Unreadable(Place(*partition), error.first, error.last, f"{error.why}; {way_out}") from None
        except KafkaError as error:
            raise BrokerUnavailable(str(error)) from error
        records = found.get(partition, ())
        self._refuse_silence(records, time.monotonic() - began)
        # Only an answer that came in during this very call shows that there was nothing to read.
        answered = consumer.last_poll_timestamp(partition) != polled_before
        if answered:
            self._end = None  # It says how far the partition goes.
        return Fetched(records, caught_up=not records and answered and self.read_all())

    async def position(self) -> int:
        """Return the offset that would be read next."""
        position: int = await self._consumer.position(self._partition)
        return position

    def lag(self) -> int | None:
        """Return how many offsets lie between what was read and the last stable offset; None before it is known."""
        ends = [end for end in (self._consumer.last_stable_offset(self._partition), self._end) if end is not None]
        position = self._read_to()
        return None if position is None or not ends else max(0, max(ends) - position)

    def read_all(self) -> bool:
        """Return whether the broker said just now that nothing is unread, behind an open transaction neither."""
        end, position = self._consumer.highwater(self._partition), self._read_to()
        if end is None or position is None:
            return False
        # By the wall clock, as aiokafka has it: the monotonic one stands still with a machine that sleeps.
        age_s = time.time() - self._consumer.last_poll_timestamp(self._partition) / 1000
        # Behind the end is no better than before it: a new leader may not know yet how far the old one was.
        return bool(position == end and abs(age_s) < FRESH_S)

    async def look(self) -> None:
        """Find out how far the partition goes by now."""
        _, self._end = await self.bounds()

    async def close(self) -> None:
        """Give up the connection."""
        await stopped(self._consumer)

    async def bounds(self) -> tuple[int, int]:
        """Return the first offset and the last stable offset."""
        try:
            first = await self._consumer.beginning_offsets([self._partition])
            last = await self._consumer.end_offsets([self._partition])
        except KafkaError as error:
            raise BrokerUnavailable(str(error)) from error
        return first[self._partition], last[self._partition]

    async def offset_at(self, timestamp_ms: int) -> int | None:
        """Return the offset of the first record with this timestamp or a later one, None where there is none."""
        try:
            found = await self._consumer.offsets_for_times({self._partition: timestamp_ms})
        except KafkaError as error:
            raise BrokerUnavailable(str(error)) from error
        there = found.get(self._partition)
        return None if there is None or there.offset < 0 else int(there.offset)

    def _read_to(self) -> int | None:
        """Return the position without waiting for it."""
        state = self._consumer._subscription.subscription.assignment.state_value(self._partition)  # noqa: SLF001
        return state.position if state.has_valid_position else None

    def _refuse_silence(self, records: Sequence[Arrival], waited_s: float) -> None:
        """Raise BrokerUnavailable where nothing came for long: aiokafka itself would wait on without a word.

        Only the waiting counts: between two fetches a task may be paused.
        """
        answer = self._consumer.last_poll_timestamp(self._partition)
        if records or answer != self._answer:
            self._answer, self._silent_s = answer, 0.0
            return
        self._silent_s += waited_s
        if self._silent_s > SILENCE_S:
            raise BrokerUnavailable(f"{self._partition} has had no answer for {SILENCE_S:.0f} s")

    async def _gone(self) -> Gone:
        topic, partition = self._partition
        at, (first, last) = await self.position(), await self.bounds()
        return Gone(
            f"offset {at} of {topic} partition {partition} is no longer there (it holds {first} to {last}): retention "
            "removed unread records, or the topic was recreated",
            first if at < first else None,
        )
