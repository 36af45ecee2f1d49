"""Single records to one topic, apart from every transaction: by connections of its own, which delay nobody else."""

import asyncio
from collections import deque

from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError

from streamproc.codec.message import Message
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.aio.batches import plain
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import told
from streamproc.runtime.aio.connection import started, stopped
from streamproc.runtime.aio.denials import on_topic, refuse
from streamproc.runtime.aio.partitioner import partition_of
from streamproc.runtime.aio.produce import Producer, Refusal, why
from streamproc.runtime.aio.topics import partition_counts
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.rights import Operation
from streamproc.runtime.topics import absent

WRITE_S = 10.0
"""For one record, from the connection on."""
TIMEOUT_MS = 5_000
"""For the replicas to acknowledge it."""


class AioWriter:
    """Writes to one topic. Connects at the first record, and anew after a failure."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._client: Client | None = None

    async def write(self, message: Message) -> None:
        """Write a message; see the port."""
        try:
            async with asyncio.timeout(WRITE_S):
                await self._write(message)
        except BaseException as error:
            await self.close()
            if isinstance(error, Refusal):
                raise self._refused(error) from error
            if isinstance(error, TimeoutError):
                raise BrokerUnavailable(f"{self._topic} took no record within {WRITE_S:.0f} s") from error
            if isinstance(error, KafkaError):
                raise BrokerUnavailable(f"{self._topic} takes no records: {told(error)}") from error
            raise

    async def close(self) -> None:
        """Give up the connections."""
        client, self._client = self._client, None
        if client is not None:
            await stopped(client)

    async def _write(self, message: Message) -> None:
        client = await self._connected()
        partition = await self._partition(client, message[0] or b"")
        queue = deque([plain(message, self._settings.compression)])
        await Producer(client, None, TIMEOUT_MS).deliver({TopicPartition(self._topic, partition): queue})

    async def _connected(self) -> Client:
        if self._client is None:
            client = Client(self._settings, ConnectionGroup.DEFAULT)
            await started(client, self._settings)
            self._client = client
        return self._client

    async def _partition(self, client: Client, key: bytes) -> int:
        partitions = client.cluster.partitions_for_topic(self._topic)
        if partitions:
            return partition_of(key, len(partitions))
        # aiokafka's own look-up logs an error each time.
        count = (await partition_counts(client, [self._topic])).get(self._topic)
        if count is None:
            raise ConfigError(absent(self._topic))
        return partition_of(key, count)

    def _refused(self, refusal: Refusal) -> BrokerUnavailable:
        [error] = refusal.errors.values()
        refuse(error, on_topic(Operation.WRITE, self._topic))
        return BrokerUnavailable(f"{self._topic} takes no records: {why(error)}")
