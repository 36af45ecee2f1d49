"""The image's health check: it asks where the settings let the process listen, and loads nothing of it."""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6
from threading import Thread

import pytest

from streamproc import healthcheck
from streamproc.settings.loading import load_settings
from streamproc.settings.service import PREFIX, SECRETS_DIR, Settings
from tests.support.certificates import Authority


class _Probe(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not on the test's output."""


class _Version6(ThreadingHTTPServer):
    address_family = AF_INET6


@contextmanager
def process(status: int = 200, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> Iterator:
    """What answers probes with that status, over TLS where there is a context."""
    with (_Version6 if ":" in host else ThreadingHTTPServer)((host, 0), _Probe) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.status, server.asked = status, []
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def checked(*arguments: object, **settings: object) -> tuple[int, str]:
    """Run it as the image does, and return exit code and what it said."""
    others = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    environment = others | {f"{PREFIX}{name}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "streamproc.healthcheck", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_process_that_lives_is_found_where_it_listens(host):
    with process() as server:
        assert checked(HTTP__HOST=host, HTTP__PORT=server.server_port) == (0, "")
    assert server.asked == ["/livez"]


@pytest.mark.parametrize("host", ["::1", "::"])
def test_also_by_ipv6(host):
    try:
        with process(host="::1") as server:
            assert checked(HTTP__HOST=host, HTTP__PORT=server.server_port) == (0, "")
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


def test_over_tls_by_a_certificate_that_nobody_here_knows(tmp_path):
    served = Authority(tmp_path).server()
    with process(context=served) as server:
        found = checked(HTTP__PORT=server.server_port, HTTP__TLS_CERT_FILE="/etc/tls/tls.crt")
    assert found == (0, "")


def test_one_that_answers_otherwise_does_not_live():
    with process(status=503) as server:
        assert checked(HTTP__PORT=server.server_port) == (1, "/livez answers 503\n")


def test_one_that_does_not_answer_does_not_live():
    with process() as server:
        port = server.server_port
    code, said = checked(HTTP__PORT=port)
    assert code == 1
    assert "refused" in said
    assert said.count("\n") == 1


def test_the_console_is_asked_below_its_path():
    with process() as server:
        assert checked("console", CONSOLE__PORT=server.server_port, CONSOLE__BASE_PATH="/runs") == (0, "")
    assert server.asked == ["/runs/livez"]


def test_the_environment_goes_over_the_file(tmp_path):
    config = tmp_path / "streamproc.toml"
    with process() as server:
        config.write_text(f"[http]\nport = {server.server_port}\n")
        assert checked("--config", config) == (0, "")
        config.write_text("[http]\nport = 1\n")
        assert checked("--config", config)[0] == 1
        assert checked("--config", config, HTTP__PORT=server.server_port) == (0, "")
        assert checked("--config", config, http__port=server.server_port) == (0, "")


def test_a_section_may_be_one_variable_of_json():
    """And a setting of its own goes over it."""
    with process() as server:
        assert checked(HTTP=json.dumps({"port": server.server_port})) == (0, "")
        assert checked(HTTP=json.dumps({"port": 1, "host": "localhost"}), HTTP__PORT=server.server_port) == (0, "")


def test_the_directory_of_secrets_counts(tmp_path):
    """Over the file, below the environment; in any case, as JSON or one by one; what else is there does not."""
    config, directory = tmp_path / "streamproc.toml", tmp_path / "secrets"
    config.write_text("[http]\nport = 1\n")
    (directory / "STREAMPROC_HTTP__DIRECTORY").mkdir(parents=True)
    (directory / "STREAMPROC_KAFKA__SASL_PASSWORD").write_bytes(b"\xff")
    with process() as server:
        (directory / "streamproc_http").write_text(json.dumps({"port": server.server_port}) + "\n")
        assert checked("--config", config, SECRETS_DIR=directory) == (0, "")
        assert checked(SECRETS_DIR=directory, HTTP__PORT=1)[0] == 1
        (directory / "STREAMPROC_HTTP__PORT").write_text("1\n")
        assert checked(SECRETS_DIR=directory)[0] == 1
        assert checked(SECRETS_DIR=directory, HTTP__PORT=server.server_port) == (0, "")


@pytest.mark.parametrize("name", ["HTTP__PORT", "HTTP"])
def test_it_reads_the_same_as_the_service(tmp_path, monkeypatch, name):
    """Rule: whoever changes how settings are read changes it here, too."""
    value = {"HTTP__PORT": "{}", "HTTP": '{{"port": {}}}'}[name]
    (tmp_path / "config.toml").write_text("[http]\nport = 4\nhost = '::1'\n")
    (tmp_path / f"{PREFIX}{name}").write_text(value.format(5))
    monkeypatch.setenv(healthcheck.SECRETS_DIR, str(tmp_path))
    for variables, port in (({}, 5), ({f"{PREFIX}{name}": value.format(6)}, 6)):
        for variable, told in variables.items():
            monkeypatch.setenv(variable, told)
        read = load_settings(tmp_path / "config.toml").http
        found = healthcheck.connection("http", healthcheck.section("http", tmp_path / "config.toml"))
        assert (read.host, read.port) == (found.host, found.port) == ("::1", port)


@pytest.mark.parametrize(
    "settings", [{"HTTP__PORT": 0}, {"HTTP__PORT": "many"}, {"HTTP": "[]"}, {"SECRETS_DIR": "/none"}]
)
def test_what_cannot_be_read_or_asked_is_said(settings):
    code, said = checked(**settings)
    assert code == 1
    assert said.startswith(("ValueError: ", "FileNotFoundError: "))
    assert said.count("\n") == 1


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    assert checked("--config", tmp_path / "none.toml")[0] == 1


@pytest.mark.parametrize("name", list(healthcheck.PORTS))
def test_it_knows_the_settings_as_the_process_has_them(name):
    section = getattr(Settings.model_fields[name].default, "__dict__", {})
    assert (healthcheck.PREFIX, healthcheck.SECRETS_DIR) == (PREFIX, SECRETS_DIR)
    assert section["port"] == healthcheck.PORTS[name]
    assert section["host"] == "127.0.0.1"


def test_it_loads_nothing_of_the_process():
    """Rule: it runs every few seconds, beside a process that needs its CPU."""
    program = "import sys, streamproc.healthcheck; print(*sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"aiokafka", "asyncio", "pydantic", "rich", "structlog", "typer", "uvloop"} & set(loaded)
