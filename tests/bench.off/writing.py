"""Writes a backlog of simulated events, quickly."""

import time
from collections.abc import Iterable

from confluent_kafka import Producer

from streamproc.local.simulate import SimulatedEvent, simulate

START_MS = int(time.time()) * 1000 - 3_600_000
"""The same for all backlogs of a process, or they would not be the same."""
RATE_PER_S = 1_000
FLUSH_S = 60


def backlog(events: int, **options: int) -> Iterable[SimulatedEvent]:
    """Return good events from an hour ago on; the shorter of two backlogs is the beginning of the longer one."""
    return simulate(seed=1, events=events, rate_per_s=RATE_PER_S, start_ms=START_MS, bad_ratio=0, **options)


def write(bootstrap: str, topic: str, events: Iterable[SimulatedEvent]) -> None:
    """Write events, each to the partition of its key, and wait until all are there."""
    failures: list[object] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 50,
            "log_level": 2,
            "queue.buffering.max.messages": 50_000,
            "on_delivery": lambda error, _: error and failures.append(error),
        }
    )
    for event in events:
        while True:
            try:
                producer.produce(topic, event.value, event.key, timestamp=event.timestamp_ms)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    if producer.flush(FLUSH_S) or failures:
        raise RuntimeError(f"the backlog was not written: {failures[:1]}")
