"""The payloads of a worker's partitions: what each may use, and where it is."""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

from msgspec import Struct

from streamproc.store.disk import Disk
from streamproc.store.keeper import Keeper, Limits
from streamproc.store.sqlite import scratch

UNBOUNDED = 2**63


class StoreSettings(Struct, frozen=True):
    """How many bytes all partitions may use together. `make_disk` returns a partition's disk; raises DiskFails."""

    memory_bytes: int = UNBOUNDED
    disk_bytes: int = UNBOUNDED
    make_disk: Callable[[int], Disk] = lambda _: scratch()


class Store:
    """Of one worker. All that takes time is done by one thread: a disk that hangs holds up nothing but payloads.

    `on_room`: told when a partition that was over its limit is so no more.
    """

    def __init__(self, settings: StoreSettings, on_room: Callable[[], None] = lambda: None) -> None:
        """Start with no partition."""
        self.executor: Executor = ThreadPoolExecutor(1, "store")
        self._on_room = on_room
        self._settings = settings
        self._open: set[Keeper] = set()

    def keeper(self, partition: int) -> Keeper:
        """Return what keeps the payloads of a partition, empty."""
        keeper = Keeper(self, partition)
        self._open.add(keeper)
        return keeper

    def limits(self) -> Limits:
        """Return what each partition may use just now."""
        share = max(1, len(self._open))
        return Limits(self._settings.memory_bytes // share, self._settings.disk_bytes // share)

    def open_disk(self, partition: int) -> Disk:
        """Return the disk of a partition; raises DiskFails."""
        return self._settings.make_disk(partition)

    def has_room(self) -> None:
        """Take note that a partition is no longer over its limit, or has lost what was stored."""
        self._on_room()

    def closed(self, keeper: Keeper) -> None:
        """Take note that a partition uses nothing any more."""
        self._open.discard(keeper)
