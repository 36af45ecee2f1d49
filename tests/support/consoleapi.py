"""The console's application over a made-up fleet, with whatever access a test wants; and its stream, event by event."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from starlette.datastructures import Headers
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from streamproc.console.access import Access
from streamproc.console.answers.fleet import Series
from streamproc.console.answers.signals import Replay
from streamproc.console.reads import BadCursor, Event, LetterFilter, Page, SeriesFilter, StreamFilter
from streamproc.console.site import Exposed, application
from streamproc.console.tokenfile import new_token
from streamproc.settings.console import ConsoleSettings
from streamproc.web.server import HttpServer
from tests.support.console import FakeReads
from tests.support.fleet import HOUR, NOW_MS, as_of


class Reads(FakeReads):
    """The fleet, wholly read. Its stream is as Reads says; `asked`: each stream's filter and last id; `open`: how many.

    `batches`: what a stream yields after its first batch; then it waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.as_of = as_of(0.0)
        self.batches: list[Sequence[Event] | Exception] = []
        self.asked: list[tuple[StreamFilter, str | None]] = []
        self.open = 0

    async def series(self, wanted: SeriesFilter, page: Page) -> Series:
        """Of a day at most: the made-up windows would have no end."""
        until_ms = min(wanted.until_ms, 2 * NOW_MS)
        day = wanted._replace(since_ms=max(wanted.since_ms, until_ms - 24 * HOUR), until_ms=until_ms)
        return await super().series(day._replace(size_s=wanted.size_s and max(60, wanted.size_s)), page)

    async def events(self, wanted: StreamFilter, last_id: str | None) -> AsyncIterator[Sequence[Event]]:
        self._check()
        self.asked.append((wanted, last_id))
        if last_id is not None and not last_id.startswith("t"):
            raise BadCursor("Last-Event-ID is none of this stream")
        self.open += 1
        try:
            yield [] if last_id else [Event("t0-1")]
            for batch in self.batches:
                if isinstance(batch, Exception):
                    raise batch
                yield batch
            await asyncio.Event().wait()
        finally:
            self.open -= 1


class Actions:
    """Remembers what it was asked. `failure`: what it raises."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, LetterFilter, list[tuple[int, int]], bool, int | None]] = []
        self.failure: Exception | None = None

    async def replay(self, caller, wanted, places, *, dry_run, expected) -> Replay:
        self.asked.append((caller, wanted, list(places), dry_run, expected))
        if self.failure is not None:
            raise self.failure
        return Replay(dry_run=dry_run, to_replay=3, replayed=0 if dry_run else 3, counts={"replay": 3}, warnings=[])


class Requests:
    """Remembers what it was told of requests, and exposes nothing."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def requested(self, route: str, status: int, seconds: float) -> None:  # noqa: ARG002  no test is about a time
        self.told.append((route, status))

    async def exposition(self, accept: str) -> tuple[bytes, str]:  # noqa: ARG002  there is nothing to encode
        return b"", "text/plain"


def console(
    reads: FakeReads,
    actions: Actions | None = None,
    access: Access | None = None,
    base_path: str = "",
    metrics: Exposed | None = None,
) -> ASGIApp:
    """Return the application: on this machine only, where nothing else is said."""
    own = access or Access(ConsoleSettings(base_path=base_path, actions=actions is not None))
    return application(reads, actions, own, lambda: True, metrics or Requests(), base_path)


def client(app: ASGIApp, **more: Any) -> TestClient:
    """Return a client that never raises what the application raises: a server does not, either."""
    return TestClient(app, base_url="http://127.0.0.1:8081", raise_server_exceptions=False, **more)


def tokens(path: Path, **rights: str) -> dict[str, str]:
    """Write a file of tokens, by names and rights; return what they have to show."""
    made = {name: new_token(name, said.split(",")) for name, said in rights.items()}
    path.write_text("".join(f"{line}\n" for _, line in made.values()))
    return {name: secret for name, (secret, _) in made.items()}


def headers(**said: str) -> Headers:
    """Return headers, with dashes for underscores."""
    return Headers({name.replace("_", "-"): value for name, value in said.items()})


def basic(user: str, password: str) -> str:
    """Return what a browser sends of a log in."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve on a free port; yield a session whose requests begin there."""
    async with (
        HttpServer(app, "127.0.0.1", 0) as http,
        aiohttp.ClientSession(f"http://127.0.0.1:{http.port}") as session,
    ):
        yield session


async def next_event(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return the fields of the next block of a stream; a comment's name is empty."""
    block = (await response.content.readuntil(b"\n\n")).decode().rstrip("\n")
    return {name: value.removeprefix(" ") for name, _, value in (line.partition(":") for line in block.split("\n"))}
