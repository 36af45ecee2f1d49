"""Answers that take long: how many there may be at the same time, and how long they wait for whoever reads them."""

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
"""For a client to take what is sent to it: who takes nothing for so long is no more served."""

log = structlog.get_logger(__name__)


class Slots:
    """So many at the same time. `what`: in words, for the one that is too many."""

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self.taken = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold one as long as it is entered; raises Busy where there is none."""
        if self.taken >= self._most:
            raise Busy(f"{self._most} {self._what} at the same time are the most: close one, or try again later")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class LongAnswer(StreamingResponse):
    """Sends chunks as they come. `held`: a slot and whatever else is left at the end; so are the chunks."""

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        held: AsyncExitStack,
        headers: Mapping[str, str],
        media_type: str,
        patience_s: float = PATIENCE_S,
    ) -> None:
        super().__init__(chunks, headers=headers, media_type=media_type)
        self._held = held
        self._patience_s = patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; only its status and headers where nothing else is asked for."""

        async def patient(message: Message) -> None:
            async with asyncio.timeout(self._patience_s):
                await send(message)

        async with self._held:
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
                    # The status is out: that the end is missing tells the client that the answer is not whole.
                    log.warning("an answer was cut short", path=scope["path"][:200], why=str(error))
