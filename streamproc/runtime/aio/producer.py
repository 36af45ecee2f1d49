"""A plain producer, for the simulated source: idempotent, no transactions."""

from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio.connection import connection, started, stopped
from streamproc.runtime.config import KafkaSettings

LINGER_MS = 5
BATCH_BYTES = 500_000


class AioProducer:
    """Sends records to one topic, partitioned by key."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._producer = AIOKafkaProducer(
            enable_idempotence=True,
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES,
            **connection(settings),
        )

    async def __aenter__(self) -> Self:
        """Connect; raises BrokerUnavailable."""
        await started(self._producer, self._settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what is left, unless something went wrong, and disconnect."""
        if error is None:
            await self._producer.flush()
        await stopped(self._producer)

    async def send(self, key: bytes | None, value: bytes | None, timestamp_ms: int) -> None:
        """Queue a record; waits while the queue is full. Raises BrokerUnavailable."""
        try:
            await self._producer.send(self._topic, value, key, timestamp_ms=timestamp_ms)
        except KafkaError as error:
            message = f"{self._topic} takes no records: {error!r}. Check that it exists (`streamproc topics create`)"
            raise BrokerUnavailable(message) from error
