"""How every connection of ours logs in: by what the settings and their files say at that moment."""

import ssl
from collections import deque
from functools import wraps
from typing import Any, NamedTuple

import structlog
from aiokafka import client
from pydantic import SecretStr

from streamproc.credentials.pem import KeyPair, Pem, client_context
from streamproc.credentials.renewal import Renewed
from streamproc.runtime.aio.contacts import CERTIFICATES
from streamproc.runtime.aio.tokens import Provider
from streamproc.runtime.config import KafkaSettings

UNLOCK = "set STREAMPROC_KAFKA__SSL_PASSWORD (kafka.ssl_password) or …_FILE to its passphrase"

log = structlog.get_logger(__name__)
_create = client.create_conn


class LoginMaterial(NamedTuple):
    """What a log in is made of."""

    settings: KafkaSettings
    ca: Pem | None
    certificate: Pem | None
    key: Pem | None


class Login(NamedTuple):
    """What a connection needs, in aiokafka's terms."""

    tls: ssl.SSLContext | None
    username: str | None
    password: str | None


class Credentials(Renewed[LoginMaterial, Login]):
    """What aiokafka's clients have in place of a TLS context and a password: each connection asks it for both."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Raise ConfigError for what cannot be used."""
        files = (settings.ssl_cafile, settings.ssl_certfile, settings.ssl_keyfile, *settings.secret_files)
        super().__init__("kafka", lambda: _read(settings), _login, fixed=not any(files))
        if settings.security_protocol.endswith("SSL") and not settings.ssl_check_hostname:
            log.warning(
                "a broker's host is not checked",
                setting="STREAMPROC_KAFKA__SSL_CHECK_HOSTNAME",
                advice="any certificate of the same authority passes for the broker's: leave the setting out",
            )


_shared: deque[tuple[KafkaSettings, Credentials]] = deque(maxlen=16)


def credentials(settings: KafkaSettings) -> Credentials:
    """Return the credentials that all clients with these settings share; raises ConfigError for what cannot be used."""
    login = next((shared for known, shared in _shared if known == settings), None)
    if login is None:
        login = Credentials(settings)
        _shared.append((settings, login))
    return login


@wraps(_create)
async def create_conn(*place: Any, **options: Any) -> Any:
    """Connect, and log in by what the files say now; aiokafka's client has one TLS context and password for life."""
    login = options.get("ssl_context")
    if isinstance(login, Credentials):
        tls, username, password = await login.current()
        options |= {"ssl_context": tls, "sasl_plain_username": username, "sasl_plain_password": password}
    if isinstance(provider := options.get("sasl_oauth_token_provider"), Provider):
        options["sasl_oauth_token_provider"] = provider.for_connection()
    return await _create(*place, **options)


def _read(settings: KafkaSettings) -> LoginMaterial:
    fresh = settings.renewed()
    if not fresh.security_protocol.endswith("SSL"):
        return LoginMaterial(fresh, None, None, None)
    return LoginMaterial(
        fresh,
        _pem("ssl_cafile", fresh.ssl_cafile, "ssl_ca_pem", fresh.ssl_ca_pem),
        _pem("ssl_certfile", fresh.ssl_certfile, "ssl_certificate_pem", _text(fresh.ssl_certificate_pem)),
        _pem("ssl_keyfile", fresh.ssl_keyfile, "ssl_key_pem", _text(fresh.ssl_key_pem)),
    )


def _pem(file_setting: str, path: str | None, text_setting: str, text: str | None) -> Pem | None:
    if path:
        return Pem.of_file(f"kafka.{file_setting}", path)
    return Pem(f"kafka.{text_setting}", text.encode()) if text else None


def _text(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _login(source: LoginMaterial) -> Login:
    settings = source.settings
    return Login(_tls(source), settings.sasl_username, _text(settings.sasl_password))


def _tls(source: LoginMaterial) -> ssl.SSLContext | None:
    settings, identity = source.settings, None
    if not settings.security_protocol.endswith("SSL"):
        return None
    if source.certificate is not None:
        identity = KeyPair(source.certificate, source.key, _text(settings.ssl_password), UNLOCK)
    context = client_context(source.ca, identity)
    context.check_hostname = settings.ssl_check_hostname
    if source.certificate is not None:
        CERTIFICATES[context] = source.certificate.content
    return context
