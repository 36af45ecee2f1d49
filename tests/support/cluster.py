"""A cluster from outside: by librdkafka, which shares no code with the service, and from the log's own markers.

Every question is asked anew until a broker answers, so it may be asked in the middle of a fault.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AioPartition
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.control_record import COMMIT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords
from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

ANSWER_S = 5.0
FETCH_BYTES = 8 * 1024 * 1024
OFFSETS = "__consumer_offsets"


class Copies(NamedTuple):
    """Of one partition: the broker that leads, those that should have it, and those that have all of it."""

    leader: int
    replicas: frozenset[int]
    in_sync: frozenset[int]


class Cluster:
    """Asks the brokers."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        # A dead address among them is no matter; librdkafka complains of each one on stderr by default.
        self._options = {"bootstrap.servers": bootstrap, "log_level": 0, "socket.timeout.ms": int(ANSWER_S * 1000)}

    async def copies(self) -> dict[tuple[str, int], Copies]:
        """Return every partition there is, Kafka's own included."""
        metadata = await self._ask(lambda admin: admin.list_topics(timeout=ANSWER_S))
        return {
            (topic.topic, number): Copies(each.leader, frozenset(each.replicas), frozenset(each.isrs))
            for topic in metadata.topics.values()
            for number, each in topic.partitions.items()
        }

    async def lacking(self) -> list[tuple[str, int]]:
        """Return the partitions of which a broker that should does not have everything."""
        return [place for place, each in (await self.copies()).items() if each.in_sync < each.replicas]

    async def is_whole(self) -> bool:
        """Whether every partition has a leader and all of its copies are in sync."""
        copies = await self.copies()
        return all(each.leader >= 0 and each.in_sync == each.replicas for each in copies.values())

    async def coordinator(self, group: str) -> int:
        """Return the broker that coordinates a consumer group."""
        described = await self._ask(lambda admin: admin.describe_consumer_groups([group])[group].result(ANSWER_S))
        return int(described.coordinator.id)

    async def create(self, topic: str, brokers: Sequence[Sequence[int]], config: Mapping[str, str]) -> None:
        """Create a topic with these brokers for each partition, the first to lead it."""
        new = NewTopic(topic, len(brokers), replica_assignment=[list(each) for each in brokers], config=dict(config))
        await self._ask(lambda admin: admin.create_topics([new])[topic].result(ANSWER_S))

    async def held_back(self, topics: Callable[[str], bool]) -> dict[tuple[str, int], tuple[int, int]]:
        """Return last stable offset and high watermark where they differ: an open transaction is in between."""
        places = [place for place in await self.copies() if topics(place[0])]
        stable = await self._ends(places, IsolationLevel.READ_COMMITTED)
        high = await self._ends(places, IsolationLevel.READ_UNCOMMITTED)
        return {place: (stable[place], high[place]) for place in places if stable[place] != high[place]}

    async def _ends(self, places: list[tuple[str, int]], isolation: IsolationLevel) -> dict[tuple[str, int], int]:
        wanted = {TopicPartition(*place): OffsetSpec.latest() for place in places}
        answers = await self._ask(
            lambda admin: {
                place: answer.result(ANSWER_S)
                for place, answer in admin.list_offsets(wanted, isolation_level=isolation).items()
            }
        )
        return {(place.topic, place.partition): answer.offset for place, answer in answers.items()}

    async def _ask(self, question: Callable[[AdminClient], Any]) -> Any:
        """Ask in a thread, each time on new connections: one that is frozen would be asked again else."""
        while True:
            try:
                return await asyncio.to_thread(lambda: question(AdminClient(self._options)))
            except (KafkaException, TimeoutError):
                await asyncio.sleep(0.2)


class Marker(NamedTuple):
    """The end of one transaction in one partition: when it was written, in seconds, and which end it was."""

    at_s: float
    commit: bool


async def markers(bootstrap: str, topic: str, partition: int) -> list[Marker]:
    """Return the ends of all transactions in a partition, by its leader's clock; consumers do not show them."""
    place = AioPartition(topic, partition)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        consumer.assign([place])
        offset = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        found: list[Marker] = []
        while offset < end:
            leader = consumer._client.cluster.leader_for_partition(place)
            request = FetchRequest(500, 1, FETCH_BYTES, 0, [(topic, [(partition, offset, FETCH_BYTES)])])
            answer = await consumer._client.send(leader, request)
            for batch in _batches(answer.topics[0][1][0][-1]):
                offset = batch.next_offset
                if batch.is_control_batch:
                    found.append(Marker(batch.max_timestamp / 1000, _end(batch) == COMMIT_MARKER))
        return found
    finally:
        await consumer.stop()


def _batches(raw: bytes) -> Iterator[Any]:
    records = MemoryRecords(raw)
    while records.has_next():
        yield records.next_batch()


def _end(batch: Any) -> ControlRecord:
    return ControlRecord.parse(next(iter(batch)).key)
