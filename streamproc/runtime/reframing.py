"""How the records that a topic holds are framed: what comes next may not be, and whoever reads knows only one."""

from streamproc.codec.framing import CONFLUENT_MAGIC
from streamproc.runtime.ports import Kafka, TopicPartition
from streamproc.runtime.reading import read_span

LAST_OFFSETS = 20
"""Of a partition: the very last ones are transactions' markers, as a rule."""
CONFLUENT, SINGLE_OBJECT = "Confluent", "single-object encoding"


async def framing_in(kafka: Kafka, topic: str, partitions: int) -> str | None:
    """Return how a topic's latest records are framed, None where it holds none; raises BrokerUnavailable, Gone."""
    for partition in range(partitions):
        first, last = await kafka.bounds(topic, partition)
        values: list[bytes] = []
        async for records in read_span(kafka, TopicPartition(topic, partition), max(first, last - LAST_OFFSETS), last):
            values += [record.value for record in records if record.value]
        if values:
            return CONFLUENT if values[-1][0] == CONFLUENT_MAGIC else SINGLE_OBJECT
    return None
