"""Reads the dead-letter topic from its first offset to the last stable offset at the start."""

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
from streamproc.runtime.topics import partitions_of, receipts_topic

OnLetter = Callable[[Letter | Foreign, Receipts], None]
OnOther = Callable[[Letter], None]

AT_ONCE = 8
"""How many partitions are read at the same time: each takes one or two connections, and a few megabytes."""


class DeadLetterTopics(NamedTuple):
    """The topics of the dead letters and of their receipts; the latter need not exist."""

    dead_letters: str
    receipts: str


def names_of(topics: TopicSettings) -> DeadLetterTopics:
    """Return the names; `topics` with their prefix. Raises ConfigError where the receipts' topic has another use."""
    receipts = receipts_topic(topics.dead_letters)
    if receipts in topics.model_dump().values():
        raise ConfigError(f"{receipts} is another topic in the settings: it must hold nothing but receipts of replays")
    return DeadLetterTopics(topics.dead_letters, receipts)


async def letters(
    kafka: Kafka, topic: TopicPartition, choice: Choice, end: int | None = None, on_other: OnOther = lambda _: None
) -> AsyncGenerator[list[Letter | Foreign], None]:
    """Yield the letters of a partition that pass the filter, in order, a fetch at a time.

    `end`: the offset to stop before; None: the last stable offset. Records that are no letters are included where
    their place passes. `on_other` gets the letters that do not pass. Raises as `read_span`.
    """
    first, last = await kafka.bounds(*topic)
    start, before = choice.span(topic.partition)
    last = min(last, last if end is None else end, last if before is None else before)
    async with aclosing(read_span(kafka, topic, max(first, start), last)) as span:
        async for records in span:
            chosen: list[Letter | Foreign] = []
            for record in records:
                letter = of(record, topic.partition)
                if _is_chosen(letter, choice):
                    chosen.append(letter)
                elif isinstance(letter, Letter):
                    on_other(letter)
            yield chosen


async def scan(
    kafka: Kafka, names: DeadLetterTopics, choice: Choice, on_letter: OnLetter, on_other: OnOther = lambda _: None
) -> dict[int, int]:
    """Call `on_letter` for all letters that pass the filter; several partitions are read side by side.

    `on_other` gets the letters that do not pass. Returns the end of each partition that was read. Raises WrongFilter,
    ConfigError where the topic does not exist, BrokerUnavailable.
    """
    count = await partitions_of(kafka, names.dead_letters)
    receipts, ends, limit = await kafka.partition_count(names.receipts), dict[int, int](), asyncio.Semaphore(AT_ONCE)

    async def look(partition: int) -> None:
        topic = TopicPartition(names.dead_letters, partition)
        async with limit:
            _, ends[partition] = await kafka.bounds(*topic)
            has_receipts = partition < receipts
            known_receipts = (
                await read_receipts(kafka, TopicPartition(names.receipts, partition)) if has_receipts else Receipts()
            )
            async with aclosing(letters(kafka, topic, choice, ends[partition], on_other)) as batches:
                async for batch in batches:
                    for letter in batch:
                        on_letter(letter, known_receipts)

    try:
        async with asyncio.TaskGroup() as group:
            for partition in choice.among(count):
                group.create_task(look(partition))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # It is the only one: the other tasks were cancelled.
    return ends


def _is_chosen(letter: Letter | Foreign, choice: Choice) -> bool:
    return choice.admits(letter) if isinstance(letter, Letter) else choice.covers(letter.partition, letter.offset)
