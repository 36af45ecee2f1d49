"""A plain producer, for the simulated source: idempotent, no transactions."""

import asyncio
from asyncio import Future
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ClusterAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio.connection import connection, started, stopped
from streamproc.runtime.aio.denials import on_topic
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.denied import Denied
from streamproc.runtime.rights import Operation

LINGER_MS = 5
BATCH_BYTES = 500_000


class AioProducer:
    """Sends records to one topic, partitioned by key."""

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._lost: BaseException | None = None
        self._producer = AIOKafkaProducer(
            enable_idempotence=True,
            linger_ms=LINGER_MS,
            max_batch_size=BATCH_BYTES,
            max_request_size=2 * max(BATCH_BYTES, settings.max_record_bytes),
            **connection(settings),
        )

    async def __aenter__(self) -> Self:
        """Connect; raises BrokerUnavailable."""
        await started(self._producer, self._settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what is left, unless something went wrong, and disconnect; raises as `send` for a lost record."""
        try:
            if error is None:
                await self._flush()
        finally:
            await stopped(self._producer)
        if error is None:
            self._raise_lost()

    async def send(self, key: bytes | None, value: bytes | None, timestamp_ms: int) -> None:
        """Queue a record; waits while the queue is full. Raises BrokerUnavailable."""
        self._raise_lost()
        try:
            delivery = await self._producer.send(self._topic, value, key, timestamp_ms=timestamp_ms)
        except KafkaError as error:
            self._lost = error
            self._raise_lost()
        else:
            delivery.add_done_callback(self._note)

    async def _flush(self) -> None:
        """Wait until everything is sent; aiokafka itself would do so for as long as the broker is away."""
        within_s = self._settings.request_timeout_ms / 1000
        try:
            async with asyncio.timeout(within_s):
                await self._producer.flush()
        except TimeoutError as error:
            self._raise_lost()
            raise BrokerUnavailable(f"{self._topic} did not take what was sent within {within_s:.0f} s") from error

    def _note(self, delivery: Future[Any]) -> None:
        if not delivery.cancelled() and delivery.exception() is not None:
            self._lost = delivery.exception()

    def _raise_lost(self) -> None:
        # Of the cluster: who may write to no topic may have no producer's number either.
        if isinstance(self._lost, TopicAuthorizationFailedError | ClusterAuthorizationFailedError):
            raise Denied(on_topic(Operation.WRITE, self._topic)) from self._lost
        if self._lost is not None:
            message = (
                f"{self._topic} takes no records: {self._lost!r}. Check that it exists (`streamproc topics create`)"
            )
            raise BrokerUnavailable(message) from self._lost
