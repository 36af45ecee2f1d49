"""Jobs on payloads that run in a thread, while other payloads come and go."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from streamproc.store.block import Block, Sealed, opened, seal
from streamproc.store.checked import StoreDamaged
from streamproc.store.disk import Change, Disk
from streamproc.store.tiers import Tiers

SEALED_AT_ONCE, SEALED_BYTES = 4_096, 4 << 20
STORED_AT_ONCE = 512
REWRITTEN_AT_ONCE = 32
OPENED_AT_ONCE = 64

GetDisk = Callable[[], Disk]
"""Returns the disk, and opens it if necessary; raises DiskFails."""


class DiskJob(ABC):
    """A job. `work` runs in a thread and touches nothing that may change meanwhile; `settle` applies its result."""

    @abstractmethod
    def work(self, disk: GetDisk) -> None:
        """Do the work, in a thread; raises DiskFails, StoreDamaged."""

    @abstractmethod
    def settle(self) -> None:
        """Apply the result to the payloads, in the event loop."""

    def fail(self) -> None:  # noqa: B027  most jobs are planned anew
        """Note that the work failed."""


class Sealing(DiskJob):
    """Seals the oldest payloads into blocks."""

    def __init__(self, tiers: Tiers) -> None:
        self._tiers = tiers
        self._entries = tiers.oldest(SEALED_AT_ONCE, SEALED_BYTES)
        self._sealed: list[Sealed] = []

    def work(self, disk: GetDisk) -> None:  # noqa: ARG002  none is needed
        """Compress."""
        self._sealed = seal(self._entries)

    def settle(self) -> None:
        """Replace the payloads by the blocks."""
        for sealed in self._sealed:
            self._tiers.take_sealed(sealed)


class Storing(DiskJob):
    """Moves the data of the oldest blocks to the disk: about `target` bytes, at most `most`."""

    def __init__(self, tiers: Tiers, target: int, most: int) -> None:
        self._tiers = tiers
        self._blocks: list[tuple[Block, bytes]] = []
        size = 0
        for block in islice(tiers.loaded.values(), STORED_AT_ONCE):
            added = 0 if block.is_stored else block.size
            if size >= target or size + added > most:
                break
            assert block.data is not None  # noqa: S101  true for all blocks in `loaded`
            self._blocks.append((block, block.data))
            size += block.size

    @property
    def is_void(self) -> bool:
        """Whether no block fits."""
        return not self._blocks

    def work(self, disk: GetDisk) -> None:
        """Write."""
        absent = {block.identity: block.sealed(data) for block, data in self._blocks if not block.is_stored}
        if absent:
            disk().write(Change(absent))

    def settle(self) -> None:
        """Release the data in memory."""
        for block, _ in self._blocks:
            if not block.is_stored:
                self._tiers.stored(block)
            self._tiers.release(block)


class Deleting(DiskJob):
    """Deletes blocks that are no longer needed from the disk: the first ones of `Tiers.freed`."""

    def __init__(self, tiers: Tiers, freed: Sequence[int]) -> None:
        self._tiers = tiers
        self._freed = freed

    def work(self, disk: GetDisk) -> None:
        """Delete."""
        disk().write(Change(freed=self._freed))

    def settle(self) -> None:
        """Forget them."""
        del self._tiers.freed[: len(self._freed)]


class Rewriting(DiskJob):
    """Merges sparse blocks into fewer ones. Only adjacent blocks are merged, so that numbers stay in order."""

    def __init__(self, tiers: Tiers) -> None:
        self._tiers = tiers
        picked: dict[int, Block] = {}
        for block in islice(tiers.sparse.values(), REWRITTEN_AT_ONCE):
            picked[block.identity] = block
            beside = tiers.beside(block)
            if beside is not None and beside.live <= block.live:
                picked[beside.identity] = beside
        self._groups = _adjacent(tiers, sorted(picked.values(), key=lambda block: block.numbers[0]))
        self._wanted = {block.identity: frozenset(block.wanted()) for block in picked.values()}
        self._contents = _Contents(picked.values())
        self._sealed: list[list[Sealed]] = []

    def work(self, disk: GetDisk) -> None:
        """Read the blocks, and compress the payloads still needed."""
        contents = dict(self._contents.read(disk))
        for group in self._groups:
            entries = [
                entry
                for block in group
                for entry in contents[block.identity].items()
                if entry[0] in self._wanted[block.identity]
            ]
            self._sealed.append(seal(entries))

    def settle(self) -> None:
        """Replace the old blocks by the new ones."""
        for group, sealed in zip(self._groups, self._sealed, strict=True):
            old = [block for block in group if block.identity in self._tiers.blocks]
            wanted = {number for block in old for number in block.wanted()}
            for block in old:
                self._tiers.remove(block)
            for each in sealed:
                self._tiers.insert(each, wanted)


class Recalling(DiskJob):
    """Fetches payloads from blocks, so that they can be read."""

    def __init__(self, tiers: Tiers, numbers: Iterable[int]) -> None:
        self._tiers = tiers
        wanted = list(numbers)
        # Also those that are in no block yet: they may be sealed before they are read.
        self._young = {number: tiers.young[number] for number in wanted if number in tiers.young}
        self._numbers = tiers.sealed_among(wanted)
        self._contents = _Contents([tiers.blocks[identity] for identity in self._numbers])
        self._payloads: dict[int, bytes] = {}

    @property
    def is_void(self) -> bool:
        """Whether none of the payloads is in a block."""
        return not self._numbers

    def work(self, disk: GetDisk) -> None:
        """Read, and decompress."""
        for identity, payloads in self._contents.read(disk):
            self._payloads.update((number, payloads[number]) for number in self._numbers[identity])

    def settle(self) -> None:
        """Make the payloads available, instead of those recalled before."""
        self._tiers.recalled = self._young | self._payloads


class _Contents:
    """The contents of blocks, as of the time when this was made."""

    def __init__(self, blocks: Collection[Block]) -> None:
        self._numbers = {block.identity: block.numbers for block in blocks}
        self._loaded = {block.identity: block.data for block in blocks if block.data is not None}

    def read(self, disk: GetDisk) -> Iterator[tuple[int, Mapping[int, bytes]]]:
        """Yield each block and its payloads by number; raises DiskFails, StoreDamaged."""
        remaining = iter(self._numbers.items())
        while portion := dict(islice(remaining, OPENED_AT_ONCE)):
            absent = [identity for identity in portion if identity not in self._loaded]
            data = {**self._loaded, **(disk().read(absent) if absent else {})}
            for identity, numbers in portion.items():
                if identity not in data:
                    raise StoreDamaged("a block is lost")
                yield identity, opened(numbers, data[identity])


def _adjacent(tiers: Tiers, blocks: Sequence[Block]) -> list[list[Block]]:
    """Group blocks that are adjacent."""
    groups: list[list[Block]] = []
    for block in blocks:
        if groups and tiers.beside(groups[-1][-1]) is block:
            groups[-1].append(block)
        else:
            groups.append([block])
    return groups
