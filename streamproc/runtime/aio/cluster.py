"""A cluster: makes readers, producers and memberships, and answers questions about offsets and topics."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition as AioPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin import NewTopic as AdminTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.structs import OffsetAndMetadata

from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.aio.connection import connection, started, stopped
from streamproc.runtime.aio.group import AioGroup
from streamproc.runtime.aio.partitioner import partition_of
from streamproc.runtime.aio.reader import AioReader
from streamproc.runtime.aio.transactions import AioTransactions
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Committed, NewTopic, TopicInfo, TopicPartition

ADMIN_ATTEMPTS = 5
RETRY_S = 0.1


class AioKafka:
    """A cluster, by aiokafka."""

    def __init__(self, settings: KafkaSettings, group_id: str) -> None:
        self._settings = settings
        self._group_id = group_id
        self._admin: AIOKafkaAdminClient | None = None
        self._starting = asyncio.Lock()

    def group(self, topics: Sequence[str]) -> AioGroup:
        """Return a membership, not yet joined."""
        return AioGroup(self._settings, self._group_id, topics)

    def partition_of(self, key: bytes, partitions: int) -> int:
        """Return the partition that a key goes to."""
        return partition_of(key, partitions)

    def transactions(self, source: TopicPartition) -> AioTransactions:
        """Return a producer, not yet started."""
        return AioTransactions(self._settings, self._group_id, source)

    async def reader(self, topic: str, partition: int) -> AioReader:
        """Return a started reader."""
        reader = AioReader(self._settings, topic, partition)
        await reader.start()
        return reader

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset and the last stable offset."""
        reader = await self.reader(topic, partition)
        try:
            return await reader.bounds()
        finally:
            await reader.close()

    async def committed(self, source: TopicPartition) -> Committed | None:
        """Return the group's committed offset; the consumer's own call would drop the metadata."""
        offset = await self._ask(lambda admin: _offset(admin, self._group_id, source))
        return None if offset.offset < 0 else Committed(offset.offset, offset.metadata)

    async def partition_count(self, topic: str) -> int:
        """Return the number of partitions, 0 where the topic does not exist."""
        return (await self._counts([topic])).get(topic, 0)

    async def topics(self, names: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Describe those of the topics that exist."""
        counts = await self._counts(names)
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in counts]
        found: dict[str, TopicInfo] = {}
        if resources:
            for response in await self._ask(lambda admin: admin.describe_configs(resources)):
                for _, _, _, name, entries in response.resources:
                    found[name] = TopicInfo(counts[name], {entry[0]: entry[1] for entry in entries})
        return found

    async def create(self, topics: Sequence[NewTopic]) -> None:
        """Create topics with the broker's default replication factor."""
        new = [AdminTopic(name, partitions, 1, topic_configs=dict(config)) for name, partitions, config in topics]
        for topic in new:
            # The broker's own default; aiokafka's constructor refuses to say so.
            topic.replication_factor = -1
        response = await self._ask(lambda admin: admin.create_topics(new))
        for name, code, *_ in response.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                message = (
                    f"topic {name} could not be created: {error.__name__}. Create it by hand, or check permissions"
                )
                raise ConfigError(message)

    async def close(self) -> None:
        """Give up the connections."""
        if self._admin is not None:
            await self._discard(self._admin)

    async def _counts(self, names: Sequence[str]) -> dict[str, int]:
        described = await self._ask(lambda admin: admin.describe_topics(list(names)))
        return {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}

    async def _ask(self, question: Callable[[AIOKafkaAdminClient], Any]) -> Any:
        """Ask the admin client, again where it fails: it does not retry when a coordinator has moved."""
        for attempt in range(ADMIN_ATTEMPTS):
            admin = await self._admin_client()
            try:
                return await question(admin)
            except (KafkaError, TimeoutError) as error:
                await self._discard(admin)  # A new one asks the bootstrap servers where the brokers are now.
                if attempt == ADMIN_ATTEMPTS - 1:
                    raise BrokerUnavailable(f"Kafka did not answer: {error!r}") from error
                await asyncio.sleep(RETRY_S * 2**attempt)
        raise AssertionError  # pragma: no cover  the loop returns or raises

    async def _admin_client(self) -> AIOKafkaAdminClient:
        async with self._starting:
            if self._admin is None:
                admin = AIOKafkaAdminClient(**connection(self._settings))
                await started(admin, self._settings)
                self._admin = admin
            return self._admin

    async def _discard(self, admin: AIOKafkaAdminClient) -> None:
        if admin is self._admin:
            self._admin = None
            await stopped(admin)


async def _offset(admin: AIOKafkaAdminClient, group_id: str, source: TopicPartition) -> OffsetAndMetadata:
    """Return the committed offset, -1 where there is none; raises KafkaError.

    aiokafka overlooks an error about the group as a whole, such as a coordinator that is still loading it: then the
    partition is missing from the answer. Taken for "nothing committed" it would replay the input.
    """
    place = AioPartition(*source)
    found = await admin.list_consumer_group_offsets(group_id, partitions=[place])
    if place not in found:
        raise GroupCoordinatorNotAvailableError(group_id)
    return found[place]
