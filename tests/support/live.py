"""A source that goes on whatever the brokers do: librdkafka, idempotent, with minutes of patience."""

import asyncio
import time
from collections.abc import Iterable

from confluent_kafka import KafkaError, Message, Producer

from streamproc.local.simulate import SimulatedEvent

PATIENCE_S = 600
TICK_S = 0.02


class LiveSource:
    """Sends events evenly, so many a second; what an outage held up follows at once. Run it once."""

    def __init__(self, bootstrap: str, topic: str, events: Iterable[SimulatedEvent], per_second: float) -> None:
        self.sent = 0
        self.last_ms = 0
        """The latest event time that was sent."""
        self.slowest_s = 0.0
        """The longest time that a record waited for its acknowledgement."""
        self._topic = topic
        self._events = iter(events)
        self._per_second = per_second
        self._ended = False
        self._failures: list[str] = []
        options = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "delivery.timeout.ms": PATIENCE_S * 1000,
            # Else it would wait a minute for the answer of a broker that is frozen, whoever leads by then.
            "socket.timeout.ms": 10_000,
            "topic.metadata.refresh.interval.ms": 2_000,
            "log_level": 0,
        }
        self._producer = Producer(options)

    def end(self) -> None:
        """Send no more."""
        self._ended = True

    async def run(self) -> None:
        """Send until there is nothing more, or `end`; return when the brokers have all of it."""
        began = time.monotonic()
        while not self._ended:
            due = int((time.monotonic() - began) * self._per_second)
            while self.sent < due and not self._ended:
                self._send_next()
            self._producer.poll(0)
            await asyncio.sleep(TICK_S)
        unsent = await asyncio.to_thread(self._producer.flush, PATIENCE_S)
        assert (unsent, self._failures) == (0, [])

    def _send_next(self) -> None:
        event = next(self._events, None)
        if event is None:
            self._ended = True
            return
        self._producer.produce(
            self._topic, event.value, event.key, timestamp=event.timestamp_ms, on_delivery=self._delivered
        )
        self.sent += 1
        self.last_ms = max(self.last_ms, event.timestamp_ms)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        self.slowest_s = max(self.slowest_s, message.latency() or 0.0)
        if error is not None:
            self._failures.append(str(error))
