"""How every client connects, starts and ends."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError

from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.aio.contacts import CONTACTS, trouble_at
from streamproc.runtime.aio.credentials import credentials
from streamproc.runtime.aio.patches import install
from streamproc.runtime.aio.tokens import Provider
from streamproc.runtime.config import KafkaSettings

CLOSE_TIMEOUT_S = 1.0
CLOSED = AIOKafkaAdminClient, AIOKafkaClient
"""Where stopping has another name."""
METADATA_MAX_AGE_MS = 10_000
UNANSWERED = KafkaConnectionError, NodeNotReadyError, TimeoutError, OSError


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Return the options with which every aiokafka client connects; raises ConfigError for what cannot be used."""
    install()
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": settings.request_timeout_ms,
        "metadata_max_age_ms": METADATA_MAX_AGE_MS,
    }
    if settings.security_protocol != "PLAINTEXT":
        # In place of both: each connection asks it, see `credentials.create_conn`.
        options["ssl_context"] = options["sasl_plain_password"] = credentials(settings)
    if settings.by_token:
        options["sasl_mechanism"] = "OAUTHBEARER"
        options["sasl_oauth_token_provider"] = Provider(settings)
    elif settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
    return options


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
        raise _unavailable(settings, error) from error


def _unavailable(settings: KafkaSettings, error: Exception) -> BrokerUnavailable:
    where = f"cannot connect to Kafka at {settings.bootstrap_servers}"
    is_silent = isinstance(error, UNANSWERED)
    trouble = (trouble_at(settings.bootstrap_servers) or CONTACTS.trouble()) if is_silent else None
    if trouble is not None:
        return BrokerUnavailable(f"{where}: {trouble.message}")
    return BrokerUnavailable(
        f"{where}: {'no broker answers' if is_silent else repr(error)}. Check that it is running, "
        "STREAMPROC_KAFKA__BOOTSTRAP_SERVERS and the security settings"
    )


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
