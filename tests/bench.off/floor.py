"""What the figures are compared with in the same run: a loop of aiokafka and fastavro that writes nothing."""

import io
import time
from contextlib import suppress

import fastavro

from streamproc.codec.framing import SINGLE_OBJECT_BYTES
from streamproc.codec.schemas import load
from tests.support.service import Fleet


async def floor_cpu_seconds(fleet: Fleet, events: int) -> float:
    """Return CPU-seconds per event of reading and decoding about `events` of the fleet's input."""
    schema = load("run_object_v2_1")
    began, count = time.process_time(), 0
    for partition in range(fleet.partitions):
        reader = await fleet.kafka.reader(fleet.topics.events, partition)
        first, last = await reader.bounds()
        await reader.seek(first)
        while count < events * (partition + 1) // fleet.partitions and await reader.position() < last:
            for record in (await reader.fetch(2_000, 1.0)).records:
                count += 1
                if record.value is not None and record.value.startswith(schema.header):
                    _decode(record.value, schema.parsed)
        await reader.close()
    return (time.process_time() - began) / count


def _decode(value: bytes, schema: object) -> None:
    with suppress(Exception):  # The stream may have bad records.
        fastavro.schemaless_reader(io.BytesIO(value[SINGLE_OBJECT_BYTES:]), schema, None)
