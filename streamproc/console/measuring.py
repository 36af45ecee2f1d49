"""Measures requests by the templates of their routes, never by their paths."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

NO_ROUTE = "none"
"""The route of a request that was refused, or matches no route."""


class RequestObserver(Protocol):
    """Takes note of requests."""

    def requested(self, route: str, status: int, seconds: float) -> None:
        """Take note of a request: its route's template, its status, and how long its answer took to begin."""


class MeasuredApp:
    """Measures an application's requests. `templates`: by a route's endpoint; `unmeasured`: templates left out."""

    def __init__(
        self,
        app: ASGIApp,
        observer: RequestObserver,
        templates: Mapping[Callable[..., Any], str],
        unmeasured: frozenset[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._observer = observer
        self._templates = templates
        self._unmeasured = unmeasured
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and measure the time until its answer begins."""
        began_at = self._clock()

        async def measure(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._note(scope, message["status"], self._clock() - began_at)
            await send(message)

        await self._app(scope, receive, measure)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = self._templates.get(scope.get("endpoint"), NO_ROUTE)  # type: ignore[arg-type]  # where there is none
        if route not in self._unmeasured:
            self._observer.requested(route, status, seconds)
