"""What asyncio asks for again and again."""

import asyncio
from collections.abc import Coroutine
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


async def done_before(
    work: Coroutine[Any, Any, object], *others: asyncio.Future[Any], within_s: float | None = None
) -> bool:
    """Wait until `work` is done, and tell whether it is; no longer than until one of the others is, or so long.

    For what comes up and may end instead: a server, a process. Raises what the work raises; else it is cancelled.
    Of the others nothing is raised: where one has ended, its owner has to look at it.
    """
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait((working, *others), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        working.cancel()
        working.add_done_callback(seen)
