"""What a partition has now, from beginning to end: for restores, and for commands that look at topics."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from streamproc.codec.arrival import Arrival
from streamproc.errors import BrokerUnavailable
from streamproc.runtime.ports import Gone, Kafka, Reader, TopicPartition

FETCH_RECORDS = 2_000
FETCH_S = 0.5
HALT_S = 10.0
"""Somebody waits in front of a command; he may try it again."""


async def read_all(kafka: Kafka, place: TopicPartition) -> AsyncGenerator[Sequence[Arrival], None]:
    """Yield the records below the last stable offset, as it is now; raises as `read_span`."""
    first, last = await kafka.bounds(*place)
    async with aclosing(read_span(kafka, place, first, last)) as span:
        async for records in span:
            yield records


async def read_span(
    kafka: Kafka, place: TopicPartition, first: int, last: int
) -> AsyncGenerator[Sequence[Arrival], None]:
    """Yield the records of the offsets from `first` to before `last`, a fetch at a time.

    Both within the bounds of the partition. What retention removes meanwhile is passed over. Raises BrokerUnavailable
    where reading comes to a halt before `last`, Gone where the topic was recreated.
    """
    if first >= last:
        return
    reader = await kafka.reader(*place)
    try:
        async with aclosing(read_with(reader, place, first, last)) as span:
            async for records in span:
                yield records
    finally:
        await reader.close()


async def read_with(
    reader: Reader, place: TopicPartition, first: int, last: int
) -> AsyncGenerator[Sequence[Arrival], None]:
    """Do the same with a reader of the partition, which is left open."""
    while first < last:
        try:
            async with aclosing(fetches(reader, place, first, last)) as brought:
                async for records, _ in brought:
                    if records:
                        yield records
            return
        except Gone as gone:
            if gone.first is None:
                raise
            first = gone.first


class SpanFetch(NamedTuple):
    """What one fetch brought, and the offset at which the next one begins."""

    records: Sequence[Arrival]
    next_offset: int


async def fetches(
    reader: Reader, place: TopicPartition, first: int, last: int, halt_s: float = HALT_S
) -> AsyncGenerator[SpanFetch, None]:
    """Yield each fetch of the offsets from `first` to before `last`, those that bring nothing among them.

    Raises BrokerUnavailable where nothing comes for `halt_s`, and what the reader raises.
    """
    await reader.seek(first)
    at, empty = first, 0
    while at < last:
        records = (await reader.fetch(min(FETCH_RECORDS, last - at), FETCH_S)).records
        empty = 0 if records else empty + 1
        if empty * FETCH_S > halt_s:
            raise BrokerUnavailable(f"reading {place} came to a halt at offset {at} of {last}")
        # Also without records: it passes control markers, and what compaction removed.
        at = await reader.position()
        # By the position, not by the last record: who looks at one makes objects of all that came with it.
        yield SpanFetch(records if at <= last else [each for each in records if each.offset < last], at)
        await asyncio.sleep(0)  # What takes long must not delay heartbeats.
