"""Payloads in tiers: the latest unchanged, older ones sealed in blocks, in memory or, beyond a limit, on disk.

Nothing here waits, or uses threads: slow work is done by jobs (`jobs`), while payloads come and go.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from streamproc.core.payloads import IN_HAND, PayloadUsage
from streamproc.store.block import Block, Entry, Sealed
from streamproc.store.disk import StoredBlock

OVERHEAD_BYTES = 50
"""Memory of a payload that is not sealed, besides its bytes."""


class Tiers:
    """The payloads of one partition.

    `young`: those not sealed, by number. `blocks`: by identity; those in `loaded` have their data in memory, oldest
    first. `sparse`: blocks of which fewer than half of the payloads are needed; `freed`: blocks on disk that are not
    needed; `touched`: blocks on disk with payloads dropped since the last snapshot; `recalled`: payloads fetched from
    blocks to be read; `disk_bytes`: how much the disk has in use.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.young: dict[int, bytes] = {}
        self.blocks: dict[int, Block] = {}
        self.loaded: dict[int, Block] = {}
        self.sparse: dict[int, Block] = {}
        self.freed: list[int] = []
        self.touched: set[int] = set()
        self.recalled: Mapping[int, bytes] = {}
        self.young_bytes = self.loaded_bytes = self.disk_bytes = 0
        self._firsts: list[int] = []
        self._ordered: list[Block] = []
        self.last_number = IN_HAND
        self.last_identity = 0

    @property
    def memory_bytes(self) -> int:
        """How many bytes of memory the payloads take."""
        return self.young_bytes + self.loaded_bytes

    def count(self) -> int:
        """Return how many payloads there are."""
        return len(self.young) + sum(block.live for block in self.blocks.values())

    def usage(self) -> PayloadUsage:
        """Return the memory and disk in use."""
        in_memory = len(self.young) + sum(block.live for block in self.loaded.values())
        on_disk = sum(block.live for block in self.blocks.values() if block.data is None)
        return PayloadUsage(in_memory, self.memory_bytes, on_disk, self.disk_bytes)

    def add(self, payload: bytes) -> int:
        """Store a payload; return its number."""
        self.last_number += 1
        self.young[self.last_number] = payload
        self.young_bytes += len(payload) + OVERHEAD_BYTES
        return self.last_number

    def drop(self, number: int) -> None:
        """Drop a stored payload."""
        payload = self.young.pop(number, None)
        if payload is not None:
            self.young_bytes -= len(payload) + OVERHEAD_BYTES
            return
        block = self._block_of(number)
        block.drop(number)
        if block.is_stored:
            self.touched.add(block.identity)
        if not block.live:
            self.remove(block)
        elif block.is_sparse:
            self.sparse[block.identity] = block

    def equals(self, number: int, payload: bytes) -> bool:
        """Tell whether a payload is the one stored under the number."""
        young = self.young.get(number)
        return self._block_of(number).equals(number, payload) if young is None else young == payload

    def read(self, numbers: Iterable[int]) -> Mapping[int, bytes]:
        """Return stored payloads by number. Those in blocks must have been recalled."""
        young, recalled = self.young, self.recalled
        return {number: recalled[number] if number in recalled else young[number] for number in numbers}

    def sealed_among(self, numbers: Iterable[int]) -> dict[int, list[int]]:
        """Return the numbers of payloads in blocks, by the block's identity."""
        by_block: dict[int, list[int]] = {}
        for number in numbers:
            if number not in self.young:
                by_block.setdefault(self._block_of(number).identity, []).append(number)
        return by_block

    def oldest(self, count: int, size: int) -> list[Entry]:
        """Return the oldest payloads that are not sealed: at most `count`, until they have `size` bytes."""
        entries: list[Entry] = []
        for entry in islice(self.young.items(), count):
            entries.append(entry)
            size -= len(entry[1])
            if size <= 0:
                break
        return entries

    def reserve(self, count: int) -> int:
        """Reserve `count` identities; return the first."""
        self.last_identity += count
        return self.last_identity - count + 1

    def take_sealed(self, sealed: Sealed, identity: int = 0) -> None:
        """Replace the oldest payloads by their block; `identity`: the block's on disk, 0 if it is not there."""
        block = Block(identity or self.reserve(1), sealed)
        take, gone, size = self.young.pop, 0, 0
        for place, number in enumerate(block.numbers):
            payload = take(number, None)
            if payload is None:
                gone |= 1 << place
            else:
                size += len(payload) + OVERHEAD_BYTES
        self.young_bytes -= size
        self._hold(block, gone, is_stored=bool(identity))

    def insert(self, sealed: Sealed, wanted: Collection[int]) -> None:
        """Add a block; payloads not in `wanted` were dropped while it was made."""
        block = Block(self.reserve(1), sealed)
        places = (1 << place for place, number in enumerate(block.numbers) if number not in wanted)
        self._hold(block, sum(places), is_stored=False)

    def _hold(self, block: Block, gone: int, *, is_stored: bool) -> None:
        """Add a block whose data is in memory, if any of its payloads is needed."""
        block.leave(gone)
        block.is_stored = is_stored
        if not block.live:
            self.freed += [block.identity] if is_stored else []
            return
        if is_stored and gone:
            self.touched.add(block.identity)
        self._enter(block)
        self.loaded[block.identity] = block
        self.loaded_bytes += block.size

    def stored(self, block: Block, gone: int = 0) -> None:
        """Note that a block is on disk; `gone`: the bits stored there for payloads no longer needed."""
        if block.identity not in self.blocks:
            self.freed.append(block.identity)
            return
        block.is_stored = True
        if block.gone != gone:
            self.touched.add(block.identity)

    def add_stored(self, stored: StoredBlock) -> None:
        """Add a block whose data is only on disk."""
        block = Block(stored.identity, Sealed(stored.listed, b""))
        block.leave(stored.gone)
        block.data, block.size, block.is_stored = None, stored.size, True
        if block.live:
            self._enter(block)
        else:
            self.freed.append(block.identity)

    def release(self, block: Block) -> None:
        """Release a block's data in memory."""
        if self.loaded.pop(block.identity, None) is not None:
            self.loaded_bytes -= block.size
            block.data = None

    def remove(self, block: Block) -> None:
        """Remove a block."""
        at = bisect_right(self._firsts, block.numbers[0]) - 1
        del self._firsts[at], self._ordered[at], self.blocks[block.identity]
        self.sparse.pop(block.identity, None)
        self.touched.discard(block.identity)
        self.release(block)
        if block.is_stored:
            self.freed.append(block.identity)

    def beside(self, block: Block) -> Block | None:
        """Return the block with the next higher numbers."""
        at = bisect_right(self._firsts, block.numbers[0])
        return self._ordered[at] if at < len(self._ordered) else None

    def _enter(self, block: Block) -> None:
        at = bisect_right(self._firsts, block.numbers[0])
        self._firsts.insert(at, block.numbers[0])
        self._ordered.insert(at, block)
        self.blocks[block.identity] = block
        if block.is_sparse:
            self.sparse[block.identity] = block

    def _block_of(self, number: int) -> Block:
        return self._ordered[bisect_right(self._firsts, number) - 1]
