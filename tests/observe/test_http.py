"""The endpoints, over a real socket."""

import asyncio
import http.client
import json
import logging
import signal
import socket

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import ConfigError
from streamproc.observe.http import application
from streamproc.runtime.taskstates import TaskState
from streamproc.web.server import HttpServer
from tests.observe.reports import measured, report, source
from tests.support.watched import watched_health, watched_metrics


@pytest.fixture
def metrics():
    return watched_metrics(ASSISTANTS)


@pytest.fixture
def health():
    return watched_health()


@pytest.fixture
def app(metrics, health):
    return application(metrics, health)


async def ask(server, path, method="GET", **headers):
    """Return status, headers and body, as a client in another thread sees them."""

    def request():
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    return await asyncio.to_thread(request)


async def test_metrics_are_text_unless_openmetrics_is_asked_for(app, metrics):
    metrics.committed(report(records=3))
    async with HttpServer(app, "127.0.0.1", 0) as server:
        status, headers, body = await ask(server, "/metrics")
        assert (status, headers.get_content_type()) == (200, "text/plain")
        assert b"streamproc_events_consumed_total 3.0" in body
        _, headers, body = await ask(server, "/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert headers.get_content_type() == "application/openmetrics-text"
    assert "streamproc_events_consumed" in {family.name for family in parse_openmetrics(body.decode())}


async def test_the_probes_answer_200_or_503_with_the_reason(app, health):
    async with HttpServer(app, "127.0.0.1", 0) as server:
        before = {path: await ask(server, path) for path in ("/livez", "/readyz", "/startupz")}
        health.rebalanced(frozenset({source(), measured()}))
        for task in (source(), measured()):
            health.task_state(task, TaskState.RUNNING)
            health.caught_up(task)
        after = {path: await ask(server, path) for path in before}
    assert {path: answer[0] for path, answer in before.items()} == {"/livez": 200, "/readyz": 503, "/startupz": 503}
    assert {answer[0] for answer in after.values()} == {200}
    _, headers, body = before["/readyz"]
    assert headers.get_content_type() == "application/json"
    assert json.loads(body)["status"] == "starting"
    assert body.endswith(b"}\n"), "a terminal's prompt stands below it"


@pytest.mark.parametrize("path", ["/", "/metrics/", "/healthz", "/livez/x", "//metrics"])
async def test_other_paths_are_404_without_a_redirect(app, path):
    async with HttpServer(app, "127.0.0.1", 0) as server:
        assert (await ask(server, path))[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_other_methods_are_405_and_say_which_are_allowed(app, method):
    async with HttpServer(app, "127.0.0.1", 0) as server:
        status, headers, _ = await ask(server, "/metrics", method)
    assert status == 405
    assert "GET" in headers["allow"]


@pytest.mark.parametrize(("path", "expected"), [("/metrics", 200), ("/livez", 200), ("/readyz", 503)])
async def test_head_answers_without_a_body(app, path, expected):
    async with HttpServer(app, "127.0.0.1", 0) as server:
        status, headers, body = await ask(server, path, "HEAD")
    assert (status, body) == (expected, b"")
    assert int(headers["content-length"]) > 0


async def test_the_port_is_free_again_after_the_server(app):
    async with HttpServer(app, "127.0.0.1", 0) as first:
        assert first.port > 0
    async with HttpServer(app, "127.0.0.1", first.port) as second:
        assert (await ask(second, "/livez"))[0] == 200


async def test_a_port_in_use_says_which_setting_to_change_and_logs_nothing(app, caplog, capfd):
    async with HttpServer(app, "127.0.0.1", 0) as server:
        with pytest.raises(ConfigError) as refused:
            async with HttpServer(app, "127.0.0.1", server.port):
                pass
    assert str(refused.value).startswith(f"port {server.port} on 127.0.0.1 is in use: set STREAMPROC_HTTP__PORT")
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_that_is_not_ours_says_which_setting_to_change(app, host):
    with pytest.raises(ConfigError, match="set STREAMPROC_HTTP__HOST"):
        async with HttpServer(app, host, 0):
            pass


async def test_a_name_and_every_address_can_be_served(app):
    for host, client in (("localhost", "localhost"), ("0.0.0.0", "127.0.0.1")):
        async with HttpServer(app, host, 0) as server:
            server.host = client
            assert (await ask(server, "/livez"))[0] == 200


async def test_signals_stay_the_services_own(app):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with HttpServer(app, "127.0.0.1", 0):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_requests_are_not_logged(app, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    async with HttpServer(app, "127.0.0.1", 0) as server:
        await ask(server, "/livez")
    assert "livez" not in caplog.text
    assert capfd.readouterr() == ("", "")


async def test_a_stop_waits_for_no_idle_or_half_sent_request(app, monkeypatch):
    monkeypatch.setattr("streamproc.web.server.GRACE_S", 3_600)
    monkeypatch.setattr("streamproc.web.server.STOP_S", 60.0)
    async with HttpServer(app, "127.0.0.1", 0) as server:
        with (
            socket.create_connection((server.host, server.port)) as idle,
            socket.create_connection((server.host, server.port)) as half,
        ):
            half.sendall(b"GET /livez HTTP/1.1\r\nHost:")
            idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.1)
            await server.__aexit__(None, None, None)
            assert server._serving.done()
            assert not server._serving.cancelled()


async def test_a_stop_is_bounded_though_a_client_never_reads(monkeypatch):
    monkeypatch.setattr("streamproc.web.server.GRACE_S", 0.1)
    monkeypatch.setattr("streamproc.web.server.STOP_S", 60.0)

    async def endless(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})

    async with HttpServer(endless, "127.0.0.1", 0) as server:
        with socket.create_connection((server.host, server.port)) as deaf:
            deaf.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.sleep(0.1)
            await server.__aexit__(None, None, None)
            assert server._serving.done()
            assert not server._serving.cancelled()


async def test_several_scrapes_at_a_time_are_all_answered(app, metrics):
    metrics.committed(report(records=3))
    async with HttpServer(app, "127.0.0.1", 0) as server:
        answers = await asyncio.gather(*(ask(server, "/metrics") for _ in range(10)))
    assert {status for status, *_ in answers} == {200}
    assert all(b"streamproc_events_consumed_total 3.0" in body for *_, body in answers)
