"""Wakes tasks that wait for something new in the read model."""

import asyncio


class News:
    """The follower calls `tell`, in the same event loop as the tasks that wait."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def tell(self) -> None:
        """Wake all tasks that wait."""
        current, self._next = self._next, asyncio.Event()
        current.set()

    def coming(self) -> asyncio.Event:
        """Return an event that the next news sets. Get it before reading, so that nothing is missed in between."""
        return self._next
