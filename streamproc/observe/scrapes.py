"""Scrapes that come at the same time get one rendering, and renderings leave the event loop to others."""

import asyncio
from asyncio import Future, Task
from collections.abc import Awaitable, Callable, Sequence

from streamproc.observe.exposition import ExpositionFormat, Family, encoded, format_for

REST = 4.0
"""How long nothing is rendered after a rendering, in times of what that took: so no scraper takes more than a fifth."""


class Scrapes:
    """Answers scrapes. Who comes while a rendering is under way gets the next one: it is never older than the question.

    `families`: what there is as of now; counted once for a rendering, written once in each format that is asked for.
    """

    def __init__(self, families: Callable[[], Awaitable[Sequence[Family]]], rest: float = REST) -> None:
        self._families = families
        self._rest = rest
        self._waiting: dict[ExpositionFormat, Future[bytes]] = {}
        self._rendering: Task[None] | None = None

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return everything, and its content type, text or OpenMetrics, as the HTTP Accept header `accept` asks."""
        wanted = format_for(accept)
        body = self._waiting.get(wanted)
        if body is None:
            body = self._waiting[wanted] = asyncio.get_running_loop().create_future()
        if self._rendering is None:
            self._rendering = asyncio.create_task(self._render(), name="scrapes")
        # Of those who wait for it one may go.
        return await asyncio.shield(body), wanted.content_type

    async def _render(self) -> None:
        """Render until nobody waits."""
        clock = asyncio.get_running_loop().time
        try:
            while self._waiting:
                began_at, waiting = clock(), self._waiting
                self._waiting = {}
                await self._answer(waiting)
                await asyncio.sleep(self._rest * (clock() - began_at))
        finally:
            self._rendering = None

    async def _answer(self, waiting: dict[ExpositionFormat, Future[bytes]]) -> None:
        try:
            families = await self._families()
            for wanted, body in waiting.items():
                body.set_result(await encoded(families, wanted))
        except Exception as error:  # noqa: BLE001  whatever it is, it is of those who asked
            for body in waiting.values():
                if not body.done():
                    body.set_exception(error)
        finally:
            for body in waiting.values():
                body.cancel()
