"""The store of a worker: divides memory and disk among its partitions, and opens their disks."""

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
    """Callbacks of a store's owner. `on_room`: a partition may go on; `on_trouble`: one has no snapshots, and why."""

    on_room: Callable[[], None]
    on_trouble: Callable[[int, str], None]


ALONE = Host(lambda: None, lambda _, __: None)


class Store:
    """The store of one worker. One thread does all slow work, so a disk that hangs delays nothing but payloads."""

    def __init__(self, settings: StoreSettings, host: Host = ALONE) -> None:
        """Start with no partition."""
        self.executor: Executor = ThreadPoolExecutor(1, "store")
        self._host = host
        self._troubles: list[tuple[int, str]] = []
        self._settings = settings
        self._open: set[PayloadKeeper] = set()

    def keeper(self, partition: int, rules: Rules, stream_time: int) -> PayloadKeeper:
        """Return a keeper with an empty state for a partition."""
        keeper = PayloadKeeper(self, partition, rules, stream_time)
        self._open.add(keeper)
        return keeper

    def limits(self) -> PayloadLimits:
        """Return the present limits of each partition."""
        share = max(1, len(self._open))
        return PayloadLimits(self._settings.memory_bytes // share, self._settings.disk_bytes // share)

    def open_disk(self, partition: int, *, may_last: bool) -> Disk:
        """Return a partition's disk, a temporary one if no lasting one is available; raises DiskFails.

        Called in a thread.
        """
        if self._settings.lasting is not None and may_last:
            try:
                return self._settings.lasting(partition)
            except (DiskFails, StoreDamaged) as error:
                return self.instead(partition, error)
        return self._settings.scratch()

    def instead(self, partition: int, error: DiskFails | StoreDamaged) -> Disk:
        """Return a temporary disk, because the lasting one fails."""
        self.troubled(partition, str(error))
        return self._settings.scratch()

    def troubled(self, partition: int, why: str) -> None:
        """Note that a partition has no snapshot, and why. Called in a thread."""
        self._troubles.append((partition, why))

    def tell(self) -> None:
        """Report the troubles that threads noted."""
        while self._troubles:
            self._host.on_trouble(*self._troubles.pop())

    def has_room(self) -> None:
        """Note that a partition is no longer over its limit, or has lost its stored payloads."""
        self._host.on_room()

    def closed(self, keeper: PayloadKeeper) -> None:
        """Note that a partition no longer uses anything."""
        self._open.discard(keeper)
