"""The payloads of a worker's partitions: what each may use, and where it is."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from msgspec import Struct

from streamproc.store.disk import Disk
from streamproc.store.keeper import Keeper, Limits
from streamproc.store.sqlite import scratch

UNBOUNDED = 2**63


class StoreSettings(Struct, frozen=True):
    """How much all partitions may use together. `disk_bytes`: None: whatever the disk has."""

    memory_bytes: int
    disk_bytes: int | None = None


class Store:
    """Of one worker. All that takes time is done by one thread: a disk that hangs holds up nothing but payloads."""

    def __init__(self, settings: StoreSettings, open_disk: Callable[[int], Disk] = lambda _: scratch()) -> None:
        """`open_disk` returns the disk of a partition; raises DiskFails."""
        self._settings = settings
        self._open_disk = open_disk
        self._executor = ThreadPoolExecutor(1, "store")
        self._open: set[Keeper] = set()
        self.on_room: Callable[[], None] = lambda: None
        """Told when a partition that was over its limit is so no more."""

    def keeper(self, partition: int) -> Keeper:
        """Return what keeps the payloads of a partition, empty."""
        keeper = Keeper(self._limits, lambda: self._open_disk(partition), self._executor, self._tell_room)
        self._open.add(keeper)
        return keeper

    def close(self, keeper: Keeper) -> None:
        """Let go of a partition's payloads."""
        self._open.discard(keeper)
        keeper.close()

    def _tell_room(self) -> None:
        self.on_room()

    def _limits(self) -> Limits:
        """Return each partition's part."""
        share = max(1, len(self._open))
        disk = UNBOUNDED if self._settings.disk_bytes is None else self._settings.disk_bytes
        return Limits(self._settings.memory_bytes // share, disk // share)
