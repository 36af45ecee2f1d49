"""A process that writes simulated events to a topic at a steady rate, and when it wrote each.

Apart from what is measured, and on librdkafka: at 1,000 events a second it takes 3 to 5 % of a core. It encodes first,
says `ready`, waits for a line on its standard input, and then says what came of it.
"""

import sys
import time
from array import array
from pathlib import Path
from typing import Annotated, Any

import typer
from confluent_kafka import Message, Producer

from streamproc.local.simulate import simulate

TICK_S = 0.001
FLUSH_S = 30
LINGER_MS = 5
"""The default of librdkafka and, from 4.0 on, of Kafka's own client."""


def main(bootstrap: str, topic: str, rate: int, seconds: float, written: Annotated[Path, typer.Argument()]) -> None:
    """Write `rate` events a second; to `written` go partition, offset and the monotonic time in ns of each."""
    count = int(rate * seconds)
    stream = simulate(seed=1, events=count, rate_per_s=rate, start_ms=int(time.time() * 1000), bad_ratio=0)
    events = [(event.key, event.value) for event in stream]
    producer = Producer(
        {"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": LINGER_MS, "log_level": 2}
    )
    producer.list_topics(topic, timeout=FLUSH_S)
    places = array("q")
    print("ready", flush=True)
    sys.stdin.readline()
    late_ns = _send(producer, topic, rate, events, places)
    producer.flush(FLUSH_S)
    with written.open("wb") as file:
        places.tofile(file)
    print(
        f"{len(places) // 3} of {count} events written, at most {late_ns / 1e6:.0f} ms later than planned", flush=True
    )


def _send(producer: Producer, topic: str, rate: int, events: list[tuple[bytes, Any]], places: array) -> int:
    """Write each event when it is due; return by how much the latest was late, in ns."""
    began, done, latest = time.monotonic_ns(), 0, 0
    while done < len(events):
        due = min(len(events), (time.monotonic_ns() - began) * rate // 1_000_000_000 + 1)
        if done < due:
            latest = max(latest, time.monotonic_ns() - began - done * 1_000_000_000 // rate)
        for key, value in events[done:due]:
            at = time.monotonic_ns()

            def delivered(error: Any, message: Message, at: int = at) -> None:
                if error is None:
                    places.extend((message.partition(), message.offset(), at))

            producer.produce(topic, value, key, timestamp=time.time_ns() // 1_000_000, on_delivery=delivered)
        done = due
        producer.poll(0)
        time.sleep(TICK_S)
    return latest


if __name__ == "__main__":
    typer.run(main)
