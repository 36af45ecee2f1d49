"""How every client connects, starts and ends."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.config import KafkaSettings

CLOSE_TIMEOUT_S = 1.0
METADATA_MAX_AGE_MS = 10_000


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Return the options with which every aiokafka client connects."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": settings.request_timeout_ms,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
    }
    if settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = settings.sasl_password and settings.sasl_password.get_secret_value()
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = _tls(settings)
    return options


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
        if settings.ssl_certfile is not None:
            password = None if settings.ssl_password is None else settings.ssl_password.get_secret_value()
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, password)
    except OSError as error:
        message = (
            f"the TLS files of the kafka settings cannot be used ({error}): check ssl_cafile, ssl_certfile, ssl_keyfile"
        )
        raise ConfigError(message) from error
    return context


async def started(client: Any, settings: KafkaSettings) -> None:
    """Start a client; raises BrokerUnavailable with what to check."""
    try:
        async with asyncio.timeout(settings.request_timeout_ms / 1000):
            await client.start()
    except BaseException as error:
        with contextlib.suppress(Exception):
            await bounded(client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
        if not isinstance(error, KafkaError | TimeoutError | OSError):
            raise
        why = "no broker answers" if isinstance(error, KafkaConnectionError | TimeoutError | OSError) else repr(error)
        message = (
            f"cannot connect to Kafka at {settings.bootstrap_servers}: {why}. Check that it is running, "
            "STREAMPROC_KAFKA__BOOTSTRAP_SERVERS and the security settings"
        )
        raise BrokerUnavailable(message) from error


async def bounded(closing: Awaitable[Any]) -> None:
    """Close a client in a bounded time: aiokafka's own closing hangs while the broker is away (aiokafka#1101)."""
    with contextlib.suppress(TimeoutError, KafkaError, AssertionError):
        await asyncio.wait_for(closing, CLOSE_TIMEOUT_S)
