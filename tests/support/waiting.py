"""Waiting for a condition instead of for a time.

A deadline is there to end a hang, no more: the machines are shared, and stand still for seconds now and then.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

POLL_S = 0.02
DEADLINE_S = 90
STILL_S = 5.0
"""Of the time between two looks so much counts: while the machine stands still, nothing else has a chance either."""


class Deadline:
    """So many seconds, of which those do not count in which the machine stood still."""

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._looked_at = time.monotonic()

    def is_over(self) -> bool:
        """Whether the time is used up; ask again and again."""
        now = time.monotonic()
        self._left_s -= min(now - self._looked_at, STILL_S)
        self._looked_at = now
        return self._left_s < 0


async def eventually(condition: Callable[[], bool | Awaitable[bool]], deadline_s: float = DEADLINE_S) -> None:
    """Return as soon as the condition holds; fail when it does not within the deadline."""
    deadline = Deadline(deadline_s)
    while True:
        holds = condition()
        if await holds if isinstance(holds, Awaitable) else holds:
            return
        if deadline.is_over():
            raise AssertionError(f"not within {deadline_s:g} s: {condition}")
        await asyncio.sleep(POLL_S)
