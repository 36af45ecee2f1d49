"""An index of when to examine what: run ids, or any other keys, in buckets of time.

It is derived from the state, never stored. An entry is only a reminder: whoever takes it examines the run as it is by
then, so a superfluous reminder does no harm, and none is removed before it is due. 8 bytes an entry.
"""

from collections.abc import Hashable, Iterator
from heapq import heappop, heappush
from typing import Generic, TypeVar

NEVER = 2**63

Key = TypeVar("Key", bound=Hashable)


class Calendar(Generic[Key]):
    """Keys by the end of the bucket that they are due in; buckets are `width_ms` wide.

    `order`: the numbers of the buckets, as a heap; `next_at`: the instant at which the first one is due, in
    milliseconds.
    """

    def __init__(self, width_ms: int) -> None:
        self.width_ms = width_ms
        self.buckets: dict[int, list[Key]] = {}
        self.order: list[int] = []
        self.next_at = NEVER

    def add(self, key: Key, due_ms: int) -> None:
        """File the key under the end of the bucket that `due_ms` falls into."""
        bucket = -(-due_ms // self.width_ms)
        keys = self.buckets.get(bucket)
        if keys is None:
            self._begin(bucket, [key])
        else:
            keys.append(key)

    def between(self, after: int, until: int) -> Iterator[Key]:
        """Yield the keys that are due in this interval, without removing them."""
        for bucket, keys in self.buckets.items():
            if after < bucket * self.width_ms <= until:
                yield from keys

    def merge(self, overlay: "CalendarOverlay[Key]") -> None:
        """Apply what an overlay took and added. The calendar must be as it was when the overlay was begun."""
        if overlay.passed:
            for _ in range(overlay.passed):
                del self.buckets[heappop(self.order)]
            self.next_at = self.order[0] * self.width_ms if self.order else NEVER
        if overlay.within:
            del self.buckets[self.order[0]][: overlay.within]
        for bucket, keys in overlay.buckets.items():
            bucketed = self.buckets.get(bucket)
            if bucketed is None:
                self._begin(bucket, keys)
            else:
                bucketed += keys

    def _begin(self, bucket: int, keys: list[Key]) -> None:
        self.buckets[bucket] = keys
        heappush(self.order, bucket)
        if bucket * self.width_ms < self.next_at:  # noqa: PLR1730  min() is a call
            self.next_at = bucket * self.width_ms


class CalendarOverlay(Calendar[Key]):
    """What a commit takes from a calendar and adds to it. The calendar stays as it is until it merges this.

    Its own buckets have the added keys. Taken from the calendar are its first `passed` buckets, and the first `within`
    keys of the bucket after them.
    """

    def __init__(self, base: Calendar[Key]) -> None:
        super().__init__(base.width_ms)
        self._base = base
        # Numbers of the calendar's buckets and their places in its heap, again as a heap: the first is the next.
        self._ahead = [(base.order[0], 0)] if base.order else []
        self.passed = self.within = 0
        self.next_at = base.next_at

    def take(self, limit: int = NEVER) -> list[Key]:
        """Return at most `limit` keys that are due first; the next call returns the rest that is due at that time."""
        if self._ahead and not (self.order and self.order[0] < self._ahead[0][0]):
            taken = self._take_of_base(limit)
        else:
            taken = self._take_of_own(limit)
        first = min(self._ahead[0][0] if self._ahead else NEVER, self.order[0] if self.order else NEVER)
        self.next_at = NEVER if first == NEVER else first * self.width_ms
        return taken

    def _take_of_base(self, limit: int) -> list[Key]:
        bucket, place = self._ahead[0]
        keys = self._base.buckets[bucket]
        taken = keys[self.within : self.within + limit]
        self.within += len(taken)
        if self.within == len(keys):
            self.passed += 1
            self.within = 0
            heappop(self._ahead)
            order = self._base.order
            # The successor of a number in a heap is one of its two children, or is in `_ahead` already.
            for child in range(2 * place + 1, min(2 * place + 3, len(order))):
                heappush(self._ahead, (order[child], child))
        return taken

    def _take_of_own(self, limit: int) -> list[Key]:
        keys = self.buckets[self.order[0]]
        if len(keys) <= limit:
            return self.buckets.pop(heappop(self.order))
        taken = keys[-limit:]
        del keys[-limit:]
        return taken
