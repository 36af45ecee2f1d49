"""Every connection of every client logs in by what the files say at that moment."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka import client
from structlog.testing import capture_logs

from streamproc.errors import ConfigError
from streamproc.runtime.aio import credentials as module
from streamproc.runtime.aio.connection import connection
from streamproc.runtime.aio.credentials import credentials
from streamproc.runtime.config import KafkaSettings
from tests.support.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What aiokafka would open a connection with, each time."""
    found: list[dict[str, Any]] = []

    async def create(*_: Any, **given: Any) -> None:
        found.append(given)

    monkeypatch.setattr(module, "_create", create)
    return found


def login(directory: Path, **settings: Any) -> KafkaSettings:
    """Return settings with a password in a file."""
    return KafkaSettings(
        security_protocol="SASL_PLAINTEXT",
        sasl_username="worker",
        sasl_password_file=directory / "password",
        **settings,
    )


def options(settings: KafkaSettings) -> dict[str, Any]:
    """Return what one connection is opened with."""
    found = connection(settings)
    del found["bootstrap_servers"], found["metadata_max_age_ms"]
    return found


async def test_each_connection_has_the_password_of_its_time(tmp_path: Path, opened: list[dict[str, Any]]) -> None:
    """Clients live on, with the options that they were given once."""
    password = tmp_path / "password"
    password.write_text("first\n")
    given = options(login(tmp_path))
    await client.create_conn("here", 9092, **given)
    password.write_text("second\n")
    await client.create_conn("here", 9092, **given)
    password.unlink()
    await client.create_conn("here", 9092, **given)
    said = [(each["sasl_plain_username"], each["sasl_plain_password"], each["ssl_context"]) for each in opened]
    assert said == [("worker", "first", None), ("worker", "second", None), ("worker", "second", None)]


async def test_a_connection_has_a_new_context_where_a_file_has_changed(
    tmp_path: Path, authority: Authority, opened: list[dict[str, Any]]
) -> None:
    """And the one that is there where none has: TLS sessions are resumed."""
    ours = authority.issue("client")
    given = options(
        KafkaSettings(
            security_protocol="SSL",
            ssl_cafile=authority.ca_file,
            ssl_certfile=ours.cert_file,
            ssl_keyfile=ours.key_file,
        )
    )
    for change in (None, None, "client", None):
        if change is not None:
            authority.issue(change)
        await client.create_conn("here", 9093, **given)
    first, second, third, fourth = (each["ssl_context"] for each in opened)
    assert isinstance(first, ssl.SSLContext)
    assert first is second is not third is fourth
    Path(ours.key_file).write_text("half-wri")
    with capture_logs() as lines:
        for _ in range(3):
            await client.create_conn("here", 9093, **given)
    assert opened[-1]["ssl_context"] is fourth
    [line] = lines
    assert line["why"].startswith(f"kafka.ssl_keyfile ({ours.key_file}) holds no private key")


async def test_what_is_written_in_the_settings_needs_no_file(
    authority: Authority, opened: list[dict[str, Any]]
) -> None:
    ours = authority.issue("client")
    texts = [Path(name).read_text() for name in (authority.ca_file, ours.cert_file, ours.locked_key)]
    names = ("ssl_ca_pem", "ssl_certificate_pem", "ssl_key_pem")
    settings = KafkaSettings(security_protocol="SSL", ssl_password="passphrase", **dict(zip(names, texts, strict=True)))
    await client.create_conn("here", 9093, **options(settings))
    assert opened[0]["ssl_context"].get_ca_certs()
    assert texts[2] not in repr(settings)


def test_all_clients_with_the_same_settings_share_what_was_read(tmp_path: Path) -> None:
    """So that what is wrong is said once, and not by each of them."""
    (tmp_path / "password").write_text("first")
    assert credentials(login(tmp_path)) is credentials(login(tmp_path))
    assert credentials(login(tmp_path)) is not credentials(login(tmp_path, session_timeout_ms=5_000))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ssl_cafile": "/nowhere.pem"}, r"^kafka\.ssl_cafile \(/nowhere\.pem\): there is no such file$"),
        ({"ssl_cafile": __file__}, r"^kafka\.ssl_cafile \(.*\) holds no certificate in PEM"),
        ({"ssl_ca_pem": "ca"}, r"^kafka\.ssl_ca_pem holds no certificate in PEM"),
        ({"ssl_certfile": "{cert_file}"}, r"^kafka\.ssl_certfile \(.*client\.pem\) holds no private key in PEM"),
        (
            {"ssl_certfile": "{cert_file}", "ssl_keyfile": "{locked_key}"},
            r"^the key in kafka\.ssl_keyfile \(.*\) is encrypted: set STREAMPROC_KAFKA__SSL_PASSWORD",
        ),
        (
            {"ssl_certfile": "{cert_file}", "ssl_keyfile": "{locked_key}", "ssl_password": "guessed"},
            r"^the passphrase does not open the key in kafka\.ssl_keyfile .*STREAMPROC_KAFKA__SSL_PASSWORD",
        ),
    ],
)
def test_what_cannot_be_used_at_the_start_is_named(authority: Authority, settings: dict[str, str], words: str) -> None:
    ours = authority.issue("client")
    named = {name: text.format(**vars(ours)) for name, text in settings.items()}
    with pytest.raises(ConfigError, match=words) as caught:
        connection(KafkaSettings(security_protocol="SSL", **named))
    assert "guessed" not in str(caught.value)


def test_a_host_is_not_checked_only_where_that_is_asked_for_and_then_it_is_said(authority: Authority) -> None:
    """Its certificate must be one of the authority's all the same."""
    settings = {"security_protocol": "SSL", "ssl_cafile": authority.ca_file}
    with capture_logs() as lines:
        checked, unchecked = (credentials(KafkaSettings(**settings, ssl_check_hostname=each)) for each in (True, False))
        credentials(KafkaSettings(**settings, ssl_check_hostname=False))
    assert checked._made.tls.check_hostname
    assert not unchecked._made.tls.check_hostname
    assert unchecked._made.tls.verify_mode is ssl.CERT_REQUIRED
    [line] = lines
    assert (line["log_level"], line["setting"]) == ("warning", "STREAMPROC_KAFKA__SSL_CHECK_HOSTNAME")
