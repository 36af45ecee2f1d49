"""Long answers: limits on how many run at the same time, and on how long they wait for a slow client."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, contextmanager

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from streamproc.console.api.problems import status_of
from streamproc.console.reads import Busy

PATIENCE_S = 30.0
"""A client that accepts nothing for this long is disconnected."""

log = structlog.get_logger(__name__)


class Slots:
    """Limits how many run at the same time. `name`: what they are called in the error."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self.taken = 0

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Occupy a slot until the context ends; raises Busy where none is free."""
        if self.taken >= self._most:
            raise Busy(f"{self._most} {self._name} at the same time are the most: close one, or try again later")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class LongAnswer(StreamingResponse):
    """Sends chunks as they come. `resources` (the slot, among others) and `chunks` are closed at the end."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        resources: AsyncExitStack,
        headers: Mapping[str, str],
        media_type: str,
        patience_s: float = PATIENCE_S,
    ) -> None:
        super().__init__(chunks, headers=headers, media_type=media_type)
        self._resources = resources
        self._patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; for HEAD only its status and headers."""

        async def patient(message: Message) -> None:
            async with asyncio.timeout(self._patience_s):
                await send(message)

        async with self._resources:
            if scope["method"] == "HEAD":
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b""})
                return
            async with aclosing(self.body_iterator):  # type: ignore[type-var]
                try:
                    await super().__call__(scope, receive, patient)
                except (TimeoutError, ClientDisconnect):
                    log.info("a client took nothing more", path=scope["path"][:200])
                except Exception as error:
                    if status_of(error) is None:
                        raise
                    # The status was sent already: only the missing end tells the client that the answer is cut.
                    log.warning("an answer was cut short", path=scope["path"][:200], why=str(error))
