"""A server for an ASGI application inside the running event loop."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from streamproc.awaiting import done_before
from streamproc.errors import ConfigError
from streamproc.web.certificate import Certificate
from streamproc.web.connection import Connection
from streamproc.web.limits import Bounded, ServerLimits

PROBES = frozenset({"/livez", "/readyz", "/startupz"})
LIMITS = ServerLimits()
STOP_S = 2.0
GRACE_S = 1
"""How much of the time to stop is left for responses in progress."""


class HttpServer:
    """Serves `app` on `host` and `port` while its context is entered. With port 0, `port` is a free one after entering.

    `section`: the settings' section, for errors; `certificate`: for TLS; `probes`: paths that are answered regardless
    of the limit on requests. Raises ConfigError on entering where the address is not available.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        section: str = "HTTP",
        *,
        certificate: Certificate | None = None,
        probes: Collection[str] = PROBES,
        limits: ServerLimits = LIMITS,
    ) -> None:
        self.host = host
        self.port = port
        self.scheme = "http" if certificate is None else "https"
        self._section = section
        self._limits = limits
        context = None if certificate is None else certificate.context
        self._server = _Uvicorn(_config(Bounded(app, limits.requests, probes), limits), limits, context)
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Bind and serve."""
        listener = await _listener(self.host, self.port, self._section, self._limits.connections)
        self.port = listener.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="http")
        await done_before(self._server.ready.wait(), self._serving)
        if self._serving.done():
            self._serving.result()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: at once if no request is in progress, after 2 s in any case."""
        assert self._serving is not None  # noqa: S101  it was entered
        self._server.should_exit = True
        _, late = await asyncio.wait({self._serving}, timeout=STOP_S)
        if late:
            self._serving.cancel()
            await asyncio.wait({self._serving}, timeout=STOP_S)


class _Uvicorn(uvicorn.Server):
    """A uvicorn server that leaves signals to the service, and signals when it is up."""

    def __init__(self, config: uvicorn.Config, limits: ServerLimits, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._limits = limits
        self._tls = tls

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen with our connections and a time-out for handshakes, which uvicorn's own method lacks."""
        loop, handshake_s = asyncio.get_running_loop(), self._limits.head_s if self._tls else None
        self.servers = [
            await loop.create_server(
                self._connection,
                sock=listener,
                ssl=self._tls,
                ssl_handshake_timeout=handshake_s,
                backlog=self._limits.connections,
            )
            for listener in sockets or ()
        ]
        self.started = True
        self.ready.set()

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state, self._limits)


def _config(app: ASGIApp, limits: ServerLimits) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="none",
        http="h11",
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=limits.idle_s,
        timeout_graceful_shutdown=GRACE_S,
    )


async def _listener(host: str, port: int, section: str, backlog: int) -> socket.socket:
    """Return a socket that listens on the first address of `host` that this machine has."""
    refusal: OSError | None = None
    try:
        addresses = await asyncio.get_running_loop().getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in addresses:
            try:
                return socket.create_server(address[:2], family=family, backlog=backlog)
            except OSError as error:
                refusal = refusal or error
    except OSError as error:
        refusal = error
    raise ConfigError(_refused(host, port, section, refusal))


def _refused(host: str, port: int, section: str, error: OSError | None) -> str:
    where = f"port {port} on {host}"
    if error is not None and error.errno == errno.EADDRINUSE:
        return f"{where} is in use: set STREAMPROC_{section}__PORT to a free port, or to 0 for any"
    if error is not None and error.errno == errno.EACCES:
        return f"{where} may not be opened by this user: set STREAMPROC_{section}__PORT to 1024 or above"
    why = os.strerror(error.errno) if error is not None and error.errno is not None and error.errno > 0 else str(error)
    host_setting = f"STREAMPROC_{section}__HOST"
    return f"{where} cannot be opened ({why}): set {host_setting} to an address of this machine, e.g. 127.0.0.1"
