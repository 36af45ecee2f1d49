"""How the records that a topic holds are framed: what comes next may not be, and whoever reads knows only one."""

from streamproc.codec.framing import CONFLUENT_MAGIC, Framing
from streamproc.runtime.ports import Kafka, TopicPartition
from streamproc.runtime.reading import read_span

LAST_OFFSETS = 20
"""Of a partition: the very last ones are transactions' markers, as a rule."""


async def framing_in(kafka: Kafka, topic: str, partitions: int) -> Framing | None:
    """Return how a topic's latest records are framed, None where it holds none; raises BrokerUnavailable, Gone."""
    for partition in range(partitions):
        first, last = await kafka.bounds(topic, partition)
        values: list[bytes] = []
        async for records in read_span(kafka, TopicPartition(topic, partition), max(first, last - LAST_OFFSETS), last):
            values += [record.value for record in records if record.value]
        if values:
            return "confluent" if values[-1][0] == CONFLUENT_MAGIC else "single_object"
    return None
