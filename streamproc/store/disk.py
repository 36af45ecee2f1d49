"""What a store asks of a disk. All that is there is a copy of what Kafka has: it may be lost, and is never believed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from streamproc.errors import StreamprocError
from streamproc.store.block import Sealed


class DiskFails(StreamprocError):
    """A disk does not take something, or does not give it back. The message says where, and why."""


class StoredBlock(NamedTuple):
    """A block as it is found on a disk: all but its data, which has `size` bytes.

    `gone`: a bit for each payload that was no longer wanted.
    """

    identity: int
    listed: bytes
    size: int
    gone: int


class Snapshot(NamedTuple):
    """What a state has become since the snapshot before. Frames go by ascending number.

    `label`: what it is of; `gone`: of blocks that are stored, a bit for each payload that is no longer wanted.
    """

    label: bytes
    frames: Mapping[int, bytes]
    cleaned: Collection[int]
    gone: Mapping[int, int]


class Change(NamedTuple):
    """What is written in one go, or not at all. `freed`: blocks that are deleted."""

    blocks: Mapping[int, Sealed] = {}
    freed: Collection[int] = ()
    snapshot: Snapshot | None = None


class Disk(Protocol):
    """A place for blocks, and for a snapshot. Called by one thread at a time."""

    def write(self, change: Change) -> None:
        """Write all of it; raises DiskFails where none of it was, StoreDamaged."""

    def read(self, identities: Sequence[int]) -> Mapping[int, bytes]:
        """Return the data of blocks, without those that are lost; raises DiskFails, StoreDamaged."""

    def label(self) -> bytes | None:
        """Return the label of the last snapshot, None where there is none; raises DiskFails, StoreDamaged."""

    def frames(self) -> Iterable[tuple[int, bytes]]:
        """Return the frames of the last snapshot, the latest first; raises DiskFails, StoreDamaged."""

    def stored(self) -> Iterable[StoredBlock]:
        """Return the blocks, in their order; raises DiskFails, StoreDamaged."""

    def clear(self) -> None:
        """Forget everything, where it is lasting; raises DiskFails, StoreDamaged."""

    @property
    def is_lasting(self) -> bool:
        """Whether anything will be left of it when the process has ended."""

    @property
    def size(self) -> int:
        """How many bytes of the disk are in use."""

    def close(self) -> None:
        """Let go of it."""
