"""How many connections a running worker has, whatever the number of partitions: on a real Kafka."""

from collections.abc import Callable
from typing import Any

from streamproc.codec.message import Message
from streamproc.runtime.aio import inquiries
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Committed, Member, NewTopic, TopicPartition
from tests.support.waiting import eventually

PARTITIONS = 64
MOST = 4
"""To one broker: one for the membership, one to fetch, two to commit."""
RECORD: Message = b"key", b"value", 1_000, []


class Listener:
    """Takes down what the group says."""

    member: Member | None = None
    places: frozenset[TopicPartition] = frozenset()

    def revoked(self) -> None:
        """Nothing is ours."""

    def assigned(self, sources: frozenset[TopicPartition], member: Member) -> None:
        """These are ours."""
        self.places, self.member = sources, member


def connections(*clients: Any) -> int:
    """Return how many of these clients' connections are open."""
    return sum(there.connected() for client in clients for there in client._conns.values())


async def test_a_worker_has_few_connections(
    kafka_bootstrap: str, unique: Callable[[str], str], monkeypatch: Any
) -> None:
    """It takes part, fetches all its partitions, commits to all of them, and asks now and then."""
    monkeypatch.setattr(inquiries, "IDLE_S", 0.01)
    kafka, topic = AioKafka(KafkaSettings(bootstrap_servers=kafka_bootstrap), unique("group")), unique("many")
    await kafka.create([NewTopic(topic, PARTITIONS, {"retention.ms": "-1"})])
    group, listener, fetcher = kafka.group([topic]), Listener(), await kafka.fetcher()
    await group.join(listener)
    await eventually(lambda: len(listener.places) == PARTITIONS)
    transactions = kafka.transactions(min(listener.places))
    await transactions.fence()
    for place in listener.places:
        fetcher.seek(place, 0)
    assert await kafka.stable([*listener.places]) == dict.fromkeys(listener.places)
    for number in range(3):
        assert await group.confirmed()
        offsets = {place: Committed(number, "") for place in listener.places}
        await transactions.commit({place: [RECORD] for place in listener.places}, offsets, listener.member)
    found: set[TopicPartition] = set()
    while len(found) < PARTITIONS:
        found |= {
            place
            for place, fetched in (await fetcher.poll(dict.fromkeys(listener.places, 10), 1)).items()
            if fetched.records
        }
    await eventually(lambda: kafka._inquiries._client is None)
    assert connections(group._client, fetcher._client, transactions._client) <= MOST
    assert connections(group._client) == 1, "heartbeats wait behind nothing else"
    assert group.partitions(topic) == PARTITIONS
    await transactions.close()
    await fetcher.close()
    await group.leave()
    await kafka.close()
