"""Snapshots of a state on disk, as of one commit: written while processing goes on, and loaded at the start.

Payloads are stored as blocks, runs in frames. A snapshot adds the changes since the one before, as a whole or not at
all. When more than half of the entries in frames are out of date, all frames are written anew.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder, Encoder

from streamproc.core.model import Run
from streamproc.core.state import State
from streamproc.store.block import Entry, Sealed, seal
from streamproc.store.checked import StoreDamaged, checked, content
from streamproc.store.disk import Change, Disk, Snapshot
from streamproc.store.frames import PackedRun, frames_of, put_back
from streamproc.store.jobs import DiskJob, GetDisk
from streamproc.store.tiers import Tiers

FORMAT = f"1 {' '.join(Run.__struct_fields__)}"
"""Contains the names of the fields, because packed runs do not."""
SPARE_RUNS = 20_000
"""How many more entries may be out of date before all frames are written anew."""


class Label(Struct, array_like=True):
    """The label of a snapshot. `about`: its owner's description; `entries`: the count of runs in all its frames."""

    format: str
    about: bytes
    runs: int
    payloads: int
    entries: int
    first_frame: int
    last_frame: int
    last_block: int
    last_payload: int


_encode = Encoder().encode
_decode = Decoder(Label).decode


class Written(Struct):
    """What is on disk of snapshots. `next_is_whole`: whether the next one must contain all runs."""

    entries: int = 0
    first_frame: int = 1
    last_frame: int = 0
    next_is_whole: bool = True


class Snapshotting(DiskJob):
    """Writes a snapshot of the state at the time when this is made. `about`: see `Label`."""

    def __init__(self, state: State, tiers: Tiers, about: bytes, written: Written) -> None:
        self._state, self._tiers, self._written = state, tiers, written
        self._is_whole = written.next_is_whole or written.entries > 2 * len(state.runs) + SPARE_RUNS
        runs, changed = state.runs, state.changed or ()
        self._runs: Iterable[PackedRun] = (
            runs.everything() if self._is_whole else [(run_id, runs.packed(run_id)) for run_id in changed]
        )
        state.changed = set()
        self._young: list[Entry] = list(tiers.young.items())
        self._blocks = [
            (block, block.data, block.gone)
            for block in tiers.loaded.values()
            if not block.is_stored and block.data is not None
        ]
        self._gone = {identity: tiers.blocks[identity].gone for identity in tiers.touched}
        self._gone |= {block.identity: gone for block, _, gone in self._blocks if gone}
        self._touched, tiers.touched = tiers.touched, set()
        self._freed = list(tiers.freed)
        self._first_block = tiers.reserve(len(self._young))
        self._sealed: dict[int, Sealed] = {}
        self._frames: dict[int, bytes] = {}
        entries = len(runs) if self._is_whole else written.entries + len(changed)
        first = written.last_frame + 1 if self._is_whole else written.first_frame
        self._label = Label(
            FORMAT, about, len(runs), tiers.count(), entries, first, 0, tiers.last_identity, tiers.last_number
        )

    def work(self, disk: GetDisk) -> None:
        """Compress, and write."""
        self._sealed = dict(enumerate(seal(self._young), self._first_block))
        blocks = {block.identity: block.sealed(data) for block, data, _ in self._blocks}
        written = self._written
        self._frames = dict(enumerate(frames_of(self._runs), written.last_frame + 1))
        self._label.last_frame = written.last_frame + len(self._frames)
        cleaned = range(written.first_frame, written.last_frame + 1) if self._is_whole else ()
        snapshot = Snapshot(checked(_encode(self._label)), self._frames, cleaned, self._gone)
        disk().write(Change({**blocks, **self._sealed}, self._freed, snapshot))

    def settle(self) -> None:
        """Replace payloads by the blocks that were written."""
        del self._tiers.freed[: len(self._freed)]
        for block, _, gone in self._blocks:
            self._tiers.stored(block, gone)
        for identity, sealed in self._sealed.items():
            self._tiers.take_sealed(sealed, identity)
        written, label = self._written, self._label
        written.entries, written.next_is_whole = label.entries, False
        written.first_frame, written.last_frame = label.first_frame, label.last_frame

    def fail(self) -> None:
        """Make the next snapshot contain all runs."""
        self._tiers.touched |= self._touched & self._tiers.blocks.keys()
        self._written.next_is_whole = True


class Sacrificing(DiskJob):
    """Deletes the last snapshot, when the disk needs the space of its blocks: it is only a copy."""

    def __init__(self, tiers: Tiers, written: Written) -> None:
        self._tiers, self._written = tiers, written
        self._freed = list(tiers.freed)

    def work(self, disk: GetDisk) -> None:
        """Delete the snapshot, and the blocks that only it needed."""
        frames = range(self._written.first_frame, self._written.last_frame + 1)
        disk().write(Change({}, self._freed, Snapshot(b"", {}, frames, {})))

    def settle(self) -> None:
        """Make the next snapshot contain all runs."""
        del self._tiers.freed[: len(self._freed)]
        self._written.first_frame, self._written.entries = self._written.last_frame + 1, 0
        self._written.next_is_whole = True


def load(disk: Disk, state: State, tiers: Tiers, fits: Callable[[bytes], bool]) -> Written | None:
    """Load the last snapshot into an empty state and its payloads; returns None where there is none that `fits`.

    After DiskFails or StoreDamaged the state must not be used.
    """
    label = _label(disk.label())
    if label is None or not fits(label.about):
        return None
    forgotten: set[str] = set()
    expected = label.last_frame
    for number, frame in disk.frames():
        if number != expected:
            break
        put_back(frame, state, forgotten)
        expected -= 1
    if expected != label.first_frame - 1 or len(state.runs) != label.runs:
        raise StoreDamaged("a part of a snapshot is lost")
    tiers.last_number, tiers.last_identity = label.last_payload, label.last_block
    for stored in disk.stored():
        if stored.identity <= label.last_block:
            tiers.add_stored(stored)
        else:  # Written after the snapshot.
            tiers.freed.append(stored.identity)
            tiers.last_identity = stored.identity
    if tiers.count() != label.payloads:
        raise StoreDamaged("payloads of a snapshot are lost")
    state.changed = set()
    return Written(label.entries, label.first_frame, label.last_frame, next_is_whole=False)


def _label(stored: bytes | None) -> Label | None:
    """Decode a label; returns None where it is damaged, or of another format."""
    with suppress(StoreDamaged, DecodeError):
        label = None if stored is None else _decode(content(stored))
        return label if label is not None and label.format == FORMAT else None
    return None
