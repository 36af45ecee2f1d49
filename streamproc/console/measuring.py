"""Requests as they are measured: by the templates of their routes, never by their paths."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

NO_ROUTE = "none"
"""Of a request that was refused, or for which there is no route."""


class Told(Protocol):
    """Is told of each request."""

    def requested(self, route: str, status: int, seconds: float) -> None:
        """Take note of a request: its route's template, its status, and how long its answer took to begin."""


class MeasuredApp:
    """An application whose requests are told of. `templates`: by a route's endpoint; `unmeasured`: those left out."""

    def __init__(
        self,
        app: ASGIApp,
        told: Told,
        templates: Mapping[Callable[..., Any], str],
        unmeasured: frozenset[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._told = told
        self._templates = templates
        self._unmeasured = unmeasured
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered."""
        began_at = self._clock()

        async def measure(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._tell(scope, message["status"], self._clock() - began_at)
            await send(message)

        await self._app(scope, receive, measure)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route = self._templates.get(scope.get("endpoint"), NO_ROUTE)  # type: ignore[arg-type]  # where there is none
        if route not in self._unmeasured:
            self._told.requested(route, status, seconds)
