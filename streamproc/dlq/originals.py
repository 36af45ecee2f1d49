"""Reads the original records of letters that are cut, from their source topic."""

import hashlib
from collections.abc import Sequence
from contextlib import aclosing

from streamproc.codec.arrival import Arrival
from streamproc.dlq.letter import Letter
from streamproc.runtime.ports import Gone, Kafka, Reader, TopicPartition, Unreadable
from streamproc.runtime.reading import read_with


class Originals:
    """Reads originals. The reader stays open while they are of one partition. Must be closed."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._reader: Reader | None = None
        self._place: TopicPartition | None = None
        self._bounds = (0, 0)

    async def of(self, letter: Letter) -> Letter | None:
        """Return the letter with the original key, value and headers; None where the original no longer exists.

        The record at its place must match the size and digest of the value: the topic may have been recreated. Raises
        BrokerUnavailable.
        """
        place = TopicPartition(letter.source.topic, letter.source.partition)
        record = await self._record_at(place, letter.source.offset)
        if record is None or letter.original is None:
            return None
        value = record.value or b""
        if (len(value), hashlib.sha256(value).hexdigest()) != letter.original[:2]:
            return None
        whole = letter.original._replace(cut="")
        return letter._replace(key=record.key, value=record.value, headers=list(record.headers), original=whole)

    async def aclose(self) -> None:
        """Close the connection."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    async def _record_at(self, place: TopicPartition, offset: int) -> Arrival | None:
        reader = await self._reader_of(place)
        first, last = self._bounds
        if not first <= offset < last:
            return None
        matching: Sequence[Arrival] = ()
        try:
            async with aclosing(read_with(reader, place, offset, offset + 1)) as span:
                async for records in span:
                    matching = [record for record in records if record.offset == offset] or matching
        except (Gone, Unreadable):
            return None
        return matching[0] if matching else None

    async def _reader_of(self, place: TopicPartition) -> Reader:
        if self._reader is None or place != self._place:
            await self.aclose()
            self._bounds = await self._kafka.bounds(*place)
            self._place, self._reader = place, await self._kafka.reader(*place)
        return self._reader
