"""Keeps one partition's payloads within their limits: one job after another, while the partition goes on."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import Executor
from typing import NamedTuple, Protocol

from streamproc.store.block import StoreDamaged
from streamproc.store.disk import Disk, DiskFails
from streamproc.store.jobs import Job, Recalling, Rewriting, Sealing, Storing
from streamproc.store.tiers import Tiers

YOUNG_SHARE = 4
"""A quarter of the memory is for payloads as they came: most are replaced while they are there."""
SPARSE_AT_ONCE = 32
FREED_AT_ONCE = 1_000
SLACK_BYTES = 2 << 20
"""So much over its limit a partition goes on while payloads are put away."""
TRY_AGAIN_S = 1.0
RECALL_S = 5.0
LOOK_S = 0.5


class Limits(NamedTuple):
    """How many bytes a partition may use just now, in memory and on disk."""

    memory_bytes: int
    disk_bytes: int


class Owner(Protocol):
    """What the partitions of a worker share."""

    executor: Executor

    def limits(self) -> Limits:
        """Return what each partition may use just now."""

    def open_disk(self, partition: int) -> Disk:
        """Return the disk of a partition; raises DiskFails."""

    def has_room(self) -> None:
        """Take note that a partition is no longer over its limit, or has lost what was stored."""

    def closed(self, keeper: "Keeper") -> None:
        """Take note that a partition uses nothing any more."""


class Keeper:
    """Of one partition.

    `trouble`: why payloads cannot be put away, in words; `damage`: what was stored is lost, and the state with it.
    """

    def __init__(self, owner: Owner, partition: int) -> None:
        self.tiers = Tiers()
        self.trouble = ""
        self.damage: StoreDamaged | None = None
        self._owner = owner
        self._partition = partition
        self._disk: Disk | None = None
        self._running: asyncio.Task[None] | None = None
        self._room = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether nothing more may come before payloads were put away."""
        return self.tiers.memory_bytes > self._owner.limits().memory_bytes + SLACK_BYTES

    def tend(self) -> None:
        """Begin what is to be done; call it whenever payloads came or went."""
        if (self._running is None or self._running.done()) and self.damage is None:
            job = self._next()
            if job is not None:
                self._running = asyncio.create_task(self._run(job))

    async def room(self) -> bool:
        """Wait a while for room; return whether there is."""
        self._room.clear()
        self.tend()
        if self.is_over and self.damage is None:
            try:
                await asyncio.wait_for(self._room.wait(), LOOK_S)
            except TimeoutError:
                return False
        return not self.is_over

    async def recall(self, numbers: Iterable[int]) -> None:
        """Have payloads at hand to be read; raises DiskFails where that takes too long, StoreDamaged."""
        job = Recalling(self.tiers, numbers)
        if not job.is_void:
            try:
                await asyncio.wait_for(self._work(job), RECALL_S)
            except TimeoutError as error:
                raise DiskFails(f"payloads could not be read within {RECALL_S:.0f} s") from error
        job.settle()

    def close(self) -> None:
        """Let go of the disk, once what is under way is done."""
        if self._running is not None:
            self._running.cancel()
        self._owner.executor.submit(self._close)
        self._owner.closed(self)

    def _close(self) -> None:
        if self._disk is not None:
            self._disk.close()

    async def _run(self, job: Job | None) -> None:
        while job is not None:
            try:
                await self._work(job)
            except DiskFails as error:
                self.trouble = str(error)
                await asyncio.sleep(TRY_AGAIN_S)
            except StoreDamaged as error:
                self.damage = error
                self._tell()
                return
            else:
                job.settle()
                self.trouble = ""
                self.tiers.disk_bytes = 0 if self._disk is None else self._disk.size
            job = self._next()
            if not self.is_over:
                self._tell()

    async def _work(self, job: Job) -> None:
        await asyncio.get_running_loop().run_in_executor(self._owner.executor, job.work, self._get_disk)

    def _get_disk(self) -> Disk:
        if self._disk is None:
            self._disk = self._owner.open_disk(self._partition)
        return self._disk

    def _tell(self) -> None:
        self._room.set()
        self._owner.has_room()

    def _next(self) -> Job | None:
        """Return what is to be done next."""
        tiers, limits = self.tiers, self._owner.limits()
        over = tiers.memory_bytes - limits.memory_bytes
        if over > 0 and tiers.young_bytes > limits.memory_bytes // YOUNG_SHARE:
            return Sealing(tiers)
        is_full = False
        if over > 0:
            job = Storing(tiers, over + limits.memory_bytes // 8)
            is_full = tiers.disk_bytes + job.size > limits.disk_bytes
            if not is_full:
                return job
        if len(tiers.sparse) >= SPARSE_AT_ONCE or (is_full and tiers.sparse):
            return Rewriting(tiers)
        if len(tiers.freed) >= FREED_AT_ONCE or (is_full and tiers.freed):
            return Storing(tiers, 0)
        if is_full and tiers.young:
            return Sealing(tiers)
        self.trouble = f"state.max_disk_bytes is used up ({limits.disk_bytes:,} for this partition)" if is_full else ""
        return None
