"""Limits of an HTTP server: connections, requests, and how long it waits for clients."""

from collections.abc import Collection
from typing import NamedTuple

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

PIECE = 65_536
CLOSE = {"connection": "close"}


class ServerLimits(NamedTuple):
    """Limits of one server. `requests` (without probes) must be below `connections`, so that room can be made.

    Times: `head_s` from the connection, or a request's first byte, to the end of its headers, and for a TLS handshake;
    `body_s` from there to the end of the body; `idle_s` between requests; `unsent_s` for a client to receive an answer.
    """

    connections: int = 512
    requests: int = 256
    head_s: float = 10.0
    body_s: float = 30.0
    idle_s: int = 5
    unsent_s: float = 30.0


class Bounded:
    """Passes at most `most` requests at a time to an application, besides probes; any more are answered with 503."""

    def __init__(self, app: ASGIApp, most: int, probes: Collection[str]) -> None:
        self._app = app
        self._most = most
        self._probes = probes
        self._taken = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 503."""
        if _is_twofold(scope):
            answer = PlainTextResponse("a length or chunks, not both\n", 400, CLOSE)
            await answer(scope, receive, send)
        elif scope["path"] in self._probes:
            await self._app(scope, receive, send)
        elif self._taken >= self._most:
            full = PlainTextResponse("too many requests at a time\n", 503, {**CLOSE, "retry-after": "1"})
            await full(scope, receive, send)
        else:
            self._taken += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._taken -= 1


class InPieces(Response):
    """A large body, sent in pieces as the client reads: a client that reads nothing holds one piece in memory."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  of ASGI
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(self.body), PIECE):
            await send({"type": "http.response.body", "body": self.body[start : start + PIECE], "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _is_twofold(scope: Scope) -> bool:
    """Tell whether a request has both chunks and a length: h11 uses the chunks, a proxy perhaps the length."""
    return {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}
