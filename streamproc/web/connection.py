"""One connection to an HTTP server, with time-outs for slow clients.

uvicorn has a time-out for connections that are idle between requests, but none for requests or answers in progress.
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
    """What a connection waits for, in the order in which connections are closed to make room."""

    IDLE = 0
    """The next request."""
    HEAD = 1
    """The rest of a request's headers."""
    BODY = 2
    """The rest of its body."""
    ANSWER = 3
    """Our answer, or the client to receive it."""


class Connection(H11Protocol):
    """A connection that ends when its client is too slow, or when there are too many and it has waited longest."""

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
        # All bytes that the system does not accept at once count as unsent; otherwise a few could stay unsent for ever.
        # With TLS a transport pauses at its limit, not above it.
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
        """Process received bytes."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        super().on_response_complete()
        self._look()

    def send_400_response(self, msg: str) -> None:
        """Refuse a malformed request. In the middle of an answer only close: uvicorn would send a 400 into it."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Wait for the client to receive what was sent."""
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
        """Whether the client must act: send its request, or receive the answer."""
        return self._phase is not Phase.ANSWER or self._stalled is not None

    def end(self) -> None:
        """End the connection, without waiting for the client to receive anything."""
        self.connections.discard(self)
        self.transport.abort()

    def _look(self) -> None:
        """Determine what the connection waits for, and since when."""
        phase = self._awaited()
        if phase is self._phase:
            return
        self._phase, self._since = phase, self.loop.time()
        if self._late is not None:
            self._late.cancel()
            self._late = None
        # uvicorn itself ends idle connections.
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
        """End the connection that has waited for its client longest; this new one if all others wait for us."""
        others = [
            connection
            for connection in self.connections
            if isinstance(connection, Connection) and connection is not self
        ]
        waiting = [connection for connection in others if connection.waits_for_client]
        min(waiting, key=lambda connection: (connection._phase, connection._since), default=self).end()  # noqa: SLF001  of this class
