"""Payloads sealed together: compressed as one block, each found by its number.

Measured on simulated events of 862 bytes: one compressed alone with zstd shrinks by a third, in 16 µs; 64 KiB of them
together shrink to an eighth, in less than a microsecond each. The native code (`native/src/seal.rs`) releases the GIL.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import NamedTuple

import cramjam
from msgspec.msgpack import Decoder, Encoder

from streamproc.native import module
from streamproc.store.checked import checked, content

MAX_BYTES, MAX_PAYLOADS = 65_536, 256
"""Limits of a block: opening it for one payload takes 40 µs."""
DIGEST_BYTES = 16
LEVEL = 1

_pack = Encoder().encode
_unpack = Decoder(list[bytes]).decode

Entry = tuple[int, bytes]


class Sealed(NamedTuple):
    """Payloads as they are stored. `listed`: a checksum, their numbers in ascending order, a digest of each."""

    listed: bytes
    data: bytes


class Block:
    """Sealed payloads. `data`: None where it is only on disk; `size`: of the data, in bytes.

    `live`: how many payloads are still needed; `gone`: a bit for each one that is not.
    """

    __slots__ = ("_digests", "data", "gone", "identity", "is_stored", "live", "numbers", "size")

    def __init__(self, identity: int, sealed: Sealed) -> None:
        """Make a block of sealed payloads; raises StoreDamaged."""
        self.identity = identity
        self.numbers, self._digests = parted(sealed.listed)
        self.data: bytes | None = sealed.data
        self.size = len(sealed.data)
        self.is_stored = False
        self.gone = 0
        self.live = len(self.numbers)

    @property
    def is_sparse(self) -> bool:
        """Whether fewer than half of its payloads are needed."""
        return 2 * self.live < len(self.numbers)

    def leave(self, gone: int) -> None:
        """Set which payloads are no longer needed: a bit for each payload."""
        self.gone = gone
        self.live = len(self.numbers) - gone.bit_count()

    def drop(self, number: int) -> None:
        """Note that a payload is no longer needed."""
        self.gone |= 1 << self._place(number)
        self.live -= 1

    def equals(self, number: int, payload: bytes) -> bool:
        """Tell whether a payload is the one with this number, by its digest."""
        start = self._place(number) * DIGEST_BYTES
        return self._digests[start : start + DIGEST_BYTES] == _digest(payload)

    def sealed(self, data: bytes) -> Sealed:
        """Return the block in its stored form."""
        return Sealed(checked(self.numbers.tobytes() + self._digests), data)

    def wanted(self) -> list[int]:
        """Return the numbers of the payloads still needed."""
        return [number for place, number in enumerate(self.numbers) if not self.gone >> place & 1]

    def _place(self, number: int) -> int:
        place = bisect_left(self.numbers, number)
        if place == len(self.numbers) or self.numbers[place] != number or self.gone >> place & 1:
            raise KeyError(number)
        return place


def seal(entries: Sequence[Entry]) -> list[Sealed]:
    """Seal payloads, in ascending order of numbers, into as many blocks as needed."""
    if module:
        blocks = module.seal(entries, (MAX_BYTES, MAX_PAYLOADS), DIGEST_BYTES, LEVEL)
        return [Sealed(*block) for block in blocks]
    return [_seal(portion) for portion in _portions(entries)]


def parted(listed: bytes) -> tuple["array[int]", bytes]:
    """Split `listed` into numbers and digests; raises StoreDamaged where the checksum is wrong."""
    both = content(listed)
    numbers = array("q")
    end = len(both) * numbers.itemsize // (numbers.itemsize + DIGEST_BYTES)
    numbers.frombytes(both[:end])
    return numbers, both[end:]


def opened(numbers: Sequence[int], data: bytes) -> dict[int, bytes]:
    """Return the payloads of a block by number; raises StoreDamaged where the checksum is wrong."""
    return dict(zip(numbers, _unpack(bytes(cramjam.zstd.decompress(content(data)))), strict=True))


def _seal(entries: Sequence[Entry]) -> Sealed:
    numbers = array("q", [number for number, _ in entries])
    digests = b"".join([_digest(payload) for _, payload in entries])
    data = checked(bytes(cramjam.zstd.compress(_pack([payload for _, payload in entries]), LEVEL)))
    return Sealed(checked(numbers.tobytes() + digests), data)


def _portions(entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Cut entries into the portions that make a block each."""
    start = size = 0
    for at, (_, payload) in enumerate(entries):
        if at > start and (size + len(payload) > MAX_BYTES or at - start == MAX_PAYLOADS):
            yield entries[start:at]
            start, size = at, 0
        size += len(payload)
    if start < len(entries):
        yield entries[start:]


def _digest(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=DIGEST_BYTES).digest()
