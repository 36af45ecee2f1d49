"""Disks as they are seldom, but are: full, gone, torn."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from streamproc.store.block import Sealed
from streamproc.store.disk import Change, DiskFails, StoredBlock


class FakeDisk:
    """A disk in memory. `refuses`: it takes nothing; `is_gone`: it gives nothing back either."""

    is_lasting = True

    def __init__(self) -> None:
        """Start empty."""
        self.blocks: dict[int, Sealed] = {}
        self.gone: dict[int, int] = {}
        self.kept_frames: dict[int, bytes] = {}
        self.kept_label: bytes | None = None
        self.refuses = self.is_gone = self.is_closed = False

    @property
    def size(self) -> int:
        return sum(map(_size, self.blocks.values())) + sum(map(len, self.kept_frames.values()))

    def write(self, change: Change) -> None:
        if self.refuses or self.is_gone:
            raise DiskFails("fake: No space left on device")
        self.blocks |= change.blocks
        for identity in change.freed:
            self.blocks.pop(identity, None)
            self.gone.pop(identity, None)
        if (snapshot := change.snapshot) is not None:
            self.kept_label = snapshot.label
            for number in snapshot.cleaned:
                del self.kept_frames[number]
            assert not self.kept_frames.keys() & snapshot.frames.keys()
            self.kept_frames |= snapshot.frames
            self.gone |= snapshot.gone

    def read(self, identities: Sequence[int]) -> Mapping[int, bytes]:
        self._look()
        return {each: self.blocks[each].data for each in identities if each in self.blocks}

    def label(self) -> bytes | None:
        self._look()
        return self.kept_label

    def frames(self) -> Iterable[tuple[int, bytes]]:
        self._look()
        return sorted(self.kept_frames.items(), reverse=True)

    def stored(self) -> Iterable[StoredBlock]:
        self._look()
        return [
            StoredBlock(each, sealed.listed, len(sealed.data), self.gone.get(each, 0))
            for each, sealed in sorted(self.blocks.items())
        ]

    def clear(self) -> None:
        self._look()
        self.blocks, self.gone, self.kept_frames, self.kept_label = {}, {}, {}, None

    def close(self) -> None:
        self.is_closed = True

    def tear(self) -> None:
        """Damage what is stored, everywhere."""
        self.blocks = {each: sealed._replace(data=_torn(sealed.data)) for each, sealed in self.blocks.items()}
        self.kept_frames = {each: _torn(frame) for each, frame in self.kept_frames.items()}

    def _look(self) -> None:
        if self.is_gone:
            raise DiskFails("fake: Input/output error")


class FaultyDisk(FakeDisk):
    """A disk of which `fault` decides at each point what goes wrong: None, or one of FAULTS.

    Whoever opens it has it; whoever had it before has it no longer, as if the process had ended. Opened for a `holder`,
    it is locked for every other one until that one closes it or is `released`, as SQLite's is for other processes.
    """

    def __init__(self, fault: Callable[[str], str | None]) -> None:
        super().__init__()
        self.fault = fault
        self.opened = 0
        self._holder: object = None

    def open(self, holder: object = None, *, is_lasting: bool = True) -> "OpenedDisk":
        """Open it; raises DiskFails where somebody else holds it."""
        if self._holder not in (None, holder):
            raise DiskFails("fake: another process has it")
        self.opened += 1
        self._holder = holder
        return OpenedDisk(self, holder, is_lasting=is_lasting)

    def released(self, holder: object = None) -> None:
        """Unlock it if this one holds it: it was closed, or its process has ended."""
        if self._holder is holder:
            self._holder = None


class OpenedDisk:
    """A FaultyDisk, for as long as nobody else opens it."""

    def __init__(self, disk: FaultyDisk, holder: object = None, *, is_lasting: bool) -> None:
        self.is_lasting = is_lasting
        self._disk = disk
        self._number = disk.opened
        self._holder = holder

    @property
    def size(self) -> int:
        return self._disk.size

    def write(self, change: Change) -> None:
        disk = self._at()
        match disk.fault("disk write" if change.snapshot is None else "disk snapshot"):
            case "refuses":
                raise DiskFails("fake: No space left on device")
            case "tears":
                disk.write(change)
                disk.tear()
            case "loses":
                disk.blocks, disk.gone = {}, {}
                disk.kept_frames = dict(list(disk.kept_frames.items())[1:])
            case None:
                disk.write(change)

    def read(self, identities: Sequence[int]) -> Mapping[int, bytes]:
        return self._at("disk read").read(identities)

    def label(self) -> bytes | None:
        return self._at("disk label").label()

    def frames(self) -> Iterable[tuple[int, bytes]]:
        return self._at().frames()

    def stored(self) -> Iterable[StoredBlock]:
        return self._at().stored()

    def clear(self) -> None:
        self._at().clear()

    def close(self) -> None:
        if self._number == self._disk.opened:
            self._disk.released(self._holder)
        self._number = -1

    def _at(self, point: str = "") -> FaultyDisk:
        if self._number != self._disk.opened:
            raise DiskFails("fake: another process has it")
        if point in {"disk read", "disk label"} and self._disk.fault(point) == "refuses":
            raise DiskFails("fake: Input/output error")
        return self._disk


FAULTS = ("refuses", "tears", "loses")


def _size(sealed: Sealed) -> int:
    return len(sealed.listed) + len(sealed.data)


def _torn(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
