"""What is done to payloads in a thread, while others come and go."""

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
"""Returns the disk, opened where it was not; raises DiskFails."""


class DiskJob(ABC):
    """Something to do. `work` touches nothing that may change meanwhile; `settle` takes over what was done."""

    @abstractmethod
    def work(self, disk: GetDisk) -> None:
        """Do it, in a thread; raises DiskFails, StoreDamaged."""

    @abstractmethod
    def settle(self) -> None:
        """Take it over, where the payloads are."""

    def fail(self) -> None:  # noqa: B027  most jobs are planned anew
        """Take note that it was not done."""


class Sealing(DiskJob):
    """The oldest payloads into blocks."""

    def __init__(self, tiers: Tiers) -> None:
        self._tiers = tiers
        self._entries = tiers.oldest(SEALED_AT_ONCE, SEALED_BYTES)
        self._sealed: list[Sealed] = []

    def work(self, disk: GetDisk) -> None:  # noqa: ARG002  none is needed
        """Compress."""
        self._sealed = seal(self._entries)

    def settle(self) -> None:
        """Have them in blocks."""
        for sealed in self._sealed:
            self._tiers.take_sealed(sealed)


class Storing(DiskJob):
    """The oldest blocks to the disk alone: about `wanted` bytes, at most `most`."""

    def __init__(self, tiers: Tiers, wanted: int, most: int) -> None:
        self._tiers = tiers
        self._blocks: list[tuple[Block, bytes]] = []
        size = 0
        for block in islice(tiers.held.values(), STORED_AT_ONCE):
            added = 0 if block.is_stored else block.size
            if size >= wanted or size + added > most:
                break
            assert block.data is not None  # noqa: S101  it is held
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
        """Have them on the disk alone."""
        for block, _ in self._blocks:
            if not block.is_stored:
                self._tiers.stored(block)
            self._tiers.release(block)


class Deleting(DiskJob):
    """Blocks that nobody wants leave the disk: the first ones of `Tiers.freed`."""

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
    """Blocks of which little is wanted into fewer ones, next to next: so numbers stay in their order."""

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
        """Read, and compress what is left."""
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
        """Have the new ones in place of the old."""
        for group, sealed in zip(self._groups, self._sealed, strict=True):
            old = [block for block in group if block.identity in self._tiers.blocks]
            wanted = {number for block in old for number in block.wanted()}
            for block in old:
                self._tiers.remove(block)
            for each in sealed:
                self._tiers.insert(each, wanted)


class Recalling(DiskJob):
    """Payloads from blocks, to be read."""

    def __init__(self, tiers: Tiers, numbers: Iterable[int]) -> None:
        self._tiers = tiers
        wanted = list(numbers)
        # Also of those that are in no block yet: they may be by the time they are read.
        self._young = {number: tiers.young[number] for number in wanted if number in tiers.young}
        self._numbers = tiers.sealed_among(wanted)
        self._contents = _Contents([tiers.blocks[identity] for identity in self._numbers])
        self._found: dict[int, bytes] = {}

    @property
    def is_void(self) -> bool:
        """Whether nothing is in a block."""
        return not self._numbers

    def work(self, disk: GetDisk) -> None:
        """Read, and decompress."""
        for identity, payloads in self._contents.read(disk):
            self._found.update((number, payloads[number]) for number in self._numbers[identity])

    def settle(self) -> None:
        """Have them at hand, in place of those recalled before."""
        self._tiers.recalled = self._young | self._found


class _Contents:
    """What is in blocks, as it was when this was made."""

    def __init__(self, blocks: Collection[Block]) -> None:
        self._numbers = {block.identity: block.numbers for block in blocks}
        self._held = {block.identity: block.data for block in blocks if block.data is not None}

    def read(self, disk: GetDisk) -> Iterator[tuple[int, Mapping[int, bytes]]]:
        """Yield each block and its payloads by number; raises DiskFails, StoreDamaged."""
        rest = iter(self._numbers.items())
        while some := dict(islice(rest, OPENED_AT_ONCE)):
            absent = [identity for identity in some if identity not in self._held]
            found = {**self._held, **(disk().read(absent) if absent else {})}
            for identity, numbers in some.items():
                if identity not in found:
                    raise StoreDamaged("a block is lost")
                yield identity, opened(numbers, found[identity])


def _adjacent(tiers: Tiers, blocks: Sequence[Block]) -> list[list[Block]]:
    """Return blocks in groups of such as are next to each other."""
    groups: list[list[Block]] = []
    for block in blocks:
        if groups and tiers.beside(groups[-1][-1]) is block:
            groups[-1].append(block)
        else:
            groups.append([block])
    return groups
