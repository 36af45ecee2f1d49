"""Scrapes at the same time share a rendering; a token is for /metrics alone; TLS follows its files."""

import asyncio
import gc
import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from prometheus_client.core import CounterMetricFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from pydantic import SecretStr, ValidationError

from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import ConfigError
from streamproc.observe.exposition import FORMATS, MAX_LINES, encoded, format_for
from streamproc.observe.health import Health
from streamproc.observe.http import application
from streamproc.observe.metrics import MetricsObserver
from streamproc.observe.scrapes import Scrapes
from streamproc.web.certificate import Certificate, certificate
from streamproc.web.config import HttpSettings
from streamproc.web.limits import Limits
from streamproc.web.server import HttpServer
from tests.support.certificates import Authority
from tests.support.waiting import eventually

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
    metrics, asked, rendered = MetricsObserver(ASSISTANTS), [], []
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
    async with HttpServer(application(metrics, Health()), "127.0.0.1", 0) as server:
        answers = await asyncio.gather(*(get(server, "/metrics") for _ in range(200)))
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 200"}
    assert len(rendered) <= 2


@pytest.fixture
def app():
    return application(MetricsObserver(ASSISTANTS), Health(), SecretStr("s3cret"))


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


# TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    def run(main: Callable[[], object]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(main())

    return run


def shown_by(server: HttpServer, ca_file: str) -> str:
    """Return whose certificate a server shows, to a client that names none: an IP address cannot be named."""
    context = ssl.create_default_context(cafile=ca_file)
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        subject = connection.getpeercert()["subject"]
    return dict(part[0] for part in subject)["commonName"]


def test_a_renewed_certificate_is_shown_without_a_restart(run, app, authority) -> None:
    """Rule: what cannot be read, such as half of a pair, leaves the former in use."""
    first, second = authority.issue("first"), authority.issue("second")
    pair = HttpSettings(tls_cert_file=first.cert_file, tls_key_file=first.key_file)

    async def main() -> None:
        async with HttpServer(app, "127.0.0.1", 0, certificate=certificate(pair)) as server:
            seen = [await asyncio.to_thread(shown_by, server, authority.ca_file)]
            for new, old in ((second.cert_file, first.cert_file), (second.key_file, first.key_file)):
                shutil.copy(new, old)
                seen.append(await asyncio.to_thread(shown_by, server, authority.ca_file))
            Path(first.key_file).unlink()
            seen.append(await asyncio.to_thread(shown_by, server, authority.ca_file))
            assert seen == ["first", "first", "second", "second"]
            assert server.scheme == "https"

    run(main)


def test_probes_are_answered_by_tls_beside_120_that_say_nothing(run, app, authority) -> None:
    ours = authority.issue("ours")
    client = ssl.create_default_context(cafile=authority.ca_file)

    async def main() -> None:
        shown, limits = Certificate(ours.cert_file, ours.key_file), Limits(head_s=1)
        async with HttpServer(app, "127.0.0.1", 0, certificate=shown, limits=limits) as server:
            silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(120)]
            assert (await get(server, "/livez", client)).startswith(b"HTTP/1.1 200")
            for reader, writer in silent:
                assert await reader.read() == b"", "a handshake has its time, too"
                writer.transport.abort()

    run(main)
    gc.collect()


def test_a_certificate_that_cannot_be_read_names_its_settings(authority) -> None:
    ours, other = authority.issue("ours"), authority.issue("other")
    for cert_file, key_file, why in (
        ("/nowhere.pem", None, "No such file"),
        (ours.cert_file, other.key_file, "SSLError"),
        (ours.cert_file, ours.locked_key, "SSLError"),
    ):
        with pytest.raises(ConfigError, match=rf"{why}.*STREAMPROC_HTTP__TLS_CERT_FILE"):
            Certificate(cert_file, key_file)
