"""Reads the service's topics like any consumer: committed records only."""

import asyncio
import io
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple, TypeVar

import fastavro
from fastavro.types import Schema

from streamproc.codec.arrival import Arrival
from streamproc.codec.framing import header_of
from streamproc.codec.schemas import load
from streamproc.errors import BrokerUnavailable
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import Kafka, Reader, TopicPartition
from streamproc.runtime.reading import read_all

T = TypeVar("T")

FETCH_RECORDS = 2_000
FETCH_S = 0.5
RETRY_S = 1.0
FOLLOWED_AT_MOST = 40
"""How many records of a burst are shown: nobody could see more."""


class TopicCounts(NamedTuple):
    """The counts of records in the topics; `runs`: keys of run-state whose last value is not a tombstone."""

    events: int
    dead_letters: int
    transitions: int
    verdicts: int
    runs: int
    alerts: int
    metrics: int


class ShownTransition(NamedTuple):
    """The fields of a run-transitions record that are shown."""

    at: datetime
    run_id: str
    from_status: str | None
    to_status: str
    in_from_ms: int | None
    expected: bool
    model: str | None


async def holdings(kafka: Kafka, topics: TopicSettings) -> TopicCounts:
    """Read the topics, `topics` with their prefix, from beginning to end."""
    return TopicCounts(
        events=await _count(kafka, topics.events),
        dead_letters=await _count(kafka, topics.dead_letters),
        transitions=await _count(kafka, topics.transitions),
        verdicts=await _count(kafka, topics.verdicts),
        runs=await _live_keys(kafka, topics.state),
        alerts=await _count(kafka, topics.alerts),
        metrics=await _count(kafka, topics.metrics),
    )


async def ends(kafka: Kafka, topic: str) -> int:
    """Return how many offsets a topic has. Without transactions that is the number of its records."""
    count = await kafka.partition_count(topic)
    bounds = await asyncio.gather(*(kafka.bounds(topic, partition) for partition in range(count)))
    return sum(last - first for first, last in bounds)


async def follow(kafka: Kafka, topic: str, read: Callable[[Arrival], T], on_records: Callable[[list[T]], None]) -> None:
    """Call `on_records` with new records of `topic`, converted by `read`, until cancelled; skips part of a burst."""
    count = await kafka.partition_count(topic)
    await asyncio.gather(
        *(_follow(kafka, TopicPartition(topic, partition), read, on_records) for partition in range(count))
    )


def change_of(record: Arrival) -> ShownTransition:
    """Decode a record of run-transitions."""
    value = record.value or b""
    stream = io.BytesIO(value[len(header_of(value)) :])
    fields: Any = fastavro.schemaless_reader(stream, _transition(), None)
    values = (fields[name] for name in ShownTransition._fields[1:])
    return ShownTransition(fields["occurred_at"], *values)


@cache
def _transition() -> Schema:
    """Return the schema with its logical types, which the service's own decoders do not use."""
    return fastavro.parse_schema(load("run_transition").document)


async def _count(kafka: Kafka, topic: str | None) -> int:
    if topic is None:
        return 0

    async def count(partition: int) -> int:
        return sum([len(records) async for records in read_all(kafka, TopicPartition(topic, partition))])

    return sum(await asyncio.gather(*map(count, range(await kafka.partition_count(topic)))))


async def _live_keys(kafka: Kafka, topic: str) -> int:
    async def live(partition: int) -> int:
        latest: dict[bytes | None, bool] = {}
        async for records in read_all(kafka, TopicPartition(topic, partition)):
            latest.update((record.key, bool(record.value)) for record in records)
        return sum(latest.values())

    return sum(await asyncio.gather(*map(live, range(await kafka.partition_count(topic)))))


async def _follow(
    kafka: Kafka, place: TopicPartition, read: Callable[[Arrival], T], on_records: Callable[[list[T]], None]
) -> None:
    first, _ = await kafka.bounds(*place)
    reader = await kafka.reader(*place)
    try:
        await reader.seek(first)
        while True:
            try:
                fetched = await reader.fetch(FETCH_RECORDS, FETCH_S)
            except BrokerUnavailable:
                await asyncio.sleep(RETRY_S)
                continue
            on_records([read(record) for record in fetched.records[-FOLLOWED_AT_MOST:]])
            await _skip(reader)
    finally:
        await reader.close()


async def _skip(reader: Reader) -> None:
    """Skip all records of a burst but the latest."""
    if (behind := reader.lag() or 0) > FOLLOWED_AT_MOST:
        await reader.seek(await reader.position() + behind - FOLLOWED_AT_MOST)
