"""TLS of a server: it follows its files, and keeps the limits of a server without."""

import asyncio
import os
import shutil
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from structlog.testing import capture_logs

from streamproc.errors import ConfigError
from streamproc.web.certificate import Certificate, certificate
from streamproc.web.config import HttpSettings
from streamproc.web.limits import InPieces, ServerLimits
from streamproc.web.server import HttpServer
from tests.support.certificates import Authority
from tests.support.waiting import eventually


async def app(scope, receive, send) -> None:
    await InPieces(b"here")(scope, receive, send)


async def get(server: HttpServer, tls: ssl.SSLContext) -> bytes:
    """Return an answer, whole."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=tls)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    try:
        return await reader.read()
    finally:
        writer.transport.abort()


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


def test_a_renewed_certificate_is_shown_without_a_restart(run, authority) -> None:
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


def test_probes_are_answered_by_tls_beside_120_that_say_nothing(run, authority) -> None:
    ours = authority.issue("ours")
    client = ssl.create_default_context(cafile=authority.ca_file)

    async def main() -> None:
        shown, limits = Certificate(ours.cert_file, ours.key_file), ServerLimits(head_s=5)
        async with HttpServer(app, "127.0.0.1", 0, certificate=shown, limits=limits) as server:
            silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(120)]
            assert (await get(server, client)).startswith(b"HTTP/1.1 200")
            for reader, writer in silent:
                assert await reader.read() == b"", "a handshake has its time, too"
                writer.transport.abort()

    run(main)


def test_a_large_answer_by_tls_is_whole(run, authority) -> None:
    ours = authority.issue("ours")
    client = ssl.create_default_context(cafile=authority.ca_file)

    async def large(scope, receive, send) -> None:
        await InPieces(b"x" * 3_000_000)(scope, receive, send)

    async def main() -> None:
        shown, limits = Certificate(ours.cert_file, ours.key_file), ServerLimits(unsent_s=3_600)
        async with HttpServer(large, "127.0.0.1", 0, certificate=shown, limits=limits) as server:
            answer = await get(server, client)
            assert len(answer.partition(b"\r\n\r\n")[2]) == 3_000_000

    run(main)


def test_an_answer_by_tls_that_nobody_takes_ends_the_connection(run, authority) -> None:
    ours = authority.issue("ours")
    client = ssl.create_default_context(cafile=authority.ca_file)

    ended = []

    async def large(scope, receive, send) -> None:
        await InPieces(b"x" * 30_000_000)(scope, receive, send)
        ended.append(True)

    async def main() -> None:
        shown, limits = Certificate(ours.cert_file, ours.key_file), ServerLimits(unsent_s=0.1)
        async with HttpServer(large, "127.0.0.1", 0, certificate=shown, limits=limits) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=client)
            writer.transport.pause_reading()
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await eventually(lambda: bool(ended))
            assert not server._server.server_state.connections
            writer.transport.abort()

    run(main)


def test_a_certificate_that_cannot_be_used_names_its_setting_and_its_file(authority, tmp_path) -> None:
    """Also a pipe, which is not waited for."""
    ours, other = authority.issue("ours"), authority.issue("other")
    os.mkfifo(tmp_path / "pipe")
    for cert_file, key_file, why in (
        ("/nowhere.pem", None, r"^STREAMPROC_HTTP__TLS_CERT_FILE \(/nowhere.pem\): there is no such file$"),
        (
            ours.cert_file,
            str(tmp_path / "pipe"),
            r"^STREAMPROC_HTTP__TLS_KEY_FILE \(.*pipe\): that is no regular file$",
        ),
        (ours.cert_file, None, r"^STREAMPROC_HTTP__TLS_CERT_FILE \(.*\) holds no private key in PEM"),
        (ours.cert_file, other.key_file, r"^the key in STREAMPROC_HTTP__TLS_KEY_FILE \(.*\) does not fit the certif"),
        (ours.cert_file, ours.locked_key, r"^the key in .*TLS_KEY_FILE \(.*\) is encrypted: give an unencrypted one$"),
    ):
        with pytest.raises(ConfigError, match=why):
            Certificate(cert_file, key_file)


def test_what_cannot_be_used_any_more_is_said_once(authority) -> None:
    """However many handshakes there are."""
    ours = authority.issue("ours")

    async def main() -> None:
        shown = Certificate(ours.cert_file, ours.key_file)
        async with HttpServer(app, "127.0.0.1", 0, certificate=shown) as server:
            Path(ours.key_file).unlink()
            with capture_logs() as lines:
                for _ in range(3):
                    assert await asyncio.to_thread(shown_by, server, authority.ca_file) == "ours"
            [line] = [line for line in lines if line["log_level"] == "warning"]
            assert line["why"] == f"STREAMPROC_HTTP__TLS_KEY_FILE ({ours.key_file}): there is no such file"

    asyncio.run(main())
