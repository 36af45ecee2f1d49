"""Messages as record batches: of a transactional producer, or of none."""

from collections.abc import Callable, Iterator
from functools import partial
from struct import Struct
from typing import Any

from aiokafka import codec
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.util import calc_crc32c

from streamproc.codec.message import Message, Messages
from streamproc.codec.sizes import BATCH_HEADER_BYTES
from streamproc.core.model import NO_TIMESTAMP
from streamproc.native import module
from streamproc.runtime.aio.compression import lz4_encode
from streamproc.runtime.aio.headernames import LENGTH_ENDS, AnyNamesBuilder
from streamproc.runtime.config import BATCH_BYTES

Build = Callable[..., bytes]
"""Makes a batch of a producer: its id, its epoch, and the number of the first record."""
TRANSACTIONAL = 0x10
COMPRESS = {1: codec.gzip_encode, 2: codec.snappy_encode, 3: lz4_encode, 4: codec.zstd_encode}
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
"""As the attributes of a batch have them."""
NO_PRODUCER = -1, -1, -1
"""Id, epoch, number of the first record."""
CRC_ENDS = 21
"""The attributes follow, the first of what it is made from."""
LENGTH, CRC, ATTRIBUTES = Struct(">i"), Struct(">I"), Struct(">h")
SEQUENCES = 1 << 31
"""A partition's records are numbered by their producer, from 0 on again behind the last number."""


class Batches:
    """Makes the batches of one producer; counts what it numbers, so each must be sent, and in order."""

    def __init__(self, compression: str, producer: tuple[int, int]) -> None:
        self._codec = CODECS[compression]
        self._producer = producer
        self._next: dict[Any, int] = {}

    def of(self, place: Any, messages: Messages) -> Iterator[bytes]:
        """Yield the batches of one partition; raises OverflowError for a timestamp that is no 64-bit number."""
        for count, build in _native(messages, self._codec) if module else _filled(messages, self._codec):
            first = self._next.get(place, 0)
            self._next[place] = (first + count) % SEQUENCES
            yield build(*self._producer, first)


def plain(message: Message, compression: str) -> bytes:
    """Return a batch of one message that is part of no transaction, and has no number by which a repeat is known."""
    batch: Any = BatchBuilder(BATCH_BYTES, CODECS[compression], is_transactional=0)
    _add(batch, message)
    batch._set_producer_state(*NO_PRODUCER)  # noqa: SLF001  as above
    return bytes(batch._build())  # noqa: SLF001


def _native(messages: Messages, kind: int) -> Iterator[tuple[int, Build]]:
    """Yield of each batch how many records it has, and what builds it."""
    records = messages if isinstance(messages, module.Records) else module.Records(messages)
    for count, first, largest, body in records.batches(BATCH_BYTES):
        compressed = COMPRESS[kind](body) if kind else body
        is_smaller = len(compressed) < len(body)
        attributes = TRANSACTIONAL | (kind if is_smaller else 0)
        content = compressed if is_smaller else body
        yield count, partial(_stamped, content, attributes, count, (first, largest))


def _stamped(content: bytes, attributes: int, count: int, times: tuple[int, int], *producer: int) -> bytes:
    return module.batch(content, attributes, count, times, producer)  # type: ignore[no-any-return]


def _filled(messages: Messages, kind: int) -> Iterator[tuple[int, Build]]:
    """The same, by aiokafka."""
    for builder in _builders(messages):
        yield builder.record_count(), partial(_build, builder, kind)


def _build(builder: Any, kind: int, *producer: int) -> bytes:
    builder._set_producer_state(*producer)  # noqa: SLF001  what aiokafka's own producer does
    batch = bytes(builder._build())  # noqa: SLF001  as above
    return _compressed(batch, kind) if kind else batch


def _compressed(batch: bytes, kind: int) -> bytes:
    """Return a batch compressed where that makes it smaller; aiokafka's compiled builder does it in any case."""
    body = batch[BATCH_HEADER_BYTES:]
    compressed = COMPRESS[kind](body)
    if len(compressed) >= len(body):
        return batch
    made = bytearray(batch[:BATCH_HEADER_BYTES] + compressed)
    ATTRIBUTES.pack_into(made, CRC_ENDS, TRANSACTIONAL | kind)
    LENGTH.pack_into(made, LENGTH_ENDS - LENGTH.size, len(made) - LENGTH_ENDS)
    CRC.pack_into(made, CRC_ENDS - CRC.size, calc_crc32c(made[CRC_ENDS:]))
    return bytes(made)


def _builders(messages: Messages) -> Iterator[Any]:
    # The compiled builder ends a batch one byte before its limit.
    make: Callable[[], Any] = partial(BatchBuilder, BATCH_BYTES + 1, 0, is_transactional=1)
    batch, added, timeless = make(), list[Message](), False
    for message in messages:
        if timeless and message[2] != NO_TIMESTAMP:
            # It takes a first one of -1 for none yet, too, and gives it that of the next.
            yield batch
            batch = make()
            added.clear()
        timeless = message[2] == NO_TIMESTAMP
        try:
            fits = _add(batch, message)
        except UnicodeEncodeError:
            # From here on all is built the slower way: a request for each such record would take too long.
            make = partial(AnyNamesBuilder, BATCH_BYTES, 0)
            batch = make()
            fits = all(_add(batch, each) for each in (*added, message))
        if not fits:
            yield batch
            batch = make()
            added.clear()
            _add(batch, message)
        added.append(message)
    if batch.record_count():
        yield batch


def _add(batch: Any, message: Message) -> bool:
    key, value, timestamp, headers = message
    return batch.append(key=key, value=value, timestamp=timestamp, headers=headers) is not None
