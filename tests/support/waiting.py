"""Waiting for a condition instead of for a time.

A deadline is there to end a hang, no more: the machines are shared, and stand still for seconds now and then.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

POLL_S = 0.02
DEADLINE_S = 90


async def eventually(condition: Callable[[], bool | Awaitable[bool]], deadline_s: float = DEADLINE_S) -> None:
    """Return as soon as the condition holds; fail when it does not within the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        holds = condition()
        if await holds if isinstance(holds, Awaitable) else holds:
            return
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:g} s: {condition}")
        await asyncio.sleep(POLL_S)
