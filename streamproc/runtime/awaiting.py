"""Two things that asyncio asks for again and again."""

import asyncio
from typing import Any


def seen(future: asyncio.Future[Any]) -> None:
    """Look at an error that nobody waits for any more, or asyncio complains."""
    if not future.cancelled():
        future.exception()


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until an event is set, for so long; return whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
