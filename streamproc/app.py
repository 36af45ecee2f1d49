"""Puts the parts together: settings in, a running service out."""

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Callable

import structlog

from streamproc.codec.schemas import bundled_book
from streamproc.core.lifecycle import PROFILES
from streamproc.notify.observer import PushObserver
from streamproc.notify.pusher import Pusher, Source
from streamproc.observe.fanout import Observers
from streamproc.observe.health import Health
from streamproc.observe.http import HttpServer, application
from streamproc.observe.journal import Journal
from streamproc.observe.metrics import MetricsObserver
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.aio.feed import AioFeed
from streamproc.runtime.observer import Observer
from streamproc.runtime.task import Job
from streamproc.runtime.topics import check_topics, create_topics
from streamproc.runtime.worker import Worker
from streamproc.settings import Settings

STOP_DEADLINE_S = 9.0
"""The process ends within this time of SIGTERM, whatever hangs: aiokafka's clients do while the broker is away."""

log = structlog.get_logger(__name__)


def make_kafka(settings: Settings) -> AioKafka:
    """Return the cluster that the settings name, not yet connected."""
    return AioKafka(settings.kafka, settings.application_id)


def make_job(settings: Settings, kafka: AioKafka, observer: Observer) -> Job:
    """Return what the worker's tasks have in common."""
    return Job(
        kafka=kafka,
        application_id=settings.application_id,
        topics=settings.topics.named(),
        rules=settings.rules(),
        windows=settings.window_rules(),
        commit=settings.commit,
        max_record_bytes=settings.kafka.max_record_bytes,
        book=bundled_book(),
        observer=observer,
    )


def make_pusher(settings: Settings, kafka: AioKafka, observer: PushObserver) -> Pusher:
    """Return the push of alerts to the receivers that are set; raises ConfigError where a setting cannot be used."""
    topic = settings.topics.named().alerts

    def feed(group_id: str) -> AioFeed:
        return AioFeed(settings.kafka, group_id, topic)

    source = Source(settings.application_id, topic, feed, lambda: kafka.partition_count(topic))
    return Pusher(source, settings.alertmanager, settings.webhook, observer)


def spare_the_collector() -> None:
    """Let the cyclic garbage collector run rarely.

    A commit makes tens of thousands of tuples that die with it, in no cycle: looking through them again and again took
    40 % of the time of encoding.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    watch: Observer | None = None,
    on_listening: Callable[[str], None] = lambda _: None,
) -> None:
    """Run the service until `stop` is set.

    `watch` is told what the metrics are told; `on_listening` gets the address of the HTTP server. Raises ConfigError
    and BrokerUnavailable where the service cannot start or go on.
    """
    metrics, health = MetricsObserver(PROFILES[settings.profile], settings.metrics), Health()
    observer = Observers(metrics, health, Journal(), *([] if watch is None else [watch]))
    kafka = make_kafka(settings)
    worker = Worker(make_job(settings, kafka, observer))
    pusher = make_pusher(settings, kafka, metrics.push)
    stopper = asyncio.create_task(_stop_on(stop, worker, pusher))
    server = HttpServer(application(metrics, health), settings.http.host, settings.http.port)
    try:
        async with server as http, pusher:
            url = f"http://{http.host}:{http.port}"
            on_listening(url)
            log.info("started", http=url, application_id=settings.application_id, events=worker.topic)
            await worker.run()
    finally:
        stopper.cancel()
        await kafka.close()
    log.info("stopped")


async def serve_until_signal(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT; a second one, or STOP_DEADLINE_S, ends the process at once."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        log.info("stopping", deadline_s=STOP_DEADLINE_S)
        stop.set()
        deadline = threading.Timer(STOP_DEADLINE_S, os._exit, (1,))
        deadline.daemon = True
        deadline.start()

    spare_the_collector()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    await serve(settings, stop)


async def create(settings: Settings, partitions: int) -> list[str]:
    """Create the topics that are missing; return their names. Raises as `serve` does."""
    kafka = make_kafka(settings)
    try:
        return await create_topics(kafka, settings.topics.named(), partitions, settings.kafka.max_record_bytes)
    finally:
        await kafka.close()


async def check(settings: Settings) -> int:
    """Check the topics; return the input's partition count. Raises as `serve` does."""
    kafka = make_kafka(settings)
    try:
        return await check_topics(kafka, settings.topics.named(), settings.kafka.max_record_bytes)
    finally:
        await kafka.close()


async def _stop_on(stop: asyncio.Event, worker: Worker, pusher: Pusher) -> None:
    await stop.wait()
    worker.stop()
    pusher.stop()
