"""The dead-letter topic, read from its first offset to a last stable offset that was taken once."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import NamedTuple

from streamproc.dlq.choice import Choice
from streamproc.dlq.letter import Foreign, Letter, of
from streamproc.dlq.receipts import Receipts, read_receipts
from streamproc.errors import ConfigError
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import Kafka, TopicPartition
from streamproc.runtime.reading import read_span
from streamproc.runtime.topics import receipts_topic

Each = Callable[[Letter | Foreign, Receipts], None]
Other = Callable[[Letter], None]

AT_ONCE = 8
"""Partitions that are read at the same time: each takes a connection or two, and a few megabytes."""


class DeadLetterTopics(NamedTuple):
    """The topics of the dead letters and of the receipts for them; the latter need not exist."""

    dead_letters: str
    receipts: str


def names_of(topics: TopicSettings) -> DeadLetterTopics:
    """Return the names, `topics` with their prefix; raises ConfigError where the receipts would be in another topic."""
    receipts = receipts_topic(topics.dead_letters)
    if receipts in topics.model_dump().values():
        raise ConfigError(f"{receipts} is another topic in the settings: it must hold nothing but receipts of replays")
    return DeadLetterTopics(topics.dead_letters, receipts)


async def partitions_of(kafka: Kafka, topic: str, setting: str) -> int:
    """Return how many partitions a topic has; raises ConfigError where it does not exist."""
    count = await kafka.partition_count(topic)
    if not count:
        raise missing(topic, setting)
    return count


def missing(topic: str, setting: str) -> ConfigError:
    """Return the error for a topic, named by a setting, that does not exist."""
    return ConfigError(
        f"{topic} does not exist: check STREAMPROC_TOPICS__{setting} and STREAMPROC_TOPICS__PREFIX, or run "
        "`streamproc topics create`"
    )


async def letters(
    kafka: Kafka, topic: TopicPartition, choice: Choice, end: int | None = None, other: Other = lambda _: None
) -> AsyncGenerator[list[Letter | Foreign], None]:
    """Yield what lies in a partition below `end` and is meant, in its order, a fetch at a time.

    `end` None: to the last stable offset. What is no letter comes along where its place is meant; `other` is told of
    the letters that were read and are not meant. Raises as `read_span`.
    """
    first, last = await kafka.bounds(*topic)
    start, before = choice.span(topic.partition)
    last = min(last, last if end is None else end, last if before is None else before)
    async with aclosing(read_span(kafka, topic, max(first, start), last)) as span:
        async for records in span:
            meant: list[Letter | Foreign] = []
            for record in records:
                found = of(record, topic.partition)
                if _is_meant(found, choice):
                    meant.append(found)
                elif isinstance(found, Letter):
                    other(found)
            yield meant


async def scan(
    kafka: Kafka, names: DeadLetterTopics, choice: Choice, each: Each, other: Other = lambda _: None
) -> dict[int, int]:
    """Tell `each` of what lies in the topic and is meant, partition by partition, several side by side.

    `other` is told of the letters that are not meant. Returns the end of each partition that was read. Raises
    WrongFilter, ConfigError where the topic does not exist, BrokerUnavailable.
    """
    count = await partitions_of(kafka, names.dead_letters, "DEAD_LETTERS")
    receipts, ends, limit = await kafka.partition_count(names.receipts), dict[int, int](), asyncio.Semaphore(AT_ONCE)

    async def look(partition: int) -> None:
        topic = TopicPartition(names.dead_letters, partition)
        async with limit:
            _, ends[partition] = await kafka.bounds(*topic)
            there = partition < receipts
            known = await read_receipts(kafka, TopicPartition(names.receipts, partition)) if there else Receipts()
            async with aclosing(letters(kafka, topic, choice, ends[partition], other)) as batches:
                async for batch in batches:
                    for found in batch:
                        each(found, known)

    try:
        async with asyncio.TaskGroup() as group:
            for partition in choice.among(count):
                group.create_task(look(partition))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # The others were cancelled for it.
    return ends


def _is_meant(found: Letter | Foreign, choice: Choice) -> bool:
    return choice.admits(found) if isinstance(found, Letter) else choice.covers(found.partition, found.offset)
