"""One transaction for each commit, in a producer of the partition's own."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as AioPartition
from aiokafka.errors import IllegalOperation, InvalidTimestampError, KafkaError, MessageSizeTooLargeError
from aiokafka.structs import OffsetAndMetadata

from streamproc.codec.encode import Message
from streamproc.core.model import NO_TIMESTAMP
from streamproc.errors import ConfigError, TaskInvalid
from streamproc.runtime.aio.connection import connection, stopped
from streamproc.runtime.aio.headernames import AnyNamesBuilder
from streamproc.runtime.config import BATCH_BYTES, KafkaSettings
from streamproc.runtime.ports import Committed, Outputs, TopicPartition


class AioTransactions:
    """A transactional producer for one input partition; thrown away at its first failure."""

    def __init__(self, settings: KafkaSettings, group_id: str, source: TopicPartition) -> None:
        self._settings = settings
        self._group_id = group_id
        self._source = source
        compression = None if settings.compression == "none" else settings.compression
        self._producer = AIOKafkaProducer(
            transactional_id=f"{group_id}:{source.topic}:{source.partition}",
            transaction_timeout_ms=settings.transaction_timeout_ms,
            max_batch_size=BATCH_BYTES,
            compression_type=compression,
            **connection(settings),
        )

    async def fence(self) -> None:
        """Start: that fences the earlier producers of the transactional id."""
        try:
            async with asyncio.timeout(self._settings.request_timeout_ms / 1000):
                await self._producer.start()
        except (KafkaError, TimeoutError, AssertionError) as error:
            raise TaskInvalid(f"the transactional producer of {self._source} did not start: {error!r}") from error

    async def commit(self, outputs: Outputs, committed: Committed, may_commit: Callable[[], bool]) -> None:
        """Write everything in one transaction; see the port."""
        try:
            # aiokafka would retry the end of a transaction for ever, and a late one could end the next (DESIGN.md).
            async with asyncio.timeout(self._settings.commit_deadline_s):
                await self._producer.begin_transaction()
                await self._send_all(outputs, committed)
                if not may_commit():
                    await self._producer.abort_transaction()
                    raise TaskInvalid(f"{self._source} was revoked before its commit")
                await self._producer.commit_transaction()
        except MessageSizeTooLargeError as error:
            # Again and again it would be: retrying is no way out.
            message = (
                f"an output of the records of {self._source} before offset "
                f"{committed.offset} is larger than its topic admits: raise max.message.bytes of the output topics"
            )
            raise ConfigError(message) from error
        except (InvalidTimestampError, OverflowError) as error:
            message = (
                f"an output of the records of {self._source} before offset {committed.offset} has a timestamp that its "
                "topic does not admit: raise its message.timestamp.before.max.ms or .after.max.ms, or set "
                "message.timestamp.type=LogAppendTime where it is no input"
            )
            raise ConfigError(message) from error
        except (KafkaError, IllegalOperation, TimeoutError, AssertionError) as error:
            # IllegalOperation is no KafkaError: it is what a send says once another one has heard of the fencing.
            raise TaskInvalid(f"the transaction of {self._source} was not confirmed: {error!r}") from error

    async def close(self) -> None:
        """Give up the connections, transaction or not."""
        await stopped(self._producer)

    async def _send_all(self, outputs: Outputs, committed: Committed) -> None:
        offsets = {AioPartition(*self._source): OffsetAndMetadata(committed.offset, committed.metadata)}
        sends = [self._send(to, messages) for to, messages in outputs.items()]
        results = await asyncio.gather(
            *sends,
            self._producer.send_offsets_to_transaction(offsets, self._group_id),
            return_exceptions=True,
        )
        # A failed send leaves the transaction committable, without the lost record (DESIGN.md): look at each one.
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _send(self, to: TopicPartition, messages: Sequence[Message]) -> None:
        futures = [
            await self._producer.send_batch(batch, to.topic, partition=to.partition)
            for batch in self._batches(messages)
        ]
        await asyncio.gather(*futures)

    def _batches(self, messages: Sequence[Message]) -> Iterator[Any]:
        make: Callable[[], Any] = self._producer.create_batch
        batch, timeless = make(), False
        for message in messages:
            if timeless and message[2] != NO_TIMESTAMP:
                # aiokafka's compiled builder takes a first one of -1 for none yet, and gives it that of the next.
                yield batch
                batch = make()
            timeless = message[2] == NO_TIMESTAMP
            try:
                fits = _add(batch, message)
            except UnicodeEncodeError:
                # From here on all is built the slower way: a request for each such record would take too long.
                make, fits = partial(AnyNamesBuilder, self._producer), False
            if not fits:
                if batch.record_count():
                    yield batch
                batch = make()
                _add(batch, message)
        yield batch


def _add(batch: Any, message: Message) -> bool:
    key, value, timestamp, headers = message
    return batch.append(key=key, value=value, timestamp=timestamp, headers=headers) is not None
