"""A transactional producer: one transaction for each commit, fenced by the group's generation (KIP-447).

aiokafka's producer sends no generation, has one error for all partitions, and retries without a bound. So this one uses
only aiokafka's connections, requests and batches.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from aiokafka.client import CoordinationType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    ConcurrentTransactions,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTimestampError,
    InvalidTxnState,
    KafkaError,
    MessageSizeTooLargeError,
    OperationNotAttempted,
    OutOfOrderSequenceNumber,
    RequestTimedOutError,
    UnknownProducerId,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.transaction import AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest

from streamproc.errors import ConfigError, StreamprocError, TaskInvalid
from streamproc.runtime.aio.batches import Batches
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import ProducerFencedError, TransactionAbortableError, error_of, told
from streamproc.runtime.aio.connection import stopped
from streamproc.runtime.aio.coordinators import BUSY, Coordinator, one_code, producer_of
from streamproc.runtime.aio.denials import OF_ID, OF_TOPIC, on_group, on_id, on_topic, refuse
from streamproc.runtime.aio.produce import Producer, Queues, Refusal, why
from streamproc.runtime.aio.wire import NOBODY, TxnOffsetCommit, by_topic
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import Committed, Member, OutputRefused, Outputs, StillEnding, TopicPartition
from streamproc.runtime.rights import Operation, Right

ABORT_S = 1.0
"""How long an abort may take; without one the broker aborts at the transaction's time-out."""
OFFSETS_BUSY = *BUSY, UnknownTopicOrPartitionError, RequestTimedOutError
NOT_THE_PARTITION = (
    ClusterAuthorizationFailedError,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    OutOfOrderSequenceNumber,
    ProducerFencedError,
    TransactionAbortableError,
    UnknownProducerId,
)
"""Errors of a partition's leader that are about the producer or its transaction."""
FOR_GOOD = MessageSizeTooLargeError, InvalidTimestampError


class AioTransactions:
    """A transactional producer with the id of one input partition; of no use after its first failure.

    It has one connection for batches, and one for the coordinators of the transaction and of the group.
    """

    def __init__(self, settings: KafkaSettings, group_id: str, source: TopicPartition) -> None:
        self._settings = settings
        self._group_id = group_id
        self._source = source
        self._id = transactional_id(group_id, source)
        self._client = Client(settings)
        self._coordinator = Coordinator(self._client, CoordinationType.TRANSACTION, self._id)
        self._group = Coordinator(self._client, CoordinationType.GROUP, group_id)
        produce_timeout_ms = int(settings.commit_deadline_s * 2 / 3 * 1000)
        self._leaders = Producer(self._client, self._id, produce_timeout_ms)
        self._producer = -1, -1
        self._batches = Batches(settings.compression, self._producer)
        self._good = False
        self._begun = False

    async def fence(self) -> None:
        """Get a new epoch, which fences the earlier producers of the transactional id."""
        try:
            async with asyncio.timeout(self._settings.request_timeout_ms / 1000):
                await self._client.bootstrap()
                self._producer = await producer_of(self._coordinator, self._id, self._settings.transaction_timeout_ms)
        except (KafkaError, TimeoutError) as error:
            cause = self._cause(error)
            refuse(cause, on_id(self._group_id, self._id))
            kind = StillEnding if isinstance(cause, ConcurrentTransactions) else TaskInvalid
            raise kind(f"the transactional producer of {self._source} did not start: {told(cause)}") from cause
        self._batches = Batches(self._settings.compression, self._producer)
        self._good = True

    async def commit(
        self, outputs: Outputs, offsets: Mapping[TopicPartition, Committed], member: Member | None = None
    ) -> None:
        """Write everything in one transaction; see the port."""
        if not self._good:
            raise TaskInvalid(f"the transactional producer of {self._source} has failed before")
        # From here on this producer may be used again only if the broker confirms the end.
        self._good = False
        try:
            # After the deadline this producer sends nothing: a late EndTxn would end the next transaction.
            async with asyncio.timeout(self._settings.commit_deadline_s):
                await self._transact(outputs, offsets, member or NOBODY)
            self._good = True
        except Refusal as refusal:
            refuse_outputs(refusal, on_id(self._group_id, self._id))
            raise _error_for(refusal, offsets) from refusal.__cause__
        except (KafkaError, TimeoutError) as error:
            cause = self._cause(error)
            refuse(cause, on_id(self._group_id, self._id), on_group(Operation.READ, self._group_id))
            raise TaskInvalid(f"the transaction of {self._source} was not confirmed: {told(cause)}") from cause
        finally:
            if not self._good:
                await self._give_up()

    async def close(self) -> None:
        """Close the connections, even within a transaction."""
        self._good = False
        await stopped(self._client)

    async def _transact(self, outputs: Outputs, offsets: Mapping[TopicPartition, Committed], member: Member) -> None:
        places = [place for place, messages in outputs.items() if messages]
        if not places and not offsets:
            return
        self._begun = True
        # Partitions are added before batches are sent: brokers before 3.6 take batches of a partition that was not
        # added, and that transaction would never end there.
        _, queues = await _all(self._add_partitions(places), self._built(outputs))
        await _all(self._leaders.deliver(queues), self._add_offsets(offsets))
        # Offsets are not sent beside the batches: a broker asks the coordinator about both, one at a time (4.1).
        # They are sent before the end: where they are refused, an EndTxn would commit the records without them, and the
        # input would be processed twice.
        await self._send_offsets(offsets, member)
        # From here on the outcome may be a commit, so we must not abort.
        self._begun = False
        await self._end(commit=True)

    async def _add_partitions(self, places: Iterable[TopicPartition]) -> None:
        topics = by_topic((place, place.partition) for place in places)
        if not topics:
            return
        request = AddPartitionsToTxnRequest(self._id, *self._producer, topics)
        response = await self._coordinator.ask(request, _partition_codes)
        errors = _errors(response)
        # OperationNotAttempted is not the cause: another partition of the request was refused.
        refused = {place: error for place, error in errors.items() if not isinstance(error, OperationNotAttempted)}
        if refused or errors:
            raise Refusal(refused or errors)

    async def _built(self, outputs: Outputs) -> Queues:
        """Return the batches of each partition; other asyncio tasks run in between."""
        queues: Queues = {}
        for place, messages in outputs.items():
            if not messages:
                continue
            queues[place] = deque()
            try:
                for batch in self._batches.of(place, messages):
                    queues[place].append(batch)
                    await asyncio.sleep(0)
            except OverflowError:
                raise Refusal({place: InvalidTimestampError()}) from None
        return queues

    async def _add_offsets(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        if not offsets:
            return
        request = AddOffsetsToTxnRequest(self._id, *self._producer, self._group_id)
        response = await self._coordinator.ask(request, one_code)
        error = error_of(response.error_code)
        if error is not None:
            raise error

    async def _send_offsets(self, offsets: Mapping[TopicPartition, Committed], member: Member) -> None:
        if not offsets:
            return
        request = TxnOffsetCommit(self._id, self._group_id, self._producer, member, offsets)
        errors = _errors(await self._group.ask(request, _partition_codes, OFFSETS_BUSY))
        for place, error in errors.items():
            refuse(error, on_topic(Operation.READ, place.topic))
            raise error

    async def _end(self, *, commit: bool) -> None:
        response = await self._coordinator.ask(EndTxnRequest(self._id, *self._producer, commit), one_code)
        error = error_of(response.error_code)
        if error is not None:
            raise error

    async def _give_up(self) -> None:
        """Abort the transaction, so that no reader waits for its time-out, and close the connections.

        Where a request had no answer, nothing is aborted: the request may arrive after the abort, and brokers before
        3.6 would begin a transaction with it that never ends. There the next fence aborts.
        """
        parts = self._coordinator, self._group, self._leaders
        if self._begun and not any(part.unanswered for part in parts):
            with suppress(KafkaError, TimeoutError, ConfigError):
                async with asyncio.timeout(ABORT_S):
                    await self._end(commit=False)
        self._client.hang_up()

    def _cause(self, error: Exception) -> Exception:
        """Return the last trouble behind a time-out where there was one, else the error itself."""
        troubles = (self._coordinator.trouble, self._leaders.trouble, self._group.trouble)
        told_of = next((trouble for trouble in troubles if trouble is not None), None)
        return told_of if told_of is not None and isinstance(error, TimeoutError) else error


def refuse_outputs(refusal: Refusal, own_id: Right) -> None:
    """Raise Denied where partitions refuse because a right is missing."""
    for place, error in refusal.errors.items():
        if isinstance(error, OF_ID):
            raise Denied(own_id) from error
        if isinstance(error, OF_TOPIC):
            of_topic = [each for each in refusal.errors if each.topic == place.topic]
            raise Denied(on_topic(Operation.WRITE, place.topic), places=of_topic) from error


def _error_for(refusal: Refusal, offsets: Mapping[TopicPartition, Committed]) -> StreamprocError:
    """Return the error to raise for a refusal, and set the refusal's cause."""
    errors = refusal.errors
    # An error about the producer comes first: an OutputRefused would only be retried.
    place, error = min(errors.items(), key=lambda each: _rank(each[1]))
    refusal.__cause__ = error
    if isinstance(error, NOT_THE_PARTITION):
        return TaskInvalid(f"{place} takes no records of this transaction: {told(error)}")
    if isinstance(error, MessageSizeTooLargeError):
        # A retry would meet the same error.
        return ConfigError(
            f"an output for {place}{_of(place, offsets)} is larger than its topic admits: raise max.message.bytes of "
            f"{place.topic}"
        )
    if isinstance(error, InvalidTimestampError):
        return ConfigError(
            f"an output for {place}{_of(place, offsets)} has a timestamp that its topic does not admit: raise "
            f"message.timestamp.before.max.ms or .after.max.ms of {place.topic}, or set "
            "message.timestamp.type=LogAppendTime where it is no input"
        )
    return OutputRefused(place, why(error), frozenset(errors))


def _of(place: TopicPartition, offsets: Mapping[TopicPartition, Committed]) -> str:
    """Name the records that an output was made of: most outputs keep the number of the input partition (rules.md 2)."""
    sources = [
        f"the records of {source} before offset {committed.offset}"
        for source, committed in offsets.items()
        if source.partition == place.partition
    ]
    return f", made of {' or '.join(sources)}," if sources else ""


def _rank(error: KafkaError) -> int:
    return next((rank for rank, kinds in enumerate((NOT_THE_PARTITION, FOR_GOOD)) if isinstance(error, kinds)), 2)


def _errors(response: Any) -> dict[TopicPartition, KafkaError]:
    """Return the errors in a response, by partition."""
    return {
        TopicPartition(topic, partition): error
        for topic, partitions, *_ in response.errors
        for partition, code, *_ in partitions
        if (error := error_of(code)) is not None
    }


def _partition_codes(response: Any) -> list[int]:
    """Return the error codes in a response about partitions."""
    return [code for _, partitions, *_ in response.errors for _, code, *_ in partitions]


def transactional_id(group_id: str, source: TopicPartition) -> str:
    """Return the transactional id of an input partition (rules.md 3)."""
    return f"{group_id}:{source.topic}:{source.partition}"


async def _all(*parts: Awaitable[Any]) -> list[Any]:
    """Return the results of all parts; raise the first error only once all parts have ended.

    A request that is still under way when a transaction is aborted might arrive in the next one.
    """
    results = await asyncio.gather(*parts, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
