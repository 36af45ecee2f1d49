"""Ctrl-C and SIGTERM: the first signal asks for an orderly end, the second ends the process at once."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from streamproc.errors import StreamprocError
from streamproc.exitcodes import ExitCode

SIGNALS = (signal.SIGINT, signal.SIGTERM)

T = TypeVar("T")


class Interrupted(StreamprocError):
    """A signal stopped the process before it began its work."""


@contextmanager
def stop_on_signal(at_once: Callable[[], None] = lambda: None) -> Iterator[asyncio.Event]:
    """Yield an event that the first signal sets. The second one calls `at_once`, which must be quick, and exits.

    A local broker goes with the process even then: its watchdog sees to that.
    """
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    seen: list[int] = []

    def on_signal(number: int) -> None:
        if seen:
            at_once()
            os._exit(ExitCode.INTERRUPTED)
        seen.append(number)
        stop.set()

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T], what: str) -> T:
    """Return the result of `work`; if `stop` is set before, cancel the work and raise Interrupted."""
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Interrupted(f"stopped before {what}")
    finally:
        stopped.cancel()
        await cancelled(working)


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for their end; their exceptions are ignored."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def to_its_end(writing: Awaitable[T]) -> T:
    """Return the result of `writing`; a cancellation waits for its end, so it must take a bounded time."""
    task = asyncio.ensure_future(writing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
