"""Scrapes at the same time share a rendering, and a token is for /metrics alone."""

import asyncio
import ssl

import pytest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from pydantic import ValidationError

from streamproc.core.profiles import ASSISTANTS
from streamproc.observe.exposition import FORMATS, MAX_LINES, encoded, format_for
from streamproc.observe.http import application, metrics_token
from streamproc.observe.scrapes import Scrapes
from streamproc.web.config import HttpSettings
from streamproc.web.server import HttpServer
from tests.support.waiting import eventually
from tests.support.watched import watched_health, watched_metrics

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Counted:
    """Families that are counted by how often somebody asked for them; `go_on` unset, nobody gets any."""

    def __init__(self) -> None:
        self.times = 0
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def families(self) -> list[CounterMetricFamily]:
        self.times += 1
        family = CounterMetricFamily("asked", "How often.", value=self.times)
        await self.go_on.wait()
        return [family]


async def test_who_waits_at_the_same_time_shares_one_rendering() -> None:
    counted = Counted()
    scrapes = Scrapes(counted.families)
    answers = await asyncio.gather(*(scrapes.exposition("") for _ in range(200)))
    assert counted.times == 1
    assert len(set(answers)) == 1


async def test_who_comes_while_one_is_rendered_gets_the_next() -> None:
    """Rule: what a scrape reads is never from before it was asked for."""
    counted = Counted()
    counted.go_on.clear()
    scrapes = Scrapes(counted.families, rest=0)
    first = asyncio.create_task(scrapes.exposition(""))
    await eventually(lambda: counted.times == 1)
    later = [asyncio.create_task(scrapes.exposition(accept)) for accept in ("", OPENMETRICS, "") for _ in range(20)]
    await asyncio.sleep(0)
    counted.go_on.set()
    assert b"asked_total 1.0" in (await first)[0]
    assert all(b"asked_total 2.0" in body for body, _ in await asyncio.gather(*later))
    assert counted.times == 2, "of both formats"


async def test_one_who_leaves_takes_nobodys_rendering_along() -> None:
    counted = Counted()
    counted.go_on.clear()
    scrapes = Scrapes(counted.families)
    first, second = (asyncio.create_task(scrapes.exposition("")) for _ in range(2))
    await eventually(lambda: counted.times == 1)
    first.cancel()
    counted.go_on.set()
    assert b"asked_total 1.0" in (await second)[0]


async def test_a_rendering_that_fails_fails_for_those_who_asked_only() -> None:
    counted, broken = Counted(), [True]

    async def families() -> list[CounterMetricFamily]:
        if broken.pop() if broken else False:
            raise ValueError("no families")
        return await counted.families()

    scrapes = Scrapes(families, rest=0)
    failed = await asyncio.gather(scrapes.exposition(""), scrapes.exposition(OPENMETRICS), return_exceptions=True)
    assert [type(error) for error in failed] == [ValueError, ValueError]
    assert b"asked_total 1.0" in (await scrapes.exposition(""))[0]


def test_clients_cannot_make_up_formats() -> None:
    """Rule: a scrape with an Accept header that nobody else sends must not cost a rendering of its own."""
    made_up = {format_for(f"{OPENMETRICS[:-5]}1.0.{number}") for number in range(1_000)}
    assert len(made_up) == 1
    assert made_up <= set(FORMATS)


@pytest.mark.parametrize(("accept", "parse"), [("", parse_text), (OPENMETRICS, parse_openmetrics)])
@pytest.mark.parametrize("lines", [0, 1, MAX_LINES, MAX_LINES + 1, 3 * MAX_LINES + 7])
async def test_what_is_written_in_pieces_reads_like_what_was_not(accept, parse, lines) -> None:
    families = [CounterMetricFamily(name, "Many.", labels=["n"]) for name in ("first", "second")]
    for family in families:
        for number in range(lines):
            family.add_metric([str(number)], number)
    text = (await encoded(families, format_for(accept))).decode()
    assert [len(family.samples) for family in parse(text)] == [lines, lines]
    assert text.count("# TYPE") == 2
    assert text.endswith("# EOF\n") == (accept == OPENMETRICS)


async def get(server: HttpServer, path: str, tls: ssl.SSLContext | None = None, authorization: str = "") -> bytes:
    """Return an answer, whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls)
    said = f"Authorization: {authorization}\r\n" if authorization else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{said}\r\n".encode())
    try:
        return await reader.read()
    finally:
        writer.transport.abort()


async def test_200_scrapes_at_once_are_all_answered_by_a_few_renderings(monkeypatch) -> None:
    metrics, asked, rendered = watched_metrics(ASSISTANTS), [], []
    census, exposition = metrics._tasks.census, metrics.exposition

    async def slow_census():
        rendered.append(1)
        await eventually(lambda: len(asked) == 200)
        return await census()

    async def counted(accept):
        asked.append(accept)
        return await exposition(accept)

    monkeypatch.setattr(metrics._tasks, "census", slow_census)
    monkeypatch.setattr(metrics, "exposition", counted)
    async with HttpServer(application(metrics, watched_health()), "127.0.0.1", 0) as server:
        answers = await asyncio.gather(*(get(server, "/metrics") for _ in range(200)))
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 200"}
    assert len(rendered) <= 2


@pytest.fixture
def app():
    return application(
        watched_metrics(ASSISTANTS), watched_health(), metrics_token(HttpSettings(metrics_token="s3cret"))
    )


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer wrong", "Bearer s3cre", "s3cret", "Basic s3cret", "Bearer \xfc"]
)
async def test_without_its_token_there_are_no_metrics(app, shown) -> None:
    async with HttpServer(app, "127.0.0.1", 0) as server:
        answer = await get(server, "/metrics", authorization=shown)
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"www-authenticate: Bearer" in answer
    assert b"streamproc_" not in answer


async def test_with_its_token_there_are_metrics_and_probes_need_none(app) -> None:
    async with HttpServer(app, "127.0.0.1", 0) as server:
        for shown in ("Bearer s3cret", "bearer s3cret"):
            assert (await get(server, "/metrics", authorization=shown)).startswith(b"HTTP/1.1 200")
        assert (await get(server, "/livez")).startswith(b"HTTP/1.1 200")
        assert (await get(server, "/readyz")).startswith(b"HTTP/1.1 503")


def test_a_token_is_not_shown_and_a_key_needs_its_certificate() -> None:
    assert "s3cret" not in repr(HttpSettings(metrics_token="s3cret"))
    with pytest.raises(ValidationError, match="line break"):
        HttpSettings(metrics_token="s3cret\n")
    with pytest.raises(ValidationError, match="give tls_cert_file"):
        HttpSettings(tls_key_file="server.key")
