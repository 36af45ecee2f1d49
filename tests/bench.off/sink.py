"""A process that reads committed transitions as they come, and notes when it saw each.

On librdkafka, and it decodes nothing: the header ce_id says which event a transition is of (rules.md 22). It says
`ready`, and ends some seconds of silence after SIGTERM.
"""

import signal
import time
from array import array
from pathlib import Path

import typer
from confluent_kafka import OFFSET_END, Consumer, TopicPartition

METADATA_S = 30
QUIET_S = 2.0


def main(bootstrap: str, topic: str, partitions: int, seen: Path) -> None:
    """Read `topic` from its end; to `seen` go the event's partition and offset and the monotonic time in ns of each."""
    leaving: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: leaving.append(number))
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-sink",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "log_level": 2,
        }
    )
    consumer.assign([TopicPartition(topic, number, OFFSET_END) for number in range(partitions)])
    for number in range(partitions):
        consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=METADATA_S)
    consumer.poll(1.0)
    print("ready", flush=True)
    found: list[tuple[bytes, int]] = []
    last = time.monotonic()
    while not leaving or time.monotonic() - last < QUIET_S:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append((next(value for name, value in message.headers() if name == "ce_id"), time.monotonic_ns()))
            last = time.monotonic()
    consumer.close()
    places = array("q")
    for event_id, at in found:
        _, partition, offset = event_id.rsplit(b":", 2)
        places.extend((int(partition), int(offset), at))
    with seen.open("wb") as file:
        places.tofile(file)


if __name__ == "__main__":
    typer.run(main)
