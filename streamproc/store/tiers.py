"""Payloads in tiers: the latest as they came, older ones sealed in blocks, in memory or, beyond a limit, on disk.

Nothing in here waits, or knows of threads: what takes time is a job (`jobs`), and payloads come and go meanwhile.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from streamproc.core.payloads import IN_HAND, PayloadUsage
from streamproc.store.block import Block, Entry, Sealed
from streamproc.store.disk import StoredBlock

OVERHEAD_BYTES = 50
"""Of a payload by itself, beside its bytes."""


class Tiers:
    """The payloads of one partition. `blocks`: by identity; those in `held` have their data in memory, oldest first.

    `sparse`: blocks that are wanted by less than half; `freed`: what is on disk, and is not wanted there; `touched`:
    blocks on disk of which payloads were dropped since the last snapshot; `recalled`: payloads that were fetched from
    blocks to be read; `disk_bytes`: what the disk says that it has in use.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.young: dict[int, bytes] = {}
        self.blocks: dict[int, Block] = {}
        self.held: dict[int, Block] = {}
        self.sparse: dict[int, Block] = {}
        self.freed: list[int] = []
        self.touched: set[int] = set()
        self.recalled: Mapping[int, bytes] = {}
        self.young_bytes = self.held_bytes = self.disk_bytes = 0
        self._firsts: list[int] = []
        self._ordered: list[Block] = []
        self.last_number = IN_HAND
        self.last_identity = 0

    @property
    def memory_bytes(self) -> int:
        """How much memory payloads take."""
        return self.young_bytes + self.held_bytes

    def count(self) -> int:
        """Return how many payloads there are."""
        return len(self.young) + sum(block.live for block in self.blocks.values())

    def usage(self) -> PayloadUsage:
        """Return what they take."""
        in_memory = len(self.young) + sum(block.live for block in self.held.values())
        on_disk = sum(block.live for block in self.blocks.values() if block.data is None)
        return PayloadUsage(in_memory, self.memory_bytes, on_disk, self.disk_bytes)

    def add(self, payload: bytes) -> int:
        """Keep a payload; return its number."""
        self.last_number += 1
        self.young[self.last_number] = payload
        self.young_bytes += len(payload) + OVERHEAD_BYTES
        return self.last_number

    def drop(self, number: int) -> None:
        """Forget a payload that is kept."""
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
        """Tell whether this is the payload that is kept under the number."""
        young = self.young.get(number)
        return self._block_of(number).equals(number, payload) if young is None else young == payload

    def read(self, numbers: Iterable[int]) -> Mapping[int, bytes]:
        """Return payloads that are kept, by number. Those in blocks have to be in `recalled`."""
        young, recalled = self.young, self.recalled
        return {number: recalled[number] if number in recalled else young[number] for number in numbers}

    def sealed_among(self, numbers: Iterable[int]) -> dict[int, list[int]]:
        """Return by block those numbers that are in one."""
        found: dict[int, list[int]] = {}
        for number in numbers:
            if number not in self.young:
                found.setdefault(self._block_of(number).identity, []).append(number)
        return found

    def oldest(self, count: int, size: int) -> list[Entry]:
        """Return payloads that came first: at most so many, and at least so many bytes where there are."""
        entries: list[Entry] = []
        for entry in islice(self.young.items(), count):
            entries.append(entry)
            size -= len(entry[1])
            if size <= 0:
                break
        return entries

    def reserve(self, count: int) -> int:
        """Set so many identities aside; return the first."""
        self.last_identity += count
        return self.last_identity - count + 1

    def take_sealed(self, sealed: Sealed, identity: int = 0) -> None:
        """Take over what was made of the oldest payloads; `identity`: under which it is on disk, 0 where it is not."""
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
        """Add a block, of which only some payloads are wanted: others may have been dropped meanwhile."""
        block = Block(self.reserve(1), sealed)
        places = (1 << place for place, number in enumerate(block.numbers) if number not in wanted)
        self._hold(block, sum(places), is_stored=False)

    def _hold(self, block: Block, gone: int, *, is_stored: bool) -> None:
        """Add a block whose data is in memory, where anything of it is wanted."""
        block.leave(gone)
        block.is_stored = is_stored
        if not block.live:
            self.freed += [block.identity] if is_stored else []
            return
        if is_stored and gone:
            self.touched.add(block.identity)
        self._enter(block)
        self.held[block.identity] = block
        self.held_bytes += block.size

    def stored(self, block: Block, gone: int = 0) -> None:
        """Take note that a block is on disk; `gone`: what is said there of what is no longer wanted."""
        if block.identity not in self.blocks:
            self.freed.append(block.identity)
            return
        block.is_stored = True
        if block.gone != gone:
            self.touched.add(block.identity)

    def found(self, stored: StoredBlock) -> None:
        """Add a block that is on disk alone."""
        block = Block(stored.identity, Sealed(stored.listed, b""))
        block.leave(stored.gone)
        block.data, block.size, block.is_stored = None, stored.size, True
        if block.live:
            self._enter(block)
        else:
            self.freed.append(block.identity)

    def release(self, block: Block) -> None:
        """Let go of a block's data in memory."""
        if self.held.pop(block.identity, None) is not None:
            self.held_bytes -= block.size
            block.data = None

    def remove(self, block: Block) -> None:
        """Forget a block."""
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
