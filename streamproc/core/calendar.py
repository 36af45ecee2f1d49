"""An index of what is to be looked at when: run ids, or any other keys, in buckets of time.

Derived from the state, never stored. An entry is only a reminder: whoever takes it looks at the run as it is by then,
so a reminder too many does no harm, and none is removed before it is due. 8 bytes an entry.
"""

from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Generic, TypeVar

NEVER = 2**63

Key = TypeVar("Key", bound=Hashable)


class Calendar(Generic[Key]):
    """Keys by the end of the bucket that they are due in; buckets are `width_ms` wide."""

    def __init__(self, width_ms: int) -> None:
        self._width = width_ms
        self._buckets: dict[int, list[Key]] = {}
        self._order: list[int] = []
        self._taken: list[tuple[int, list[Key]]] = []
        self._added = False
        self.next_at = NEVER
        """The instant at which the first bucket is due, in milliseconds."""

    def add(self, key: Key, due_ms: int) -> None:
        """Look at the key at the end of the bucket that `due_ms` falls into."""
        self._added = True
        bucket = -(-due_ms // self._width)
        held = self._buckets.get(bucket)
        if held is None:
            self._put(bucket, [key])
        else:
            held.append(key)

    def take(self, limit: int = NEVER) -> list[Key]:
        """Remove the keys of the first bucket, at most `limit`, and return them; `rewind` puts them back."""
        bucket = self._order[0]
        keys = self._buckets[bucket]
        if len(keys) > limit:
            taken = keys[-limit:]
            del keys[-limit:]
        else:
            taken = self._buckets.pop(heappop(self._order))
            self.next_at = self._order[0] * self._width if self._order else NEVER
        self._taken.append((bucket, taken))
        return taken

    def give_back(self, keys: list[Key]) -> None:
        """Put back some of those that were taken last: they are to be taken again."""
        bucket, taken = self._taken[-1]
        self._taken[-1] = bucket, taken[: len(taken) - len(keys)]
        self._put(bucket, keys)

    def keep(self) -> None:
        """Let what was taken be gone: the commit that it led to is confirmed."""
        self._taken.clear()
        self._added = False

    def rewind(self) -> None:
        """Put back what was taken for a commit that never came about."""
        for bucket, keys in self._taken:
            self._put(bucket, keys)
        self._taken.clear()
        if self._added:
            # What the aborted commit added is about to be added again, and again after that.
            self._buckets = {bucket: list(dict.fromkeys(keys)) for bucket, keys in self._buckets.items()}
            self._added = False

    def _put(self, bucket: int, keys: list[Key]) -> None:
        held = self._buckets.get(bucket)
        if held is not None:
            held += keys
            return
        self._buckets[bucket] = list(keys)
        heappush(self._order, bucket)
        self.next_at = self._order[0] * self._width
