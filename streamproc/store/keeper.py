"""Keeps one partition's payloads within their limits, by one job after another, while processing goes on."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

from streamproc.awaiting import set_within
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.store.checked import StoreDamaged
from streamproc.store.disk import Disk, DiskFails
from streamproc.store.jobs import Deleting, DiskJob, Recalling, Rewriting, Sealing, Storing
from streamproc.store.snapshot import Sacrificing, Snapshotting, Written, load
from streamproc.store.tiers import Tiers

T = TypeVar("T")

YOUNG_SHARE = 4
"""A quarter of the memory is for payloads that are not sealed: most are replaced before they would be."""
SPARSE_AT_ONCE = 32
FREED_AT_ONCE = 1_000
SLACK_SHARE, SLACK_BYTES = 4, 256 << 10
"""A partition keeps processing up to a quarter, plus these bytes, over its limit, while payloads are put away."""
TRY_AGAIN_S = 1.0
RECALL_S = 2.0
"""Limit on a recall, for which all partitions wait."""
LOOK_S = 0.5


class PayloadLimits(NamedTuple):
    """How many bytes a partition may use at present, in memory and on disk."""

    memory_bytes: int
    disk_bytes: int


class Owner(Protocol):
    """The resources that the partitions of a worker share."""

    executor: Executor

    def limits(self) -> PayloadLimits:
        """Return the present limits of each partition."""

    def open_disk(self, partition: int, *, may_last: bool) -> Disk:
        """Return the disk of a partition; raises DiskFails."""

    def instead(self, partition: int, error: DiskFails | StoreDamaged) -> Disk:
        """Return a temporary disk, because the lasting one fails."""

    def troubled(self, partition: int, why: str) -> None:
        """Note that a partition has no snapshot, and why. Called in a thread."""

    def tell(self) -> None:
        """Report the troubles that threads noted."""

    def has_room(self) -> None:
        """Note that a partition is no longer over its limit, or has lost its stored payloads."""

    def closed(self, keeper: "PayloadKeeper") -> None:
        """Note that a partition no longer uses anything."""


class PayloadKeeper:
    """Keeps the payloads of one partition.

    `trouble`: why payloads cannot be put away, in words; `damage`: stored payloads are lost, and the state with them.
    """

    def __init__(self, owner: Owner, partition: int, rules: Rules, stream_time: int) -> None:
        self.tiers = Tiers()
        self.state = State(rules, stream_time, self.tiers)
        self.trouble = ""
        self.damage: StoreDamaged | None = None
        self._owner = owner
        self._partition = partition
        self._disk: Disk | None = None
        self._about: Callable[[], bytes | None] | None = None
        self._asked_ms = self._taken_ms = 0
        self._written = Written()
        self._may_last = True
        self._is_closed = False
        self._running: asyncio.Task[None] | None = None
        self._room = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether processing must wait until payloads were put away."""
        limit = self._owner.limits().memory_bytes
        return self.tiers.memory_bytes > limit + limit // SLACK_SHARE + SLACK_BYTES

    @property
    def is_lasting(self) -> bool:
        """Whether the content of its disk survives for the next process."""
        return self._disk is not None and self._disk.is_lasting

    async def load(self, fits: Callable[[bytes], bool]) -> bool:
        """Load the last snapshot on a lasting disk if it fits, else empty the disk; return whether it was loaded.

        Call it before anything else. After StoreDamaged or DiskFails a part may be loaded.
        """
        try:
            disk = await self._in_thread(self._get_disk)
        except DiskFails as error:
            # If it can be opened later, its content was neither loaded nor deleted, so it must not be used.
            self._may_last = False
            self._owner.troubled(self._partition, str(error))
            return False
        written = await self._in_thread(lambda: self._loaded(disk, fits))
        self._written = Written() if written is None else written
        self.tiers.disk_bytes = disk.size
        return written is not None

    def _loaded(self, disk: Disk, fits: Callable[[bytes], bool]) -> Written | None:
        if not disk.is_lasting:
            return None
        try:
            written = load(disk, self.state, self.tiers, fits)
            if written is None:
                disk.clear()
            return written
        except StoreDamaged:
            disk.clear()
            raise
        except DiskFails as error:
            disk.close()
            self._disk = self._owner.instead(self._partition, error)
            if self.state.live_keys or self.tiers.blocks:
                raise
            return None

    def snapshot(self, about: Callable[[], bytes | None], wall_ms: int) -> None:
        """Take a snapshot as soon as no other job runs; its time is `wall_ms`, the clock at this call.

        `about` returns the owner's description of the state at that point; None while a commit is under way.
        """
        self._about, self._asked_ms = about, wall_ms
        self._begin()

    def tend(self, wall_ms: int, *, anew: bool = False) -> None:
        """Start the next job. Call it whenever payloads came or went, and no commit is under way.

        Where payloads cannot be put away, drop those that are hardly of use; `anew`: also those of restored runs.
        """
        if self.is_over and self.trouble:
            if anew:
                self.state.look_again()
            self.state.let_go(wall_ms)
        self._begin()

    def _begin(self) -> None:
        is_free = self._running is None or self._running.done()
        if is_free and self.damage is None and not self._is_closed and self._is_due:
            self._running = asyncio.create_task(self._run())

    async def room(self) -> bool:
        """Wait a while for room; return whether there is any."""
        self._room.clear()
        self._begin()
        if self.is_over and self.damage is None and not await set_within(self._room, LOOK_S):
            return False
        return not self.is_over

    async def recall(self, numbers: Iterable[int]) -> None:
        """Fetch payloads, so that they can be read; raises DiskFails where that takes too long, StoreDamaged."""
        job = Recalling(self.tiers, numbers)
        if not job.is_void:
            try:
                await asyncio.wait_for(self._work(job), RECALL_S)
            except TimeoutError as error:
                raise DiskFails(f"payloads could not be read within {RECALL_S:.0f} s") from error
        job.settle()

    def close(self, *, is_damaged: bool = False) -> None:
        """Close the disk after the present job. A damaged one is cleared, so that it is not loaded again."""
        self._is_closed = True
        if self._running is not None:
            self._running.cancel()
        self._owner.executor.submit(self._close, is_damaged)
        self._owner.closed(self)

    def _close(self, is_damaged: bool) -> None:  # noqa: FBT001  it is named above
        if self._disk is not None:
            if is_damaged and self._disk.is_lasting:
                with suppress(DiskFails, StoreDamaged):
                    self._disk.clear()
            self._disk.close()

    @property
    def _is_due(self) -> bool:
        """Whether anything may have to be done."""
        tiers = self.tiers
        return (
            self._about is not None
            or tiers.memory_bytes > self._owner.limits().memory_bytes
            or len(tiers.sparse) >= SPARSE_AT_ONCE
            or len(tiers.freed) >= FREED_AT_ONCE
        )

    async def _run(self) -> None:
        while (job := self._snapshot() or self._next()) is not None:
            try:
                await self._work(job)
            except DiskFails as error:
                await self._failed(job, str(error))
            except StoreDamaged as error:
                self.damage = error
                self._tell()
                return
            except Exception as error:  # noqa: BLE001  such as MemoryError: a job that failed must not be settled
                await self._failed(job, f"{type(error).__name__} while payloads were put away")
            else:
                job.settle()
                if isinstance(job, Snapshotting):
                    self.state.snapshot_ms = self._taken_ms
                self.trouble = ""
                self.tiers.disk_bytes = 0 if self._disk is None else self._disk.size
            if not self.is_over:
                self._tell()

    async def _failed(self, job: DiskJob, why: str) -> None:
        job.fail()
        self.trouble = why
        if isinstance(job, Snapshotting):
            self._owner.troubled(self._partition, why)
        await asyncio.sleep(TRY_AGAIN_S)

    async def _work(self, job: DiskJob) -> None:
        await self._in_thread(lambda: job.work(self._get_disk))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._owner.executor, work)
        finally:
            self._owner.tell()

    def _get_disk(self) -> Disk:
        if self._disk is None:
            self._disk = self._owner.open_disk(self._partition, may_last=self._may_last)
        return self._disk

    def _tell(self) -> None:
        self._room.set()
        self._owner.has_room()

    def _snapshot(self) -> DiskJob | None:
        if self._about is None or self.tiers.disk_bytes > self._owner.limits().disk_bytes:
            return None
        about = self._about()
        if about is None:
            return None  # A commit is under way; the snapshot is taken after it.
        self._about, self._taken_ms = None, self._asked_ms
        is_due = self._written.next_is_whole or self.state.changed or self.tiers.freed
        if not is_due:
            self.state.snapshot_ms = self._taken_ms  # Nothing has changed since the one before.
            return None
        return Snapshotting(self.state, self.tiers, about, self._written)

    def _next(self) -> DiskJob | None:
        """Return the next job for staying within the limits; set `trouble` where none can help."""
        limits = self._owner.limits()
        over = self.tiers.memory_bytes - limits.memory_bytes
        if over > 0 and self.tiers.young_bytes > limits.memory_bytes // YOUNG_SHARE:
            return Sealing(self.tiers)
        is_full = False
        if over > 0:
            room = limits.disk_bytes - self.tiers.disk_bytes
            job = Storing(self.tiers, over + limits.memory_bytes // 8, room)
            is_full = job.is_void
            if not is_full:
                return job
        tidying = self._tidying(is_full=is_full)
        is_stuck = is_full and tidying is None
        self.trouble = f"state.max_disk_bytes is used up ({limits.disk_bytes:,} for each partition)" if is_stuck else ""
        return tidying

    def _tidying(self, *, is_full: bool) -> DiskJob | None:
        """Return a job that frees space, where it is worth while, or where nothing else is left to do."""
        if len(self.tiers.sparse) >= SPARSE_AT_ONCE or (is_full and self.tiers.sparse):
            return Rewriting(self.tiers)
        freed = self._deletable()
        if len(freed) >= FREED_AT_ONCE or (is_full and freed):
            return Deleting(self.tiers, freed)
        if is_full and self.tiers.freed:
            return Sacrificing(self.tiers, self._written)
        return Sealing(self.tiers) if is_full and self.tiers.young else None

    def _deletable(self) -> list[int]:
        """Return blocks that may be deleted: none while a snapshot may need them; the next snapshot deletes them."""
        return [] if self.is_lasting and self._written.entries else list(self.tiers.freed)
