"""The interface of a disk. All of its content is a copy of data in Kafka: it may be lost, and is always verified."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from streamproc.errors import StreamprocError
from streamproc.store.block import Sealed


class DiskFails(StreamprocError):
    """A disk fails to write or to read. The message says where, and why."""


class StoredBlock(NamedTuple):
    """A block on a disk without its data, which has `size` bytes.

    `gone`: a bit for each payload that is no longer needed.
    """

    identity: int
    listed: bytes
    size: int
    gone: int


class Snapshot(NamedTuple):
    """The changes of a state since the snapshot before. Frames have ascending numbers.

    `label`: see `snapshot.Label`; `cleaned`: frames to delete; `gone`: by stored block, a bit for each payload no
    longer needed.
    """

    label: bytes
    frames: Mapping[int, bytes]
    cleaned: Collection[int]
    gone: Mapping[int, int]


class Change(NamedTuple):
    """A change that is written as a whole or not at all. `freed`: blocks to delete."""

    blocks: Mapping[int, Sealed] = {}
    freed: Collection[int] = ()
    snapshot: Snapshot | None = None


class Disk(Protocol):
    """A place for blocks, and for a snapshot. Called by one thread at a time."""

    def write(self, change: Change) -> None:
        """Write a change as a whole; raises DiskFails where nothing was written, StoreDamaged."""

    def read(self, identities: Sequence[int]) -> Mapping[int, bytes]:
        """Return the data of blocks, without those that are lost; raises DiskFails, StoreDamaged."""

    def label(self) -> bytes | None:
        """Return the label of the last snapshot, None where there is none; raises DiskFails, StoreDamaged."""

    def frames(self) -> Iterable[tuple[int, bytes]]:
        """Return the frames of the last snapshot, the latest first; raises DiskFails, StoreDamaged."""

    def stored(self) -> Iterable[StoredBlock]:
        """Return the blocks, in their order; raises DiskFails, StoreDamaged."""

    def clear(self) -> None:
        """Delete everything on a lasting disk; raises DiskFails, StoreDamaged."""

    @property
    def is_lasting(self) -> bool:
        """Whether its content survives the end of the process."""

    @property
    def size(self) -> int:
        """How many bytes of the disk are in use."""

    def close(self) -> None:
        """Close it."""
