"""Fetches single records by partition and offset, over one connection that stays open."""

import asyncio

from streamproc.codec.arrival import Arrival
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import Fetcher, Kafka, TopicPartition

WAIT_S = 3.0
POLL_S = 0.5


class Lookups:
    """Looks up records, one at a time. Must be closed."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._turn = asyncio.Lock()
        self._fetcher: Fetcher | None = None

    async def at(self, place: TopicPartition, offset: int) -> Arrival | None:
        """Return the record at an offset, None where it no longer exists; raises BrokerUnavailable."""
        try:
            async with asyncio.timeout(WAIT_S), self._turn:
                return await self._look(place, offset)
        except TimeoutError:
            await self.close()
            raise BrokerUnavailable(f"{place} was not answered for within {WAIT_S:.0f} s") from None
        except BrokerUnavailable:
            await self.close()
            raise
        except ConfigError:  # The topic no longer exists, or may not be read.
            return None

    async def close(self) -> None:
        """Close the connection; the next lookup opens another one."""
        fetcher, self._fetcher = self._fetcher, None
        if fetcher is not None:
            await fetcher.close()

    async def _look(self, place: TopicPartition, offset: int) -> Arrival | None:
        if self._fetcher is None:
            self._fetcher = await self._kafka.fetcher()
        fetcher = self._fetcher
        fetcher.seek(place, offset)
        try:
            while True:
                batch = (await fetcher.poll({place: 1}, POLL_S)).get(place)
                if batch is not None and isinstance(batch.trouble, Denied):
                    raise batch.trouble
                if batch is not None and (batch.records or batch.trouble or fetcher.read_all(place)):
                    records = [record for record in batch.records if record.offset == offset]
                    return records[0] if records else None
        finally:
            fetcher.drop(place)
