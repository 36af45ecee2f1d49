"""One POST: what counts as taken, refused, to be sent again; and what never happens on the way."""

import asyncio
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from email.utils import formatdate

import pytest
from aiohttp import web

from streamproc.errors import ConfigError
from streamproc.local.kafka import free_port
from streamproc.notify.http import Poster, PostResult
from streamproc.notify.observer import DeliveryResult
from streamproc.web.config import EndpointSettings
from tests.support.receiver import Got, Receiver, never, receiver, status
from tests.support.waiting import DEADLINE_S, eventually

BODY = b'{"a": 1}'


@pytest.fixture
async def server() -> AsyncIterator[Receiver]:
    async with receiver() as it:
        yield it


async def post(url: str, headers: dict[str, str] | None = None, **settings: object) -> PostResult:
    async with Poster(EndpointSettings(**{"timeout_s": 60.0, **settings})) as client:
        return await client.post(url, BODY, headers)


async def test_a_body_arrives_as_it_is(server: Receiver) -> None:
    assert (await post(server.url + "/path?q=1", {"x-one": "1"})).result is DeliveryResult.DELIVERED
    (got,) = server.got
    assert (got.path, got.body, got.headers["x-one"]) == ("/path", BODY, "1")
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["User-Agent"].startswith("streamproc/")
    assert "Authorization" not in got.headers


@pytest.mark.parametrize(
    ("code", "result"),
    [(200, "delivered"), (204, "delivered"), (404, "refused"), (401, "refused"), (400, "refused")]
    + [(code, "failed") for code in (408, 425, 429, 500, 503)],
)
async def test_a_status_says_what_became_of_it(server: Receiver, code: int, result: str) -> None:
    server.behave = status(code)
    assert await post(server.url) == PostResult(DeliveryResult(result), f"HTTP status {code}", code)


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(server: Receiver, code: int) -> None:
    """It would take the alerts, and what logs us in, to somebody else."""
    server.behave = status(code, location=f"{server.url}/elsewhere")
    assert (await post(server.url, bearer_token="secret-token")).result is DeliveryResult.REFUSED
    assert len(server.got) == 1


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        *((said, None) for said in ("-1", "1e9", "9999999", "²", "", "Wed, 41 Oct 2026 07:28:00 GMT", "Wed " * 20)),
    ],
)
async def test_retry_after_is_read_where_it_is_one(server: Receiver, said: str, seconds: float | None) -> None:
    server.behave = status(429, retry_after=said)
    assert (await post(server.url)).retry_after_s == seconds


async def test_a_date_of_retry_after_is_a_time_from_now(server: Receiver) -> None:
    """RFC 9110: a number of seconds, or an HTTP date."""
    server.behave = status(503, retry_after=formatdate(time.time() + 30, usegmt=True))
    assert 25 < (await post(server.url)).retry_after_s <= 30


async def test_silence_has_an_end(server: Receiver) -> None:
    server.behave = never
    assert await post(server.url, timeout_s=0.1) == PostResult(DeliveryResult.FAILED, "no answer within 0.1 s")


async def test_an_answer_that_does_not_end_holds_up_nothing(server: Receiver) -> None:
    """Its status has come, that is all that is wanted."""

    async def drip(_: Got) -> web.StreamResponse:
        return web.Response(body=_endless())

    async def is_delivered() -> bool:
        # The same time-out is for the connection and the status, which a busy machine may be late with.
        return (await post(server.url, timeout_s=1.0)).result is DeliveryResult.DELIVERED

    server.behave = drip
    async with asyncio.timeout(DEADLINE_S):
        await eventually(is_delivered)


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x"
        await asyncio.sleep(0.05)


async def test_nobody_there_is_named_without_the_url() -> None:
    outcome = await post(f"http://127.0.0.1:{free_port()}/hunter2")
    assert (outcome.result, outcome.status) == (DeliveryResult.FAILED, None)
    assert outcome.why == "ClientConnectorError: Connection refused"


async def test_an_answer_that_is_no_http_is_a_failure() -> None:
    async def rude(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"go away\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(rude, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        assert (await post(f"http://127.0.0.1:{port}")).result is DeliveryResult.FAILED


@pytest.mark.parametrize("url", ["http://a..b/", "http://" + "a" * 70 + ".example/"])
async def test_a_host_that_cannot_be_is_no_crash(url: str) -> None:
    assert (await post(url)).result in (DeliveryResult.FAILED, DeliveryResult.REFUSED)


async def test_both_ways_to_log_in(server: Receiver) -> None:
    await post(server.url, bearer_token="secret-token")
    await post(server.url, username="ü", password="pässword")
    token, basic = (got.headers["Authorization"] for got in server.got)
    assert token == "Bearer secret-token"
    assert b64decode(basic.removeprefix("Basic ")).decode() == "ü:pässword"


async def test_cookies_are_not_kept(server: Receiver) -> None:
    server.behave = status(200, set_cookie="a=b")
    url = server.url.replace("127.0.0.1", "localhost")  # Of an address no library keeps any.
    async with Poster(EndpointSettings()) as client:
        await client.post(url, BODY)
        await client.post(url, BODY)
    assert "Cookie" not in server.got[1].headers


async def test_certificates_that_cannot_be_read_are_named() -> None:
    with pytest.raises(ConfigError, match=r"^ca_file .*/nowhere\.pem.*: there is no such file$"):
        Poster(EndpointSettings(ca_file="/nowhere.pem"))
    with pytest.raises(ConfigError, match="ca_file"):
        Poster(EndpointSettings(ca_file=__file__))
