"""A cluster: makes readers, producers and memberships, and answers questions about offsets and topics."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio import authorized
from streamproc.runtime.aio import topics as asked
from streamproc.runtime.aio.asking import ALL, COMMITTED, EARLIEST, LATEST, group_offsets, listed, membership
from streamproc.runtime.aio.fencing import fence
from streamproc.runtime.aio.fetcher import AioFetcher
from streamproc.runtime.aio.group import AioGroup
from streamproc.runtime.aio.inquiries import RETRY_S, Inquiries
from streamproc.runtime.aio.partitioner import partition_of
from streamproc.runtime.aio.patches import install
from streamproc.runtime.aio.reader import AioReader
from streamproc.runtime.aio.topicids import topic_ids
from streamproc.runtime.aio.transactions import AioTransactions
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Committed, GroupDescription, NewTopic, TopicInfo, TopicPartition
from streamproc.runtime.rights import Right


class AioKafka:
    """A cluster, by aiokafka."""

    def __init__(self, settings: KafkaSettings, group_id: str) -> None:
        install()
        self._settings = settings
        self._group_id = group_id
        self._inquiries = Inquiries(settings)

    def group(self, topics: Sequence[str]) -> AioGroup:
        """Return a membership, not yet joined."""
        return AioGroup(self._settings, self._group_id, topics)

    def partition_of(self, key: bytes, partitions: int) -> int:
        """Return the partition that a key goes to."""
        return partition_of(key, partitions)

    def transactions(self, source: TopicPartition) -> AioTransactions:
        """Return a producer, not yet started."""
        return AioTransactions(self._settings, self._group_id, source)

    async def fence(self, sources: Sequence[TopicPartition]) -> Collection[TopicPartition]:
        """Fence every producer with the ids of these partitions; return those whose transaction does not end."""
        return await fence(self._settings, self._group_id, sources)

    async def reader(self, topic: str, partition: int) -> AioReader:
        """Return a started reader."""
        reader = AioReader(self._settings, topic, partition)
        await reader.start()
        return reader

    async def fetcher(self) -> AioFetcher:
        """Return a started fetcher of no partition."""
        fetcher = AioFetcher(self._settings)
        await fetcher.start()
        return fetcher

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset and the last stable offset."""
        place = TopicPartition(topic, partition)
        return (await self.spans([place]))[place]

    async def spans(self, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, tuple[int, int]]:
        """Return the first offset and the last stable offset of each."""
        first = await self._inquiries.ask(lambda client: listed(client, places, EARLIEST, COMMITTED))
        last = await self._inquiries.ask(lambda client: listed(client, places, LATEST, COMMITTED))
        return {place: (first[place], last[place]) for place in places}

    async def high_watermark(self, topic: str, partition: int) -> int:
        """Return the offset behind the last record, those of open transactions included."""
        return await self._listed(TopicPartition(topic, partition), LATEST, ALL)

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """Return the offset of the first record with this timestamp or a later one, None where there is none."""
        offset = await self._listed(TopicPartition(topic, partition), timestamp_ms)
        return offset if offset >= 0 else None

    async def committed(self, source: TopicPartition) -> Committed | None:
        """Return the group's committed offset; the consumer's own call would drop the metadata."""
        return (await self.offsets([source])).get(source)

    async def offsets(self, sources: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """Return the group's committed offsets, of those partitions that have one."""
        offsets = await self._offsets(sources, stable=False)
        return {source: committed for source, committed in offsets.items() if committed is not None}

    async def stable(self, sources: Sequence[TopicPartition]) -> Mapping[TopicPartition, Committed | None]:
        """Return the committed offsets that no transaction under way may still change; the others are missing."""
        return await self._offsets(sources, stable=True)

    async def membership(self) -> GroupDescription:
        """Describe the consumer group."""
        return await self._inquiries.ask(lambda client: membership(client, self._group_id))

    async def partition_count(self, topic: str) -> int:
        """Return the number of partitions, 0 where the topic does not exist."""
        counts = await self._inquiries.ask(lambda client: asked.partition_counts(client, [topic]))
        return counts.get(topic, 0)

    async def topic_ids(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the ids of those of the topics that have one."""
        return await self._inquiries.ask(lambda client: topic_ids(client, names))

    async def topics(self, names: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Describe those of the topics that exist."""
        return await self._inquiries.ask(lambda client: asked.infos(client, names))

    async def create(self, topics: Sequence[NewTopic]) -> None:
        """Create topics, and return once the broker tells of them: it hears of them after the controller's answer."""
        timeout_ms = self._settings.request_timeout_ms
        await self._inquiries.ask(lambda client: asked.create(client, topics, timeout_ms), timeout_ms / 1000)
        await self._await_topics([topic.name for topic in topics])

    async def lacking(self, rights: Sequence[Right]) -> Sequence[Right]:
        """Return those of the rights that the user does not have, as far as the broker tells."""
        return await self._inquiries.ask(lambda client: authorized.lacking(client, rights))

    async def close(self) -> None:
        """Give up the connections."""
        await self._inquiries.close()

    async def _await_topics(self, names: Sequence[str]) -> None:
        deadline = time.monotonic() + self._settings.request_timeout_ms / 1000
        while len(await self._inquiries.ask(lambda client: asked.partition_counts(client, names))) < len(names):
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"Kafka created {', '.join(names)}, and does not tell of all of them yet")
            await asyncio.sleep(RETRY_S)

    async def _offsets(
        self, sources: Sequence[TopicPartition], *, stable: bool
    ) -> Mapping[TopicPartition, Committed | None]:
        if not sources:
            return {}
        return await self._inquiries.ask(lambda it: group_offsets(it, self._group_id, sources, stable=stable))

    async def _listed(self, place: TopicPartition, at: int, isolation: int = COMMITTED) -> int:
        return (await self._inquiries.ask(lambda client: listed(client, [place], at, isolation)))[place]
