"""What asyncio asks for again and again."""

import asyncio
from typing import Any


def seen(future: asyncio.Future[Any]) -> None:
    """Look at an error that nobody waits for any more, or asyncio complains."""
    if not future.cancelled():
        future.exception()


def raise_failed(task: asyncio.Task[None]) -> None:
    """Raise what ended a task, RuntimeError where it was cancelled though not by us: that must not go unnoticed."""
    if task.cancelled():
        raise RuntimeError("a task was cancelled from within")
    task.result()


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until an event is set, for so long; return whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
