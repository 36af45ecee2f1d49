"""A server keeps answering whatever its clients do: over real sockets, on both event loops."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from streamproc.web.limits import InPieces, ServerLimits
from streamproc.web.server import HttpServer

LONG_S = 3_600.0
PATIENT = ServerLimits(head_s=LONG_S, body_s=LONG_S, idle_s=3_600, unsent_s=LONG_S)
"""Nothing ends but for what a test is about."""
LARGE = 15_000_000
"""More than any socket takes."""
PROBE = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    def run(main: Callable[[], object]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return run


class Served:
    """A server, and what its application heard."""

    def __init__(self, limits: ServerLimits) -> None:
        self.heard: list[str] = []
        self.held = 0
        self.go_on = asyncio.Event()
        routes = [
            Route("/livez", self._livez),
            Route("/body", self._body, methods=["POST"]),
            Route("/large", self._large),
            Route("/held", self._held),
            Route("/events", self._events),
        ]
        self.http = HttpServer(Starlette(routes=routes), "127.0.0.1", 0, limits=limits)

    async def _livez(self, _: Request) -> Response:
        return PlainTextResponse("alive")

    async def _body(self, request: Request) -> Response:
        try:
            self.heard.append((await request.body()).decode())
        except ClientDisconnect:
            self.heard.append("gone")
        return PlainTextResponse("taken")

    async def _large(self, _: Request) -> Response:
        return InPieces(b"x" * LARGE)

    async def _held(self, _: Request) -> Response:
        self.held += 1
        await self.go_on.wait()
        return PlainTextResponse("at last")

    async def _events(self, _: Request) -> Response:
        async def events() -> AsyncIterator[bytes]:
            yield b"data: first\n\n"
            await self.go_on.wait()
            yield b"data: last\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @asynccontextmanager
    async def client(self, said: bytes = b"") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect, and send the beginning of something."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.http.port)
        try:
            writer.write(said)
            yield reader, writer
        finally:
            writer.transport.abort()

    async def ask(self, said: bytes) -> bytes:
        """Return all that comes until the server closes; what it ended without an answer is empty."""
        async with self.client(said) as (reader, _):
            return await all_of(reader)

    async def is_alive(self) -> bool:
        return (await self.ask(PROBE)).startswith(b"HTTP/1.1 200")


async def all_of(reader: asyncio.StreamReader) -> bytes:
    found = b""
    try:
        while data := await reader.read(65_536):
            found += data
    except ConnectionError:  # What we sent after the server had closed.
        pass
    return found


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.01)


@asynccontextmanager
async def served(limits: ServerLimits = PATIENT) -> AsyncIterator[Served]:
    serving = Served(limits)
    async with serving.http:
        yield serving
        serving.go_on.set()


HALF = {
    "silent": b"",
    "half a request line": b"GET /li",
    "half its headers": b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: ",
    "half a body": b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
    "half a body of chunks": b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "half a body that nobody reads": b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
    "half a second request": b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\n",
    "an answer that nobody reads": b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("said", HALF.values(), ids=HALF)
def test_probes_are_answered_beside_120_half_open_connections(run, said):
    async def main() -> None:
        async with served() as server, AsyncExitStack() as stack:
            for _ in range(120):
                await stack.enter_async_context(server.client(said))
            assert await server.is_alive()

    run(main)


@pytest.mark.parametrize("said", HALF.values(), ids=HALF)
def test_where_every_connection_is_half_open_the_oldest_makes_room(run, said):
    limits = PATIENT._replace(connections=8)

    async def main() -> None:
        async with served(limits) as server, AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(server.client(said)) for _ in range(30)]
            assert await server.is_alive()
            await all_of(clients[0][0])
            assert await server.is_alive()

    run(main)


def test_a_probe_is_answered_where_every_other_request_would_be_one_too_many(run):
    """Rule: `requests` are under way at most; the next one is told to come again, a probe is not."""

    async def main() -> None:
        async with served(PATIENT._replace(connections=20, requests=5)) as server, AsyncExitStack() as stack:
            held = b"GET /held HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            clients = [await stack.enter_async_context(server.client(held)) for _ in range(5)]
            await until(lambda: server.held == 5)
            refused = await server.ask(held)
            assert refused.startswith(b"HTTP/1.1 503")
            assert b"retry-after: 1" in refused
            assert await server.is_alive()
            server.go_on.set()
            assert [(await all_of(reader))[:12] for reader, _ in clients] == [b"HTTP/1.1 200"] * 5

    run(main)


def test_what_is_being_answered_is_never_ended_for_others(run):
    """Rule: only what waits for its client makes room; where nothing does, the newest goes."""

    async def main() -> None:
        async with served(PATIENT._replace(connections=5, requests=5)) as server, AsyncExitStack() as stack:
            held = b"GET /held HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            clients = [await stack.enter_async_context(server.client(held)) for _ in range(5)]
            await until(lambda: server.held == 5)
            assert await server.ask(b"") == b""
            server.go_on.set()
            assert [(await all_of(reader))[:12] for reader, _ in clients] == [b"HTTP/1.1 200"] * 5

    run(main)


@pytest.mark.parametrize("name", ["silent", "half a request line", "half its headers", "half a second request"])
def test_headers_that_do_not_come_end_the_connection(run, name):
    async def main() -> None:
        answers = 1 if name == "half a second request" else 0
        async with served(PATIENT._replace(head_s=1 if answers else 0.1)) as server:
            assert (await server.ask(HALF[name])).count(b"HTTP/1.1 200") == answers

    run(main)


def test_headers_that_come_a_byte_at_a_time_end_the_connection(run):
    """Rule: the time is for all of them; a byte now and then buys no more of it."""

    async def main() -> None:
        async with (
            served(PATIENT._replace(head_s=0.2)) as server,
            server.client(b"GET / HTTP/1.1\r\n") as (reader, writer),
        ):
            ended = asyncio.create_task(all_of(reader))
            while not ended.done():
                writer.write(b"X")
                await asyncio.sleep(0.02)
            assert ended.result() == b""

    run(main)


@pytest.mark.parametrize("name", ["half a body", "half a body of chunks"])
def test_a_body_that_does_not_come_ends_the_connection_and_the_application_hears_of_it(run, name):
    async def main() -> None:
        async with served(PATIENT._replace(body_s=0.1)) as server:
            assert await server.ask(HALF[name]) == b""
            await until(lambda: server.heard == ["gone"])

    run(main)


def test_a_body_that_is_not_needed_is_not_waited_for_either(run):
    async def main() -> None:
        async with served(PATIENT._replace(body_s=1)) as server:
            answer = await server.ask(HALF["half a body that nobody reads"])
            assert answer.startswith(b"HTTP/1.1 200")

    run(main)


def test_a_connection_that_asks_nothing_more_is_ended(run):
    async def main() -> None:
        async with served(PATIENT._replace(idle_s=1)) as server:
            answer = await server.ask(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.endswith(b"alive")

    run(main)


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"], ids=["keep-alive", "close"])
def test_an_answer_that_nobody_takes_ends_the_connection(run, close):
    """Rule: a stalled reader holds a slot for so long and no longer."""

    async def main() -> None:
        asked = b"GET /large HTTP/1.1\r\nHost: x\r\n" + close + b"\r\n"
        async with served(PATIENT._replace(unsent_s=0.1, requests=1)) as server, server.client(asked):
            while not (await server.ask(PROBE.replace(b"/livez", b"/nothing"))).startswith(b"HTTP/1.1 404"):
                await asyncio.sleep(0.01)

    run(main)


def test_an_answer_that_is_taken_slowly_is_whole(run):
    async def main() -> None:
        async with served() as server:
            answer = await server.ask(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert len(answer.partition(b"\r\n\r\n")[2]) == LARGE

    run(main)


def test_a_stream_of_events_outlasts_every_limit(run):
    async def main() -> None:
        limits = ServerLimits(head_s=1, body_s=0.1, idle_s=1, unsent_s=0.1)
        async with served(limits) as server, server.client(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n") as (reader, _):
            await reader.readuntil(b"first\n\n")
            for said in (HALF["half its headers"], HALF["half a body"], b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"):
                await server.ask(said)
            server.go_on.set()
            assert await reader.readuntil(b"last\n\n")

    run(main)


def test_probes_and_pages_are_answered_beside_100_open_streams(run):
    async def main() -> None:
        async with served() as server, AsyncExitStack() as stack:
            for _ in range(100):
                reader, _writer = await stack.enter_async_context(
                    server.client(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
                )
                await reader.readuntil(b"first\n\n")
            assert await server.is_alive()
            assert b"taken" in await server.ask(PROBE.replace(b"GET /livez", b"POST /body"))

    run(main)


GARBAGE = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n",
    "no version": b"GET /livez\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "a blank before the colon": b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
    "lengths that differ": b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a negative length": b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "an odd encoding": b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a length and chunks": b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "headers without end": b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 20_000,
    "a line without end": b"GET /" + b"a" * 200_000,
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_sound_request_is_refused_and_the_connection_closed(run, said):
    """Rule: one refusal, and nothing that was sent behind it is taken for a request."""

    async def main() -> None:
        async with served() as server:
            answer = await server.ask(said)
            # A client that goes on sending may lose the answer to a reset.
            assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 431", *([b""] if len(said) > 65_536 else []))
            assert answer.count(b"HTTP/1.1") <= 1
            assert server.heard == []
            assert await server.is_alive()

    run(main)


def test_chunks_that_are_none_end_the_connection(run):
    broken = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"

    async def main() -> None:
        async with served() as server:
            assert (await server.ask(broken))[:12] in (b"HTTP/1.1 400", b"")
            await until(lambda: server.heard == ["gone"])

    run(main)


def test_garbage_in_a_body_that_is_being_answered_ends_the_connection_without_a_word(run, caplog):
    """Rule: there is no second answer in the middle of the first."""

    async def main() -> None:
        async with served() as server:
            said = b"GET /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            async with server.client(said) as (reader, writer):
                await reader.readuntil(b"first\n\n\r\n")
                writer.write(b"zz\r\n")
                assert await all_of(reader) == b""

    run(main)
    assert "Traceback" not in caplog.text
