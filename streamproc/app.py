"""Puts the parts together: settings in, a running service out."""

import asyncio
import gc
import math
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

import structlog

from streamproc.codec.book import SchemaBook
from streamproc.codec.instances import InstanceEncoder
from streamproc.codec.schemas import SINGLE_OBJECTS, Frames
from streamproc.instances.partitions import reported
from streamproc.instances.process import instance_id
from streamproc.instances.reporter import Identity, ReportedParts, Reporter
from streamproc.native import CODEC
from streamproc.notify.observer import PushObserver
from streamproc.notify.pusher import AlertOrigin, Pusher
from streamproc.observe.fanout import Observers
from streamproc.observe.health import Health
from streamproc.observe.http import application, metrics_token
from streamproc.observe.journal import Journal
from streamproc.observe.metrics import MetricsObserver
from streamproc.preflight import asked_for, may_work, refuse_lacking, tell_reframing
from streamproc.registry.link import RegistryLink, registry_link
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.aio.contacts import CONTACTS
from streamproc.runtime.aio.feed import AioFeed
from streamproc.runtime.aio.requests import sent
from streamproc.runtime.aio.writer import AioWriter
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.fold import FoldSettings
from streamproc.runtime.job import Job
from streamproc.runtime.observer import Observer
from streamproc.runtime.ports import Kafka
from streamproc.runtime.stages import stages
from streamproc.runtime.stored import store_settings
from streamproc.runtime.taskrecords import TaskRecords
from streamproc.runtime.tokens import can_log_in
from streamproc.runtime.topics import PARTITIONS, check_topics, create_topics, refuse_other_counts
from streamproc.runtime.worker import Worker
from streamproc.settings.profiles import book_of
from streamproc.settings.service import Settings
from streamproc.web.certificate import certificate
from streamproc.web.server import HttpServer

STOP_DEADLINE_S = 9.0
"""The process ends within this time of SIGTERM, whatever hangs: aiokafka's clients do while the broker is away."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


def make_kafka(settings: Settings) -> AioKafka:
    """Return the cluster that the settings name, not yet connected."""
    return AioKafka(settings.kafka, settings.application_id)


def make_dead_letter_kafka(settings: Settings) -> AioKafka:
    """Return the same cluster with its own transactions and group: replaying dead letters fences no service."""
    return AioKafka(settings.kafka, f"{settings.application_id}.dlq")


def make_book(settings: Settings) -> SchemaBook:
    """Return the book of the schemas known from the start; raises ConfigError for a file that is no schema."""
    return book_of(
        settings.life_cycle,
        json=settings.input.takes_json,
        registered=bool(settings.registry.url),
        max_learned=settings.registry.max_schemas,
        negative_ttl_s=settings.registry.negative_ttl_s,
    )


def make_worker(
    settings: Settings, kafka: AioKafka, observer: Observer, book: SchemaBook, link: RegistryLink | None = None
) -> Worker:
    """Return a worker with the stages of the pipeline."""
    topics = settings.topic_names.needed()
    job = Job(
        kafka=kafka,
        topics=topics,
        commit=settings.commit,
        dead_letters=settings.dead_letters,
        max_record_bytes=settings.kafka.max_record_bytes,
        registry=None if link is None else link.learner,
        observer=observer,
        snapshot_interval_s=settings.state.snapshot_interval_s if settings.state.directory else math.inf,
    )
    fold = FoldSettings(
        application_id=settings.application_id,
        topics=topics,
        rules=settings.rules(),
        book=book,
        commit=settings.commit,
        partition_of=kafka.partition_of,
        frames=SINGLE_OBJECTS if link is None else link.frames,
        store=store_settings(settings.state, settings.application_id, settings.topic_names.events),
    )
    return Worker(job, stages(fold, settings.window_rules()))


def make_pusher(settings: Settings, kafka: AioKafka, observer: PushObserver) -> Pusher:
    """Return the push of alerts to the configured receivers; raises ConfigError if a setting cannot be used."""
    topic = settings.topic_names.alerts

    def feed(group_id: str) -> AioFeed:
        return AioFeed(settings.kafka, group_id, topic)

    source = AlertOrigin(settings.application_id, topic, feed, lambda: kafka.partition_count(topic))
    return Pusher(source, settings.alertmanager, settings.webhook, observer, console_url=settings.console.public_url)


def make_reporter(settings: Settings, watched: ReportedParts, frames: Frames = SINGLE_OBJECTS) -> Reporter | None:
    """Return the reporter of a new instance to run-instances; None if that is disabled."""
    topic = settings.topic_names.instances
    if topic is None:
        return None
    name, profile = settings.application_id, settings.life_cycle.name
    return Reporter(
        Identity(instance_id(settings.kafka.group_instance_id), name, profile),
        settings.instances.interval_s,
        watched,
        InstanceEncoder(name, frames),
        AioWriter(settings.kafka, topic),
    )


def spare_the_collector() -> None:
    """Let the cyclic garbage collector run rarely.

    A commit makes tens of thousands of tuples, without cycles, that die with it: scanning them over and over took 40 %
    of the time of encoding.
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

    `watch` observes what the metrics observe; `on_listening` gets the address of the HTTP server. Raises ConfigError
    and BrokerUnavailable where the service cannot start or go on.
    """
    records = TaskRecords()
    metrics = MetricsObserver(records, settings.life_cycle, settings.metrics, sent, settings.state)
    health = Health(records, trouble=CONTACTS.trouble)
    journal = Journal(payloads=settings.log.payloads, statuses=settings.life_cycle.statuses)
    observer = Observers(records, metrics, health, journal, *([] if watch is None else [watch]))
    parts = ReportedParts(health.readyz, partial(reported, records))
    kafka = make_kafka(settings)
    book = make_book(settings)
    pusher = make_pusher(settings, kafka, metrics.push)
    web = application(metrics, health, metrics_token(settings.http))
    server = HttpServer(web, settings.http.host, settings.http.port, certificate=certificate(settings.http))
    try:
        async with server as http:
            url = f"{http.scheme}://{http.host}:{http.port}"
            on_listening(url)
            log.info("started", http=url, **_about(settings))
            if await can_log_in(settings.kafka, observer.blocked, stop) and await may_work(kafka, settings, stop):
                schemas = registry_link(
                    settings.registry, settings.framing, settings.topic_names, book, metrics.registry
                )
                async with pusher, schemas as link:
                    if link is None or await link.is_ready(observer.blocked, stop):
                        frames = SINGLE_OBJECTS if link is None else link.frames
                        await tell_reframing(settings, kafka)
                        reporter = make_reporter(settings, parts, frames)
                        await _work(make_worker(settings, kafka, observer, book, link), pusher, reporter, stop)
    finally:
        await kafka.close()
    log.info("stopped")


def _about(settings: Settings) -> dict[str, str]:
    """Return what identifies this service, and its codec."""
    return {
        "application_id": settings.application_id,
        "profile": settings.life_cycle.name,
        "events": settings.topic_names.events,
        "codec": CODEC.name,
        "codec_reason": CODEC.reason,
    }


async def _work(worker: Worker, pusher: Pusher, reporter: Reporter | None, stop: asyncio.Event) -> None:
    async with AsyncExitStack() as stack:
        if reporter is not None:
            await stack.enter_async_context(reporter)
        stopper = asyncio.create_task(_stop_on(stop, worker, pusher, reporter))
        try:
            await worker.run()
        finally:
            stopper.cancel()


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


async def create(settings: Settings, partitions: int | None = None, replication_factor: int | None = None) -> list[str]:
    """Create the topics that are missing; return their names. Raises as `serve` does.

    Also raises ConfigError if existing topics have another count than `partitions` asks for.
    """

    async def work(kafka: Kafka, topics: TopicSettings) -> list[str]:
        if partitions is not None:
            await refuse_other_counts(kafka, topics, partitions)
        limit = settings.kafka.max_record_bytes
        return await create_topics(kafka, topics, partitions or PARTITIONS, limit, replication_factor)

    return await with_topics(settings, "topics create", work)


async def with_dead_letters(
    settings: Settings, command: str, work: Callable[[Kafka, TopicSettings], Awaitable[T]]
) -> T:
    """Run `work` with `make_dead_letter_kafka` and return its result; raises Denied if the command lacks rights."""
    kafka = make_dead_letter_kafka(settings)
    return await _permitted(kafka, settings, [command], lambda: work(kafka, settings.topic_names))


async def with_topics(settings: Settings, command: str, work: Callable[[Kafka, TopicSettings], Awaitable[T]]) -> T:
    """Run `work` and return its result; it must not commit as the service. Raises Denied if rights are lacking."""
    kafka = make_kafka(settings)
    return await _permitted(kafka, settings, [command], lambda: work(kafka, settings.topic_names))


async def with_offsets(settings: Settings, command: str, work: Callable[[Kafka], Awaitable[T]]) -> T:
    """Run `work` and return its result; it uses the service's transactions and group, so that it fences the service.

    Raises Denied if rights are lacking.
    """
    kafka = make_kafka(settings)
    return await _permitted(kafka, settings, [command], lambda: work(kafka))


async def check(settings: Settings, *, rights: bool = True) -> int:
    """Check the topics, and whether the user has the service's `rights`; return the input's partition count.

    Raises as `serve` does.
    """
    kafka, commands = make_kafka(settings), ["topics check", *(["run", *asked_for(settings)] if rights else ())]
    names, limit = settings.topic_names, settings.kafka.max_record_bytes
    return await _permitted(kafka, settings, commands, lambda: check_topics(kafka, names, limit))


async def _permitted(
    kafka: AioKafka, settings: Settings, commands: Sequence[str], work: Callable[[], Awaitable[T]]
) -> T:
    try:
        await refuse_lacking(kafka, settings, *commands)
        return await work()
    finally:
        await kafka.close()


async def _stop_on(stop: asyncio.Event, *parts: Worker | Pusher | Reporter | None) -> None:
    await stop.wait()
    for part in parts:
        if part is not None:
            part.stop()
