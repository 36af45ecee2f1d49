"""The broker for the demo: its own, or the one that the settings name."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from secrets import token_hex

from streamproc.awaiting import set_within
from streamproc.errors import BrokerUnavailable
from streamproc.interrupts import stop_on_signal, unless_stopped
from streamproc.local.kafka import LocalKafka
from streamproc.settings.service import Settings

WATCH_S = 0.5


def is_given(settings: Settings) -> bool:
    """Tell whether the settings name a broker, rather than leave it at the default."""
    return "bootstrap_servers" in settings.kafka.model_fields_set


def announcement(settings: Settings) -> str:
    """Describe which broker will be used, and what will be left on it: others may use it, too."""
    if not is_given(settings):
        return "Uses a Kafka of its own, which ends with the demo."
    named = f"Uses the Kafka at {settings.kafka.bootstrap_servers} (STREAMPROC_KAFKA__BOOTSTRAP_SERVERS)"
    return f"{named}: creates topics {settings.topics.prefix}demo-….run-* there, which stay."


@asynccontextmanager
async def any_broker(
    settings: Settings, stop: asyncio.Event, on_progress: Callable[[str], None]
) -> AsyncIterator[Settings]:
    """Yield the settings for a running broker: a new one, or the given one with unique names of topics and group."""
    if is_given(settings):
        yield _apart(settings)
        return
    kafka = LocalKafka()
    await unless_stopped(stop, kafka.start(on_progress), "Kafka was up")
    try:
        # Security settings are meant for another broker.
        address = {"bootstrap_servers": kafka.bootstrap_servers, "security_protocol": "PLAINTEXT"}
        yield settings.model_copy(update={"kafka": settings.kafka.model_copy(update=address)})
    finally:
        await kafka.stop()


def _apart(settings: Settings) -> Settings:
    """Return the settings with unique names of topics and group."""
    name = f"demo-{token_hex(4)}"
    topics = settings.topics.model_copy(update={"prefix": f"{settings.topics.prefix}{name}."})
    return settings.model_copy(update={"application_id": f"{settings.application_id}-{name}", "topics": topics})


async def keep_broker(kafka: LocalKafka, on_progress: Callable[[str], None], on_up: Callable[[], None]) -> None:
    """Run brokers until SIGINT or SIGTERM; raises BrokerUnavailable where all of them ended by themselves."""
    with stop_on_signal() as stop:
        await unless_stopped(stop, kafka.start(on_progress), "Kafka was up")
        try:
            on_up()
            await _watch(kafka, stop, on_progress)
            on_progress("Stopping Apache Kafka")
        finally:
            await kafka.stop()


async def _watch(kafka: LocalKafka, stop: asyncio.Event, on_progress: Callable[[str], None]) -> None:
    """Wait for `stop`, or until no broker runs; report the brokers that end."""
    there = kafka.nodes
    while not stop.is_set():
        ended = [node for node in there if not node.is_running]
        there = tuple(node for node in there if node not in ended)
        if not there:
            raise BrokerUnavailable(f"Kafka on {kafka.bootstrap_servers} has ended by itself")
        for node in ended:
            on_progress(f"Broker {node.number} on {node.address} has ended by itself; {len(there)} left")
        await set_within(stop, WATCH_S)
