"""The console's probes answer whoever else keeps it busy."""

from contextlib import AsyncExitStack

import aiohttp
from structlog.testing import capture_logs

from streamproc.console.api.routes import MOST_STREAMS
from streamproc.console.gate import probes
from streamproc.web.limits import ServerLimits
from streamproc.web.server import HttpServer
from tests.support.consoleapi import Reads, console, next_event
from tests.support.waiting import eventually

PATIENT = ServerLimits(connections=200, requests=MOST_STREAMS, head_s=3_600, body_s=3_600)


async def test_probes_answer_while_streams_take_every_request() -> None:
    server = HttpServer(console(Reads(), base_path="/runs"), "127.0.0.1", 0, probes=probes("/runs"), limits=PATIENT)
    async with server as http, AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        session = await stack.enter_async_context(
            aiohttp.ClientSession(f"http://127.0.0.1:{http.port}", connector=connector)
        )
        for _ in range(MOST_STREAMS):
            answer = await stack.enter_async_context(session.get("/runs/api/v1/stream"))
            assert await next_event(answer) == {"retry": "2000"}
        for path, status in (("/runs/livez", 200), ("/runs/readyz", 200), ("/runs/api/v1/stream", 503)):
            async with session.get(path) as answer:
                assert answer.status == status


async def test_a_client_whose_body_does_not_come_is_no_failure_of_ours() -> None:
    """Rule: whoever goes away in the middle of a request makes no traceback in the log."""
    server = HttpServer(console(Reads()), "127.0.0.1", 0, limits=PATIENT._replace(body_s=0.1))
    async with server as http, aiohttp.ClientSession(f"http://127.0.0.1:{http.port}") as session:

        async def half() -> object:
            yield b"half"
            await eventually(lambda: False)

        with capture_logs() as lines:
            try:
                async with session.post("/csp-report", data=half()) as answer:
                    await answer.read()
            except aiohttp.ClientError:
                pass
            await eventually(lambda: not server._server.server_state.tasks)
    assert [line for line in lines if line["log_level"] not in ("debug", "info")] == []
