"""Reads one partition: a state to restore from, or what a command looks at."""

from streamproc.runtime.aio.fetcher import NOTHING, AioFetcher
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Fetched, TopicPartition


class AioReader:
    """Reads one partition, with a fetcher of its own."""

    def __init__(self, settings: KafkaSettings, topic: str, partition: int) -> None:
        self._place = TopicPartition(topic, partition)
        self._fetcher = AioFetcher(settings)

    async def start(self) -> None:
        """Connect."""
        await self._fetcher.start()

    async def seek(self, offset: int) -> None:
        """Read from `offset` on."""
        self._fetcher.seek(self._place, offset)

    async def fetch(self, max_records: int, timeout_s: float) -> Fetched:
        """Return what is at hand; see the port."""
        fetched = (await self._fetcher.poll({self._place: max_records}, timeout_s)).get(self._place, NOTHING)
        if fetched.trouble is not None:
            raise fetched.trouble
        return fetched

    async def position(self) -> int:
        """Return the offset that would be read next."""
        return self._fetcher.position(self._place)

    def lag(self) -> int | None:
        """Return how many offsets lie between what was read and the last stable offset; None before it is known."""
        return self._fetcher.lag(self._place)

    def read_all(self) -> bool:
        """Return whether the broker reported just now that nothing is unread, not even behind an open transaction."""
        return self._fetcher.read_all(self._place)

    async def look(self) -> None:
        """Find out how far the partition goes by now."""
        await self._fetcher.look(self._place)

    async def close(self) -> None:
        """Give up the connection."""
        await self._fetcher.close()
