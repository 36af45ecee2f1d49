"""One partition of a fetcher: its position, the fetched records not yet handed out, the offsets the broker reported.

Records are handed out in parts: each is limited in bytes, and the records in front of a batch that cannot be read come
before the error about that batch.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition as AioPartition
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import KafkaError

from streamproc.codec.batched import Batched, Record
from streamproc.codec.sizes import MAX_HEADERS, memory_bytes, omitted
from streamproc.native import module
from streamproc.runtime.aio.headernames import AnyNames, Damaged, RereadableBatches
from streamproc.runtime.aio.unpacked import FetchedBatches, Odd
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import Gone, TopicPartition

if TYPE_CHECKING:
    from streamproc_native import Batch

PART_BYTES = 16 << 20
"""Limits a part: bytes of its values, keys and headers in memory. A compressed fetch of a megabyte may contain a
thousand records of some megabytes each."""
CHECKED = True
DOUBT_S = 2.0
"""How long a leader may say that a partition ends before our position: a new one may not know yet how far it goes."""
FRESH_S = 2.0
"""An older answer proves nothing about the time since: the process may have been suspended in between."""


class Heard:
    """The offsets that the broker reported for a partition. They outlive a seek."""

    def __init__(self) -> None:
        self.at = 0.0
        self.high: int | None = None
        self.stable: int | None = None
        self.looked: int | None = None

    def take(self, high: int, stable: int) -> None:
        """Take the end offsets from the answer to a fetch."""
        # By the wall clock: the monotonic one stands still with a machine that sleeps.
        self.at, self.high, self.stable, self.looked = time.time(), high, stable, None

    def lag(self, position: int) -> int | None:
        """Return how many offsets lie between a position and the last stable offset; None before one was reported."""
        ends = [end for end in (self.stable, self.looked) if end is not None]
        return max(0, max(ends) - position) if ends else None

    def says_all(self, position: int) -> bool:
        """Tell whether the broker reported just now that nothing follows a position, not even an open transaction."""
        # A position beyond the end does not count either: a new leader may not know yet how far the old one was.
        return self.high == position and abs(time.time() - self.at) < FRESH_S


class FetchedPartition:
    """One partition from one offset on: a seek replaces it by another one.

    `asked`: whether a poll waits for the broker's answer. `answered`: whether an answer came since the last one was
    handed out. `silent_s`: how long polls have waited in vain. `refusal`: the broker's own error, or why there is no
    connection. `gone`: the error for a position that is out of range, or may not be read. `size`: bytes of the fetched
    batches, as they came.
    """

    def __init__(self, place: TopicPartition, offset: int, heard: Heard) -> None:
        self.place = place
        self.position = offset
        self.heard = heard
        self.asked = self.answered = False
        self.silent_s = 0.0
        self.refusal: KafkaError | None = None
        self.gone: Gone | Denied | None = None
        self.size = 0
        self._doubted_at: float | None = None
        self._records: Records | Unpacked | None = None
        self._damage: Damaged | None = None

    @property
    def has_news(self) -> bool:
        """Whether there are records, or trouble, to be handed out."""
        return self._records is not None or self._damage is not None or self.gone is not None

    def hear(self, high: int, stable: int, aborted: Any, data: bytes) -> None:
        """Take the broker's answer: high watermark, last stable offset, aborted transactions, and batches."""
        self.asked, self.answered, self.silent_s, self.refusal, self._doubted_at = False, True, 0.0, None, None
        self.heard.take(high, stable)
        if data:
            self.size = len(data)
            self._records = _records(self.place, data, aborted, self.position)

    def out_of_range(self, first: int, last: int, refusal: KafkaError) -> None:
        """Take the refusal of the position as out of range, and the offsets that there are: it is gone, or in doubt.

        In doubt it must be fetched again, from whoever leads then: a broker that lost its disk, or has just become the
        leader, refuses offsets that other replicas have.
        """
        now, self.refusal = time.monotonic(), refusal
        self._doubted_at = self._doubted_at or now
        is_shorter = self.position > last and now - self._doubted_at > DOUBT_S
        if self.position < first or is_shorter:
            self.gone = Gone(
                f"offset {self.position} of {self.place} is no longer there (it holds {first} to {last}): retention "
                "removed unread records, or the topic was recreated",
                first if self.position < first else None,
            )

    def take(self, max_records: int) -> Batched:
        """Return the next records; raises Damaged, Gone, Denied if they are unavailable and must be fetched again."""
        if self.gone is not None:
            gone, self.gone = self.gone, None
            raise gone
        damage, self._damage = self._damage, None
        taken = Batched()
        if self._records is not None:
            try:
                is_over = self._records.take(max_records, taken)
            except Damaged as error:
                damage, is_over = error, True
            self.position = self._records.next_fetch_offset
            if is_over:
                self._records, self.size = None, 0
        if damage is not None:
            if not taken:
                raise damage
            self._damage = damage
        return taken


class Records(AnyNames):
    """The records of one answer without those of aborted transactions, read by aiokafka."""

    def __init__(self, place: TopicPartition, answer: RereadableBatches, aborted: Any, position: int) -> None:
        as_bytes = None, None
        super().__init__(AioPartition(*place), answer, aborted, position, *as_bytes, CHECKED, READ_COMMITTED)

    def take(self, max_records: int, taken: Batched) -> bool:
        """Move the next records to `taken`; tell whether these were the last. Raises Damaged."""
        return _take(self, max_records, taken.made())

    def _consumer_record(self, _place: Any, record: Any) -> Record:
        headers = record.headers
        return Record(
            record.offset,
            record.timestamp,
            record.key,
            record.value,
            (omitted(len(headers)) if len(headers) > MAX_HEADERS else tuple(headers)) if headers else (),
        )


class Unpacked:
    """The same, read by the native codec as far as it accepts the batches."""

    def __init__(self, place: TopicPartition, data: bytes, aborted: Any, position: int) -> None:
        self.next_fetch_offset = position
        self._place = place
        self._batches = FetchedBatches(data, aborted, position)
        self._batch: Batch | None = None
        """The next batch; its records before `_at` were handed out."""
        self._at = 0
        self._rest: Records | None = None

    def take(self, max_records: int, taken: Batched) -> bool:
        """Move the next records to `taken`; tell whether these were the last. Raises Damaged."""
        size = 0
        while size < PART_BYTES and len(taken) < max_records and (batch := self._next()) is not None:
            start = self._at
            self._at, memory = batch.fitting(start, max_records - len(taken), PART_BYTES - size)
            taken.add(batch, start, self._at)
            size += memory
        # A look ahead: where only control markers follow, no poll may wait for records behind them.
        if (batch := self._next()) is not None:
            self.next_fetch_offset = batch.offset(self._at)
            return False
        if self._rest is None:
            self.next_fetch_offset = self._batches.position
            return True
        # The rest is made of objects, so it is not mixed with records that have none.
        return not taken and self._take_rest(self._rest, max_records, taken)

    def _next(self) -> "Batch | None":
        """Return the next batch; None where there is none, or aiokafka has to read it."""
        if self._batch is not None and self._at == len(self._batch):
            self._batch = None
        if self._batch is None and self._rest is None:
            self._at = 0
            try:
                self._batch = self._batches.next()
            except Odd as odd:
                self._rest = Records(self._place, RereadableBatches(odd.data), odd.aborted, odd.position)
                self.next_fetch_offset = odd.position
        return self._batch

    def _take_rest(self, rest: Records, max_records: int, taken: Batched) -> bool:
        try:
            return rest.take(max_records, taken)
        finally:
            self.next_fetch_offset = rest.next_fetch_offset


def _records(place: TopicPartition, data: bytes, aborted: Any, position: int) -> Records | Unpacked:
    """Return the records of an answer."""
    if module:
        return Unpacked(place, data, aborted, position)
    return Records(place, RereadableBatches(data), aborted, position)


def _take(records: Iterator[Record], max_records: int, taken: list[Record]) -> bool:
    """Move the next records to `taken`; tell whether these were the last."""
    size = 0
    for record in records:
        taken.append(record)
        size += _memory(record)
        if size >= PART_BYTES or len(taken) >= max_records:
            return False
    return True


def _memory(record: Record) -> int:
    size = len(record.value or b"") + len(record.key or b"")
    return size + memory_bytes(record.headers) if record.headers else size
