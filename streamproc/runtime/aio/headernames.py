"""Names of headers that are no UTF-8: Kafka takes any bytes, aiokafka ends at them in whatever it reads or writes.

They go in and out with `surrogateescape`, so that what is written is what came. Only where that happens, or where a
record has too many headers, the batch is read, or built, by the slower code in here. A batch that cannot be read for
another reason is told by its offsets.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy, _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint

from streamproc.codec.sizes import BATCH_HEADER_BYTES, MAX_HEADERS, omitted
from streamproc.runtime.aio.manyheaders import ManyHeaders

HEAD = struct.Struct(">qi4xb6xi")
"""What a batch begins with: the first offset, how many bytes follow, the format, the last offset less the first."""
LENGTH_ENDS = 12
VERSION_AT = 16
FORMAT_WITH_HEADERS = 2


class Damaged(CorruptRecordException):
    """A batch that cannot be read, from the offset `first` to `last`; `why`: what aiokafka made of it."""

    def __init__(self, first: int, last: int, why: Exception) -> None:
        super().__init__(f"the batch at offsets {first} to {last}: {why}")
        self.first, self.last, self.why = first, last, why


class RereadableBatches:
    """The batches of one fetch, of which the one in hand can be asked for again, to be read with any names."""

    has_next: Callable[[], bool]
    next_batch: Callable[[], Any]

    def __init__(self, data: bytes, records: Any = MemoryRecords) -> None:
        self._data = data
        self._at = 0
        self._records = records(data)
        self.size_in_bytes = self._records.size_in_bytes
        self._go_on()
        if data and not self._records.has_next():
            # A broker never cuts the first batch of an answer: its length must be wrong. aiokafka would step over it.
            self.has_next, self.next_batch = lambda: True, _cut_short

    def again(self, first: int, records: bytearray | None = None) -> None:
        """Have the batch in hand, which is the first that ends at `first` or later, come again from there on.

        `records`: what it decompressed to, where that is known. Raises CorruptRecordException where there is none: the
        offsets that a batch says it has are in no checksum.
        """
        start = end = self._at
        while True:
            if end + HEAD.size > len(self._data):
                raise CorruptRecordException(f"no batch of the broker's answer says that it ends at {first} or later")
            start, (base, size, version, last) = end, HEAD.unpack_from(self._data, end)
            end += LENGTH_ENDS + size
            if version >= FORMAT_WITH_HEADERS and base + last >= first:
                break
        batch, self._at = AnyNamesBatch(self._data[start:end], first, records), end

        def next_batch() -> AnyNamesBatch:
            self._go_on()
            return batch

        self.has_next, self.next_batch = lambda: True, next_batch

    def span(self, first: int) -> tuple[int, int]:
        """Return which offsets the batch in hand takes from `first` on, as far as its header can be believed."""
        at = self._at
        while at + HEAD.size <= len(self._data):
            base, size, version, last = HEAD.unpack_from(self._data, at)
            end = at + LENGTH_ENDS + size
            until = base + last if version >= FORMAT_WITH_HEADERS else base
            # What was read before was in order: the first that is not is the one in hand, whatever it says of itself.
            if until >= first or not _is_sound(self._data[at:end]):
                behind = _base_at(self._data, end)
                return max(first, base), max(first, base, until if behind is None else min(until, behind - 1))
            at = end
        return first, first

    def _go_on(self) -> None:
        # Their own methods: a call of ours for each batch is felt where each has one record.
        self.has_next, self.next_batch = self._records.has_next, self._records.next_batch


class AnyNames(fetcher.PartitionRecords):
    """What aiokafka makes of a fetch: records, without those of aborted transactions."""

    def _unpack_records(self) -> Iterator[Any]:
        while True:
            try:
                yield from super()._unpack_records()
            except ManyHeaders as error:
                self._again(error.records)
            except Exception as error:
                # The compiled reader raises UnicodeDecodeError, the one in Python another because of it.
                if not isinstance(error.__cause__ or error, UnicodeDecodeError):
                    raise self._damaged(error) from error
                self._again()
            else:
                return

    def _again(self, records: bytearray | None = None) -> None:
        try:
            self._records.again(self.next_fetch_offset, records)
        except CorruptRecordException as error:
            raise self._damaged(error) from error

    def _damaged(self, why: Exception) -> Damaged:
        first, last = self._records.span(self.next_fetch_offset)
        return Damaged(first, last, why)


class AnyNamesBatch(_DefaultRecordBatchPy):
    """A batch, read with any names from the offset `first` on."""

    _pos: int

    def __init__(self, buffer: bytes, first: int, records: bytearray | None = None) -> None:
        super().__init__(buffer)
        self._first = first
        self._unpacked = records

    def _maybe_uncompress(self) -> None:
        if self._unpacked is None:
            super()._maybe_uncompress()
        else:
            self._buffer, self._pos, self._decompressed = self._unpacked, 0, True

    def __iter__(self) -> "AnyNamesBatch":
        super().__iter__()
        # What was read before is stepped over, not taken apart once more: there may be a million records of it.
        while self._next_record_index < self._num_records:
            size, start = decode_varint(self._buffer, self._pos)
            if self._offset(start) >= self._first:
                break
            self._pos = start + size
            self._next_record_index += 1
        return self

    def _offset(self, start: int) -> int:
        _, at = decode_varint(self._buffer, start + 1)
        return int(self.base_offset + decode_varint(self._buffer, at)[0])

    def _read_msg(self, decode_varint: Any = decode_varint) -> _DefaultRecordPy:
        buffer = self._buffer
        size, start = decode_varint(buffer, self._pos)
        since_ms, at = decode_varint(buffer, start + 1)  # One byte of attributes, which are not used.
        number, at = decode_varint(buffer, at)
        key, at = _bytes(buffer, at)
        value, at = _bytes(buffer, at)
        count, at = decode_varint(buffer, at)
        headers: list[tuple[str, bytes | None]] = []
        if count > MAX_HEADERS:
            headers, at = [*omitted(count)], start + size
        else:
            for _ in range(count):
                name, at = _bytes(buffer, at)
                content, at = _bytes(buffer, at)
                headers.append(((name or b"").decode("utf-8", "surrogateescape"), content))
        if count < 0 or at != start + size:
            raise CorruptRecordException(f"a record of {size} bytes holds {at - start}")
        self._pos = at
        timestamp = (
            self.max_timestamp if self.timestamp_type == self.LOG_APPEND_TIME else self.first_timestamp + since_ms
        )
        return _DefaultRecordPy(self.base_offset + number, timestamp, self.timestamp_type, key, value, headers)


def _cut_short() -> Any:
    raise CorruptRecordException("a batch that is longer than the broker's answer")


def _is_sound(batch: bytes) -> bool:
    if len(batch) < BATCH_HEADER_BYTES:
        return len(batch) >= HEAD.size and batch[VERSION_AT] < FORMAT_WITH_HEADERS
    return batch[VERSION_AT] < FORMAT_WITH_HEADERS or bool(_DefaultRecordBatchPy(batch).validate_crc())


def _base_at(data: bytes, at: int) -> int | None:
    """Return the first offset of the batch that begins at `at`, None where none does."""
    whole = 0 < at <= len(data) - HEAD.size
    return HEAD.unpack_from(data, at)[0] if whole else None


def _bytes(buffer: bytearray, at: int) -> tuple[bytes | None, int]:
    size, at = decode_varint(buffer, at)
    return (None, at) if size < 0 else (bytes(buffer[at : at + size]), at + size)


class AnyNamesBuilder(BatchBuilder):
    """A batch of a transactional producer, whose headers may have any names. `codec` as in a batch's attributes."""

    def __init__(self, max_bytes: int, codec: int) -> None:
        super().__init__(max_bytes, codec, is_transactional=1)
        self._builder = _DefaultRecordBatchBuilderPy(2, codec, 1, -1, -1, 0, max_bytes)

    def append(
        self,
        *,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> Any:
        """Add a record; None where the batch is full."""
        named = [(_Name(name), content) for name, content in headers]
        return super().append(timestamp=timestamp, key=key, value=value, headers=named)

    def _set_producer_state(self, *state: int) -> None:
        self._builder.set_producer_state(*state)


class _Name(str):
    """Becomes the bytes that it came from, whatever it is asked to become."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:  # noqa: ARG002  see above
        return super().encode("utf-8", "surrogateescape")
