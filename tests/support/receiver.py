"""An HTTP server that takes down what it gets and misbehaves on request."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

from aiohttp import web

MAX_BYTES = 64 * 1024 * 1024
Behaviour = Callable[["Got"], Awaitable[web.StreamResponse] | web.StreamResponse]


@dataclass(frozen=True)
class Got:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    method: str = "POST"
    raw_path: str = "/"

    @property
    def content(self) -> Any:
        """The body, as JSON."""
        return json.loads(self.body)


def status(code: int, **headers: str) -> Behaviour:
    """Answer so."""
    return lambda _: web.Response(status=code, headers={name.replace("_", "-"): it for name, it in headers.items()})


async def never(_: Got) -> web.StreamResponse:
    """Do not answer."""
    await asyncio.sleep(3_600)
    raise AssertionError


class Receiver:
    """What came in, and how it is answered: `behave` may be exchanged at any time; `script` comes first."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[Got] = []
        self.behave: Behaviour = status(200)
        self.script: list[Behaviour] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        now = asyncio.get_running_loop().time()
        got = Got(request.path, dict(request.headers), await request.read(), now, request.method, request.raw_path)
        self.got.append(got)
        answer = (self.script.pop(0) if self.script else self.behave)(got)
        return await answer if isinstance(answer, Awaitable) else answer


@asynccontextmanager
async def receiver(port: int = 0, tls: SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Serve on a free port, unless told otherwise; HTTPS where there is a context."""
    it = Receiver()
    app = web.Application(client_max_size=MAX_BYTES)
    app.router.add_route("*", "/{path:.*}", it.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        it.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        yield it
    finally:
        await runner.cleanup()
