"""Disks as they are seldom, but are: full, gone, torn."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from streamproc.store.block import Sealed
from streamproc.store.disk import Change, DiskFails, Stored


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

    def stored(self) -> Iterable[Stored]:
        self._look()
        return [
            Stored(each, sealed.numbers, sealed.digests, len(sealed.data), self.gone.get(each, 0))
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
    """A disk of which `fault` decides at each point what goes wrong: None, or one of FAULTS."""

    def __init__(self, fault: Callable[[str], str | None]) -> None:
        super().__init__()
        self._fault = fault

    def write(self, change: Change) -> None:
        match self._fault("disk write" if change.snapshot is None else "disk snapshot"):
            case "refuses":
                raise DiskFails("fake: No space left on device")
            case "tears":
                super().write(change)
                self.tear()
            case "loses":
                self.blocks, self.gone = {}, {}
                self.kept_frames = dict(list(self.kept_frames.items())[1:])
            case None:
                super().write(change)

    def read(self, identities: Sequence[int]) -> Mapping[int, bytes]:
        if self._fault("disk read") == "refuses":
            raise DiskFails("fake: Input/output error")
        return super().read(identities)

    def label(self) -> bytes | None:
        if self._fault("disk label") == "refuses":
            raise DiskFails("fake: database is locked")
        return super().label()


FAULTS = ("refuses", "tears", "loses")


def _size(sealed: Sealed) -> int:
    return len(sealed.numbers) + len(sealed.digests) + len(sealed.data)


def _torn(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
