"""Alerts on their way to a receiver that gets each of them once, in order for each key, whatever other keys wait for.

The offset to be committed is that of the oldest alert that is not done; what was done beyond it comes again after a
restart, under the same idempotency key.
"""

from asyncio import Event, Queue
from collections import deque

from msgspec import Struct

from streamproc.core.alerts import Alert


class Item(Struct, eq=False):
    """An alert to be delivered, and when it was added, by the monotonic clock."""

    partition: int
    offset: int
    alert: Alert
    taken_s: float


class Outbox:
    """Items by key. One sender at a time has a key; afterwards the key goes to the end of the queue."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._row: Queue[str] = Queue()
        self._items: dict[str, deque[Item]] = {}
        self._undone: dict[int, set[int]] = {}
        self._room = Event()
        self._room.set()

    def __len__(self) -> int:
        """Return how many items are not done."""
        return sum(map(len, self._undone.values()))

    def clear(self) -> None:
        """Forget everything; what a sender has in hand is nobody's any more."""
        self._row = _emptied(self._row)
        self._items.clear()
        self._undone.clear()
        self._room.set()

    def put(self, item: Item) -> None:
        """Add an item after those of its key."""
        self._undone.setdefault(item.partition, set()).add(item.offset)
        if item.alert.key in self._items:
            self._items[item.alert.key].append(item)
        else:
            self._items[item.alert.key] = deque((item,))
            self._row.put_nowait(item.alert.key)
        self._look()

    async def room(self) -> None:
        """Wait until there are fewer items than the limit."""
        await self._room.wait()

    async def next(self) -> Item:
        """Wait for a key whose turn it is, and return its first item: to be given back by `done` or `again`."""
        return self._items[await self._row.get()][0]

    def holds(self, item: Item) -> bool:
        """Tell whether its sender should still deliver the item."""
        items = self._items.get(item.alert.key)
        return items is not None and items[0] is item

    def done(self, item: Item) -> None:
        """Remove an item, delivered or given up."""
        if self.holds(item):
            items = self._items[item.alert.key]
            items.popleft()
            self._undone[item.partition].discard(item.offset)
            if items:
                self._row.put_nowait(item.alert.key)
            else:
                del self._items[item.alert.key]
            self._look()

    def again(self, item: Item) -> None:
        """Return an item to the queue, after the other keys."""
        if self.holds(item):
            self._row.put_nowait(item.alert.key)

    def oldest(self, partition: int) -> int | None:
        """Return the offset of a partition's oldest item that is not done."""
        return min(self._undone.get(partition, ()), default=None)

    def _look(self) -> None:
        if len(self) < self._limit:
            self._room.set()
        else:
            self._room.clear()


def _emptied(row: Queue[str]) -> Queue[str]:
    """Empty the queue on which senders wait."""
    while not row.empty():
        row.get_nowait()
    return row
