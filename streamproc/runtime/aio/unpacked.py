"""The records of one answer to a fetch, by the native codec, a batch at a time.

What is odd about a batch in any way, damaged, too large, in an old format, with too many headers or names that are no
UTF-8, is left to the slower reader of `fetched`, from there on: it says what is wrong, or reads it all the same.
"""

from collections.abc import Iterable, Sequence
from struct import Struct, error
from typing import TYPE_CHECKING

from streamproc.codec.batched import unpacker
from streamproc.codec.sizes import BATCH_HEADER_BYTES
from streamproc.native import module
from streamproc.runtime.aio.batches import CODECS, CRC_ENDS
from streamproc.runtime.aio.decompression import BOUNDED, TooLarge
from streamproc.runtime.aio.headernames import FORMAT_WITH_HEADERS, LENGTH_ENDS

if TYPE_CHECKING:
    from streamproc_native import Batch

HEAD = Struct(">qi4xbIhiqqq6xi")
"""First offset, bytes behind LENGTH_ENDS, format, checksum, attributes, last offset less the first, first and largest
timestamp, producer, number of records."""
CODEC, APPEND_TIME, TRANSACTIONAL, CONTROL = 0x07, 0x08, 0x10, 0x20
DECOMPRESS = {number: BOUNDED[f"{name}_decode"] for name, number in CODECS.items() if number}
ABORT = b"\x00\x00\x00\x00"
"""The key of the record that ends an aborted transaction."""


class Odd(Exception):
    """Somebody else has to read the rest: from `position` on, `aborted` as a broker lists them."""

    def __init__(self, data: bytes, aborted: Sequence[tuple[int, int]], position: int) -> None:
        super().__init__()
        self.data, self.aborted, self.position = data, aborted, position


class FetchedBatches:
    """The batches of an answer, without those of aborted transactions and those of the broker's own.

    `position`: the offset behind what was taken.
    """

    def __init__(self, data: bytes, aborted: Iterable[tuple[int, int]], position: int) -> None:
        self.position = position
        self._data = data
        self._at = 0
        self._aborted = sorted(aborted or (), key=lambda each: each[1], reverse=True)
        """To come, the next one last: producers, and the first offset of the transaction."""
        self._aborting = set[int]()

    def next(self) -> "Batch | None":
        """Return the next batch that has any records, None at the end; raises Odd."""
        while True:
            left = len(self._data) - self._at
            size = int.from_bytes(self._data[self._at + 8 : self._at + LENGTH_ENDS], signed=True)
            if left < LENGTH_ENDS or left < LENGTH_ENDS + size:
                if self._at or not left:
                    return None
                raise self._left_over()  # A broker never cuts the first batch of an answer.
            try:
                batch = self._read(self._at + LENGTH_ENDS + size)
            except (ValueError, KeyError, TooLarge, error):
                raise self._left_over() from None
            self._at += LENGTH_ENDS + size
            if batch:
                return batch

    def _read(self, end: int) -> "Batch | None":
        """Read the batch in hand, which ends at `end`; None where it holds nothing for us. Raises what is odd."""
        first, _, version, crc, attributes, last, first_ms, largest_ms, producer, count = HEAD.unpack_from(
            self._data, self._at
        )
        if version != FORMAT_WITH_HEADERS or module.crc32c(self._data[self._at + CRC_ENDS : end]) != crc:
            raise ValueError
        while self._aborted and self._aborted[-1][1] <= first:
            self._aborting.add(self._aborted.pop()[0])
        is_aborted = attributes & TRANSACTIONAL and producer in self._aborting
        if attributes & CONTROL or is_aborted:
            if attributes & CONTROL and self._key(end, attributes, count) == ABORT:
                self._aborting.discard(producer)
            self.position = first + last + 1
            return None
        head = first, first_ms, largest_ms if attributes & APPEND_TIME else None
        batch = self._batch(end, attributes, count, head, self.position)
        self.position = first + last + 1
        return batch

    def _key(self, end: int, attributes: int, count: int) -> bytes | None:
        """Return the key of the first record."""
        _, _, [key, *_], *_ = unpacker.columns(self._batch(end, attributes, count, (0, 0, None), 0), 0, 1)
        return key  # type: ignore[no-any-return]

    def _batch(self, end: int, attributes: int, count: int, head: tuple[int, int, int | None], since: int) -> "Batch":
        content: bytes = self._data[self._at + BATCH_HEADER_BYTES : end]
        if codec := attributes & CODEC:
            content = DECOMPRESS[codec](content)
        return unpacker.unpack(content, count, head, since)  # type: ignore[no-any-return]

    def _left_over(self) -> Odd:
        aborted = [*reversed(self._aborted), *((producer, -1) for producer in self._aborting)]
        return Odd(self._data[self._at :], aborted, self.position)
