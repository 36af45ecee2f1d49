"""The same thing is said once in a while, with how often it happened since."""

import time
from collections.abc import Callable, Hashable, Iterator
from math import inf
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Throttle(Generic[K]):
    """Counts by key what happened, and tells when that is to be said again. `clock`: monotonic, in seconds.

    The first of a key is due at once, the others `every_s` after the last one that was said. Of more keys than
    `max_keys` it forgets the one that was said longest ago, and what was counted of it since.
    """

    def __init__(self, every_s: float, *, max_keys: float = inf, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._max_keys = max_keys
        self._clock = clock
        self._unsaid: dict[K, int] = {}
        self._said_at: dict[K, float] = {}

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._unsaid.keys() | self._said_at.keys())

    def count(self, key: K, times: int = 1) -> None:
        """Take note that something happened."""
        self._unsaid[key] = self._unsaid.get(key, 0) + times

    def due(self, key: K, *, at_once: bool = False) -> int:
        """Return how often it happened since it was last said, as it is said now; 0: it is not to be said.

        `at_once`: whenever that was.
        """
        now, said_at = self._clock(), self._said_at.get(key)
        if key not in self._unsaid or (said_at is not None and now - said_at < self._every_s and not at_once):
            return 0
        # To the end: the order is that of when each was said.
        self._said_at.pop(key, None)
        self._make_room()
        self._said_at[key] = now
        # Two threads may log the same at the same time: the second has nothing left to say.
        return self._unsaid.pop(key, 0)

    def unsaid(self) -> Iterator[K]:
        """Iterate over what happened since it was last said; `due` may be asked in between."""
        return iter(tuple(self._unsaid))

    def forget(self, which: Callable[[K], bool]) -> None:
        """Forget some keys: the next time is the first one."""
        for noted in (self._unsaid, self._said_at):
            for key in [key for key in noted if which(key)]:
                noted.pop(key, None)

    def _make_room(self) -> None:
        while len(self._said_at) >= self._max_keys:
            oldest = next(iter(self._said_at))
            self._said_at.pop(oldest, None)
            self._unsaid.pop(oldest, None)
