"""The payloads of a worker's partitions: what each may use, and where it is."""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

from msgspec import Struct

from streamproc.core.rules import Rules
from streamproc.store.checked import StoreDamaged
from streamproc.store.disk import Disk, DiskFails
from streamproc.store.keeper import PayloadKeeper, PayloadLimits
from streamproc.store.sqlite import scratch

UNBOUNDED = 2**63


class StoreSettings(Struct, frozen=True):
    """How many bytes all partitions may use together. `lasting` returns a partition's disk for snapshots."""

    memory_bytes: int = UNBOUNDED
    disk_bytes: int = UNBOUNDED
    lasting: Callable[[int], Disk] | None = None
    scratch: Callable[[], Disk] = scratch


class Host(NamedTuple):
    """Who has a store. `on_room`: a partition may go on; `on_trouble`: one has no snapshots, and why."""

    on_room: Callable[[], None]
    on_trouble: Callable[[int, str], None]


ALONE = Host(lambda: None, lambda _, __: None)


class Store:
    """Of one worker. All that takes time is done by one thread: a disk that hangs holds up nothing but payloads."""

    def __init__(self, settings: StoreSettings, host: Host = ALONE) -> None:
        """Start with no partition."""
        self.executor: Executor = ThreadPoolExecutor(1, "store")
        self._host = host
        self._troubles: list[tuple[int, str]] = []
        self._settings = settings
        self._open: set[PayloadKeeper] = set()

    def keeper(self, partition: int, rules: Rules, stream_time: int) -> PayloadKeeper:
        """Return what keeps the state of a partition, empty."""
        keeper = PayloadKeeper(self, partition, rules, stream_time)
        self._open.add(keeper)
        return keeper

    def limits(self) -> PayloadLimits:
        """Return what each partition may use just now."""
        share = max(1, len(self._open))
        return PayloadLimits(self._settings.memory_bytes // share, self._settings.disk_bytes // share)

    def open_disk(self, partition: int, *, may_last: bool) -> Disk:
        """Return the disk of a partition, in a thread: where none will last one that does not; raises DiskFails."""
        if self._settings.lasting is not None and may_last:
            try:
                return self._settings.lasting(partition)
            except (DiskFails, StoreDamaged) as error:
                return self.instead(partition, error)
        return self._settings.scratch()

    def instead(self, partition: int, error: DiskFails | StoreDamaged) -> Disk:
        """Return a disk that does not last, as the one that would fails."""
        self.troubled(partition, str(error))
        return self._settings.scratch()

    def troubled(self, partition: int, why: str) -> None:
        """Take note that a partition has no snapshot, and why; of a thread."""
        self._troubles.append((partition, why))

    def tell(self) -> None:
        """Tell what threads came across."""
        while self._troubles:
            self._host.on_trouble(*self._troubles.pop())

    def has_room(self) -> None:
        """Take note that a partition is no longer over its limit, or has lost what was stored."""
        self._host.on_room()

    def closed(self, keeper: PayloadKeeper) -> None:
        """Take note that a partition uses nothing any more."""
        self._open.discard(keeper)
