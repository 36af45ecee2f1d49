"""A cluster: makes readers, producers and memberships, and answers questions about offsets and topics."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition as AioPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin import NewTopic as AdminTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    InvalidTopicError,
    KafkaError,
    NoError,
    NotControllerError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.aio.connection import connection, started, stopped
from streamproc.runtime.aio.group import AioGroup
from streamproc.runtime.aio.partitioner import partition_of
from streamproc.runtime.aio.reader import AioReader
from streamproc.runtime.aio.transactions import AioTransactions
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Committed, Membership, NewTopic, TopicInfo, TopicPartition

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
        return (await self.offsets([source])).get(source)

    async def offsets(self, sources: Sequence[TopicPartition]) -> dict[TopicPartition, Committed]:
        """Return the group's committed offsets, of those partitions that have one."""
        if not sources:
            return {}
        offsets: dict[TopicPartition, Committed] = await self._ask(lambda it: _offsets(it, self._group_id, sources))
        return offsets

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int | None:
        """Return the offset of the first record with this timestamp or a later one, None where there is none."""
        reader = await self.reader(topic, partition)
        try:
            return await reader.offset_at(timestamp_ms)
        finally:
            await reader.close()

    async def membership(self) -> Membership:
        """Describe the consumer group."""
        found: Membership = await self._ask(lambda admin: _membership(admin, self._group_id))
        return found

    async def partition_count(self, topic: str) -> int:
        """Return the number of partitions, 0 where the topic does not exist."""
        counts: dict[str, int] = await self._ask(lambda admin: _partition_counts(admin, [topic]))
        return counts.get(topic, 0)

    async def topics(self, names: Sequence[str]) -> Mapping[str, TopicInfo]:
        """Describe those of the topics that exist."""
        found: dict[str, TopicInfo] = await self._ask(lambda admin: _infos(admin, names))
        return found

    async def create(self, topics: Sequence[NewTopic]) -> None:
        """Create topics, and return once the broker tells of them: it hears of them after the controller's answer."""
        new = [AdminTopic(topic.name, topic.partitions, 1, topic_configs=dict(topic.config)) for topic in topics]
        for made, topic in zip(new, topics, strict=True):
            # -1 is the broker's own default; aiokafka's constructor refuses to say so.
            made.replication_factor = topic.replication_factor
        response = await self._ask(lambda admin: _created(admin, new))
        for name, code, *_ in response.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                message = (
                    f"topic {name} could not be created: {error.__name__}. Create it by hand, or check permissions "
                    "and, for a replication factor, how many brokers there are"
                )
                raise ConfigError(message)
        await self._await_topics([topic.name for topic in topics])

    async def _await_topics(self, names: Sequence[str]) -> None:
        deadline = time.monotonic() + self._settings.request_timeout_ms / 1000
        while len(await self._ask(lambda admin: _partition_counts(admin, names))) < len(names):
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"Kafka created {', '.join(names)}, and does not tell of all of them yet")
            await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        """Give up the connections."""
        if self._admin is not None:
            await self._discard(self._admin)

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


async def _created(admin: AIOKafkaAdminClient, topics: list[AdminTopic]) -> Any:
    """Return the answer about new topics; raises KafkaError, where no broker is the controller as well."""
    if admin._client.cluster.controller is None:  # noqa: SLF001  aiokafka would ask once, and end with an AttributeError
        await admin._client.force_metadata_update()  # noqa: SLF001
        if admin._client.cluster.controller is None:  # noqa: SLF001
            raise NotControllerError
    return await admin.create_topics(topics)


async def _partition_counts(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, int]:
    """Return the number of partitions of those topics that exist; raises KafkaError, ConfigError.

    Not by `describe_topics`: a broker with its default settings would create what was asked for.
    """
    request = MetadataRequest(list(names), allow_auto_topic_creation=False)
    described = (await admin._send_request(request)).to_object()["topics"]  # noqa: SLF001
    counts: dict[str, int] = {}
    for topic in described:
        name, error = topic["topic"], for_code(topic["error_code"])
        if error is NoError:
            counts[name] = len(topic["partitions"])
        elif error not in (UnknownTopicOrPartitionError, InvalidTopicError):
            raise _refusal(name, error, "Describe")
    return counts


async def _infos(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, TopicInfo]:
    """Return those topics that exist; raises as above, and where settings are not told: nobody may guess at limits."""
    counts = await _partition_counts(admin, names)
    found: dict[str, TopicInfo] = {}
    for response in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in counts]):
        for code, _, _, name, entries in response.resources:
            if code:
                raise _refusal(name, for_code(code), "DescribeConfigs")
            found[name] = TopicInfo(counts[name], {entry[0]: entry[1] for entry in entries})
    return found


def _refusal(topic: str, error: type[KafkaError], permission: str) -> KafkaError | ConfigError:
    if error is TopicAuthorizationFailedError:
        return ConfigError(f"Kafka does not tell of topic {topic}: the user needs the permission {permission} on it")
    return error(topic)


async def _membership(admin: AIOKafkaAdminClient, group_id: str) -> Membership:
    """Return the group's state and members; raises KafkaError, ConfigError."""
    for response in await admin.describe_consumer_groups([group_id]):
        for code, _, state, _, _, members, *_ in response.groups:
            error = for_code(code)
            if error is GroupAuthorizationFailedError:
                raise ConfigError(
                    f"Kafka does not tell of group {group_id}: the user needs the permission Describe on it"
                )
            if error is not NoError:
                raise error(group_id)
            return Membership(state, [f"{client_id} at {host.lstrip('/')}" for _, client_id, host, *_ in members])
    raise GroupCoordinatorNotAvailableError(group_id)


async def _offsets(
    admin: AIOKafkaAdminClient, group_id: str, sources: Sequence[TopicPartition]
) -> dict[TopicPartition, Committed]:
    """Return the committed offsets, of those partitions that have one; raises KafkaError.

    aiokafka overlooks an error about the group as a whole, such as a coordinator that is still loading it: then the
    partitions are missing from the answer. Taken for "nothing committed" it would replay the input.
    """
    places = {source: AioPartition(*source) for source in sources}
    found = await admin.list_consumer_group_offsets(group_id, partitions=list(places.values()))
    if not found.keys() >= set(places.values()):
        raise GroupCoordinatorNotAvailableError(group_id)
    told = {source: found[place] for source, place in places.items()}
    return {source: Committed(each.offset, each.metadata) for source, each in told.items() if each.offset >= 0}
