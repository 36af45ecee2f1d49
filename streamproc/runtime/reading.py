"""What a partition holds now, from beginning to end, for commands that look at topics."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from streamproc.codec.arrival import Arrival
from streamproc.errors import BrokerUnavailable
from streamproc.runtime.ports import Gone, Kafka, Reader, TopicPartition

FETCH_RECORDS = 2_000
FETCH_S = 0.5
MAX_EMPTY_FETCHES = 20


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
    await reader.seek(first)
    at, empty = first, 0
    while at < last:
        try:
            records = (await reader.fetch(min(FETCH_RECORDS, last - at), FETCH_S)).records
        except Gone as gone:
            if gone.first is None:
                raise
            at = gone.first
            await reader.seek(at)
            continue
        empty = 0 if records else empty + 1
        if empty > MAX_EMPTY_FETCHES:
            raise BrokerUnavailable(f"reading {place} came to a halt at {at} of {last}")
        if records:
            yield records if records[-1].offset < last else [each for each in records if each.offset < last]
        at = await reader.position()
        await asyncio.sleep(0)
