"""Reads one partition: the input, or a state to restore from."""

import time
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, RecordTooLargeError

from streamproc.codec.arrival import Arrival
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.aio.connection import connection, started, stopped
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Fetched

FETCH_BYTES = 4_194_304
FETCH_MAX_WAIT_MS = 250
SILENCE_S = 10.0
"""A broker answers every fetch, with nothing where there is nothing; without an answer for so long it is away."""


class AioReader:
    """Reads one partition, without a group."""

    def __init__(self, settings: KafkaSettings, topic: str, partition: int) -> None:
        self._partition = TopicPartition(topic, partition)
        self._settings = settings
        self._answer: int | None = None
        self._answered_at = time.monotonic()
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
        polled_before = consumer.last_poll_timestamp(partition)
        try:
            found = await consumer.getmany(partition, timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except (OffsetOutOfRangeError, RecordTooLargeError) as error:
            raise ConfigError(await self._unreadable(error)) from error
        except KafkaError as error:
            raise BrokerUnavailable(str(error)) from error
        records = found.get(partition, ())
        self._refuse_silence(records)
        # Only an answer that came in during this very call shows that there was nothing to read.
        answered = consumer.last_poll_timestamp(partition) != polled_before
        return Fetched(records, caught_up=not records and answered and self.lag() == 0)

    async def position(self) -> int:
        """Return the offset that would be read next."""
        position: int = await self._consumer.position(self._partition)
        return position

    def lag(self) -> int:
        """Return how many offsets lie between what was read and the last stable offset."""
        end = self._consumer.last_stable_offset(self._partition)
        state = self._consumer._subscription.subscription.assignment.state_value(self._partition)  # noqa: SLF001
        return max(0, end - state.position) if end is not None and state.has_valid_position else 0

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

    def _refuse_silence(self, records: Sequence[Arrival]) -> None:
        """Raise BrokerUnavailable where nothing came for long: aiokafka itself would wait on without a word."""
        answer = self._consumer.last_poll_timestamp(self._partition)
        if records or answer != self._answer:
            self._answer, self._answered_at = answer, time.monotonic()
        elif time.monotonic() - self._answered_at > SILENCE_S:
            raise BrokerUnavailable(f"{self._partition} has had no answer for {SILENCE_S:.0f} s")

    async def _unreadable(self, error: KafkaError) -> str:
        topic, partition = self._partition
        at = await self.position()
        if isinstance(error, RecordTooLargeError):
            # aiokafka has gone on to the next one already.
            return (
                f"the record at {topic} partition {partition} offset {at - 1} is larger than kafka.max_record_bytes: "
                "raise it"
            )
        first, last = await self.bounds()
        return (
            f"offset {at} of {topic} partition {partition} is no longer there (it holds {first} to {last}): retention "
            "removed unread records, or the topic was recreated. Start with a new application_id and new output topics"
        )
