"""`streamproc send`, `runs list` and `runs show`: they connect to Kafka or a console by the settings."""

from collections.abc import Callable
from typing import Any, BinaryIO

from streamproc.app import with_topics
from streamproc.codec.schemas import load
from streamproc.errors import ConfigError
from streamproc.interrupts import Interrupted, stop_on_signal, unless_stopped
from streamproc.records.remote import RemoteConsole, RunListing
from streamproc.records.runstates import RunContext, Story, Wanted, list_runs, story
from streamproc.records.sending import Counts, Encode, SendOptions, as_avro, as_json, lines_of, send
from streamproc.runtime.aio.producer import AioProducer
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import Kafka
from streamproc.runtime.topics import partitions_of
from streamproc.settings.profiles import book_of
from streamproc.settings.service import Settings

ROOM_BYTES = 512


async def send_lines(settings: Settings, source: BinaryIO, avro: str | None, say: Callable[[str], None]) -> Counts:
    """Send the lines of a file, up to its end or an interrupt.

    Raises ConfigError where the service would accept no line, or the topic does not exist; BrokerUnavailable.
    """
    # Key and framing come on top of the line.
    job = SendOptions(encoder(settings, avro), say, settings.kafka.max_record_bytes - ROOM_BYTES)
    counts = Counts()

    async def work(kafka: Kafka, topics: TopicSettings) -> None:
        await partitions_of(kafka, topics.events)  # Fails at once; the producer would wait 20 s for a missing topic.
        lines = lines_of(source, job.most_bytes)
        with stop_on_signal() as stop:
            async with AioProducer(settings.kafka, topics.events) as producer:
                try:
                    await unless_stopped(stop, send(producer, lines, job, counts), "all was sent")
                except Interrupted:
                    counts.interrupted = True

    await with_topics(settings, "send", work)
    return counts


async def list_all(settings: Settings, wanted: Wanted, now_ms: int) -> RunListing:
    """Return the first runs that pass the filter, from the console where the settings name one, else from the topics.

    Raises as `RemoteConsole.runs`, or `list_runs`.
    """
    if settings.console.url is not None:
        async with RemoteConsole(settings.console.url, settings.console.token) as console:
            return await console.runs(wanted, now_ms)
    states, count = await with_topics(
        settings, "runs list", lambda kafka, topics: list_runs(kafka, topics, _place(settings), wanted)
    )
    return RunListing(states, count, has_more=count > len(states))


async def show_one(settings: Settings, run_id: str) -> tuple[Story, list[dict[str, Any]]]:
    """Return a run's story, and its history for JSON, from the console that the settings name, else from the topics.

    Raises as `RemoteConsole.story`, or `story`.
    """
    if settings.console.url is not None:
        async with RemoteConsole(settings.console.url, settings.console.token) as console:
            return await console.story(run_id)
    run_story = await with_topics(
        settings, "runs show", lambda kafka, topics: story(kafka, topics, _place(settings), run_id)
    )
    return run_story, run_story.history


def _place(settings: Settings) -> RunContext:
    return RunContext(settings.topic_names.events, settings.rules().deadlines, settings.life_cycle)


def encoder(settings: Settings, avro: str | None) -> Encode:
    """Return the function that encodes lines as events; raises ConfigError where the service would not read them."""
    profile = settings.life_cycle
    if avro is None:
        if not settings.input.takes_json:
            raise ConfigError("the service takes no JSON (input.json is false): choose a version with --avro")
        return as_json(profile.shape)
    label = load(f"run_object_{avro}").label
    schema = next((schema for schema in book_of(profile) if schema.label == label), None)
    if schema is None:
        raise ConfigError(f"profile {profile.name} reads no RunObjects: leave --avro out, or set STREAMPROC_PROFILE")
    return as_avro(schema)
