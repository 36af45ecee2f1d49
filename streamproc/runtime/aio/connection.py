"""How every client connects, starts and ends."""

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.aio.patches import install
from streamproc.runtime.aio.tokens import NoToken, Provider
from streamproc.runtime.config import KafkaSettings

CLOSE_TIMEOUT_S = 1.0
CLOSED = AIOKafkaAdminClient, AIOKafkaClient
"""Where stopping has another name."""
METADATA_MAX_AGE_MS = 10_000
REFUSAL_MS = 3_000
"""For one broker to say why it takes no connection."""


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Return the options with which every aiokafka client connects."""
    install()
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": settings.request_timeout_ms,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
    }
    if settings.by_token:
        options["sasl_mechanism"] = "OAUTHBEARER"
        options["sasl_oauth_token_provider"] = Provider(settings)
    elif settings.security_protocol.startswith("SASL"):
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
            await (client.bootstrap() if isinstance(client, AIOKafkaClient) else client.start())
    except BaseException as error:
        with contextlib.suppress(Exception):
            await stopped(client)
        if isinstance(error, ValueError | OverflowError):  # UnicodeError is a ValueError.
            servers = settings.bootstrap_servers
            raise ConfigError(
                f"STREAMPROC_KAFKA__BOOTSTRAP_SERVERS={servers} is no list of host:port, or the log in fails: {error}"
            ) from error
        if not isinstance(error, KafkaError | TimeoutError | OSError):
            raise
        silent = isinstance(error, KafkaConnectionError | TimeoutError | OSError)
        why = await _refusal(settings) or "no broker answers" if silent else repr(error)
        message = (
            f"cannot connect to Kafka at {settings.bootstrap_servers}: {why}. Check that it is running, "
            "STREAMPROC_KAFKA__BOOTSTRAP_SERVERS and the security settings"
        )
        raise BrokerUnavailable(message) from error


async def _refusal(settings: KafkaSettings) -> str | None:
    """Return what a broker says of the log in, or TLS of its certificate; aiokafka keeps it to itself, so ask again."""
    options = connection(settings)
    for host, port, _ in collect_hosts(options.pop("bootstrap_servers")):
        options.pop("metadata_max_age_ms", None)
        try:
            there = await create_conn(host, port, **{**options, "request_timeout_ms": REFUSAL_MS})
        except ssl.SSLError as error:
            return f"TLS fails: {error}"
        except NoToken as error:
            return f"there is no token to log in with: {error.args[0]}"
        except (SaslAuthenticationFailed, UnsupportedSaslMechanismError) as error:
            return f"the log in is refused: {error}"
        except (KafkaError, OSError, TimeoutError):
            continue
        there.close()
    return None


async def stopped(client: Any) -> None:
    """Stop a client in a bounded time, and raise nothing: the client is done with, whatever becomes of it.

    While the broker is away, aiokafka's own stopping hangs (aiokafka#1101) or raises CancelledError though nobody was
    cancelled, and either way leaves the sender and the connections to themselves, for good.
    """
    ended = False
    try:
        ended = await _ended(client.close() if isinstance(client, CLOSED) else client.stop())
    finally:
        if not ended:
            _drop_sender(client)
    if not ended and not isinstance(client, AIOKafkaClient):
        await _ended((client.client if isinstance(client, AIOKafkaProducer) else client._client).close())  # noqa: SLF001


def _drop_sender(client: Any) -> None:
    sender = getattr(client, "_sender", None)
    if sender is not None and sender.sender_task is not None:
        # At the first time it waits for its requests, which are repeated without end; at the second it drops them.
        sender.sender_task.cancel()
        asyncio.get_running_loop().call_soon(sender.sender_task.cancel)


async def _ended(stopping: Coroutine[Any, Any, None]) -> bool:
    """Tell whether it came to a good end, in time."""
    task = asyncio.create_task(stopping)
    try:
        await asyncio.wait({task}, timeout=CLOSE_TIMEOUT_S)
    finally:
        task.cancel()
    return task.done() and not task.cancelled() and task.exception() is None
