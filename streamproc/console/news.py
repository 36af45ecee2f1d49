"""Wakes those who wait for something new in the read model."""

import asyncio


class News:
    """Told by the follower, within the loop in which others wait."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def tell(self) -> None:
        """Wake everybody who waits."""
        told, self._next = self._next, asyncio.Event()
        told.set()

    def coming(self) -> asyncio.Event:
        """Return what is set when there is something newer than now; take it before you look."""
        return self._next
