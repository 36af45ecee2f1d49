"""One connection to an HTTP server, for as long as its client deserves it.

uvicorn has a time-out for what is idle between two requests, and none for what is half sent or half taken.
"""

import asyncio
from enum import IntEnum
from typing import Any

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from streamproc.web.limits import ServerLimits


class Phase(IntEnum):
    """What a connection waits for; in the order in which they make room for others."""

    IDLE = 0
    """The next request."""
    HEAD = 1
    """The rest of a request's headers."""
    BODY = 2
    """The rest of its body."""
    ANSWER = 3
    """Us, or the client to take what was sent."""


class Connection(H11Protocol):
    """Ends where a client sends or takes too slowly, or where it is the longest that waits and there are too many."""

    def __init__(self, config: Config, state: ServerState, app_state: dict[str, Any], limits: ServerLimits) -> None:
        super().__init__(config, state, app_state)
        self._limits = limits
        self._phase = Phase.ANSWER
        self._since = 0.0
        self._late: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Make room, and wait for a request."""
        super().connection_made(transport)
        # Whatever the system does not take at once counts as unsent: a few bytes could stay so for ever. With TLS a
        # transport pauses from its limit on, not above it.
        transport.set_write_buffer_limits(high=1 if self.scheme == "https" else 0, low=0)
        self._look()
        if len(self.connections) > self._limits.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        for timer in (self._late, self._stalled):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        super().on_response_complete()
        self._look()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; there is no saying so in the middle of an answer, which uvicorn would try."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Wait for the client to take what was sent."""
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self._limits.unsent_s, self.end)

    def resume_writing(self) -> None:
        """Go on sending."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    @property
    def waits_for_client(self) -> bool:
        """Whether the client is to go on: with its request, or with taking the answer."""
        return self._phase is not Phase.ANSWER or self._stalled is not None

    def end(self) -> None:
        """End the connection, without waiting for the client to take anything."""
        self.connections.discard(self)
        self.transport.abort()

    def _look(self) -> None:
        """Find out what is waited for, and since when."""
        phase = self._awaited()
        if phase is self._phase:
            return
        self._phase, self._since = phase, self.loop.time()
        if self._late is not None:
            self._late.cancel()
            self._late = None
        # uvicorn ends what is idle.
        if limit_s := {Phase.HEAD: self._limits.head_s, Phase.BODY: self._limits.body_s}.get(phase):
            self._late = self.loop.call_later(limit_s, self.end)

    def _awaited(self) -> Phase:
        if self.transport.is_closing():
            return Phase.ANSWER
        if self.conn.their_state is h11.SEND_BODY:
            return Phase.BODY
        if self.conn.their_state is not h11.IDLE:
            return Phase.ANSWER
        is_first = self.cycle is None  # uvicorn sets it with the first request.
        return Phase.HEAD if is_first or self.conn.trailing_data[0] else Phase.IDLE

    def _make_room(self) -> None:
        """End what waits for its client the longest; what just came where all the others wait for us."""
        others = [each for each in self.connections if isinstance(each, Connection) and each is not self]
        waiting = [each for each in others if each.waits_for_client]
        min(waiting, key=lambda each: (each._phase, each._since), default=self).end()  # noqa: SLF001  of this class
