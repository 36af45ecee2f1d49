"""The record that a letter holds in part only, read again from where it came."""

import hashlib
from collections.abc import Sequence
from contextlib import aclosing

from streamproc.codec.arrival import Arrival
from streamproc.dlq.letter import Letter
from streamproc.runtime.ports import Gone, Kafka, TopicPartition, Unreadable
from streamproc.runtime.reading import read_span


async def original_of(kafka: Kafka, letter: Letter) -> Letter | None:
    """Return the letter with key, value and headers of its record as they came, None where that is no longer there.

    What lies at its place now is held against the size and the digest of the value: the topic may have been recreated.
    Raises BrokerUnavailable.
    """
    record = await _record_at(kafka, TopicPartition(letter.source.topic, letter.source.partition), letter.source.offset)
    if record is None or letter.original is None:
        return None
    value = record.value or b""
    if (len(value), hashlib.sha256(value).hexdigest()) != letter.original[:2]:
        return None
    whole = letter.original._replace(cut="")
    return letter._replace(key=record.key, value=record.value, headers=list(record.headers), original=whole)


async def _record_at(kafka: Kafka, place: TopicPartition, offset: int) -> Arrival | None:
    first, last = await kafka.bounds(*place)
    if not first <= offset < last:
        return None
    found: Sequence[Arrival] = ()
    try:
        async with aclosing(read_span(kafka, place, offset, offset + 1)) as span:
            async for records in span:
                found = [record for record in records if record.offset == offset] or found
    except (Gone, Unreadable):
        return None
    return found[0] if found else None
