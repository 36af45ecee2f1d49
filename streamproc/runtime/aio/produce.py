"""Batches to the leaders of their partitions: one request for each leader, and an answer for each partition."""

import asyncio
from collections import deque
from collections.abc import Mapping

from aiokafka import TopicPartition as AioPartition
from aiokafka.errors import (
    DuplicateSequenceNumber,
    KafkaConnectionError,
    KafkaError,
    KafkaStorageError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderForPartitionError,
    ReplicaNotAvailableError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import FencedLeaderEpochError, UnknownLeaderEpochError, error_of, name
from streamproc.runtime.aio.wire import Produce
from streamproc.runtime.ports import TopicPartition

REQUEST_BYTES = 16 << 20
"""Of the batches in one request; a broker admits 100 MiB by default."""
TRIES = 6
FIRST_WAIT_S = 0.05
"""The wait before leaders are looked up again; it doubles each time. A new topic has its leaders within a second."""
NO_LEADER = (
    FencedLeaderEpochError,
    KafkaStorageError,
    LeaderNotAvailableError,
    NotLeaderForPartitionError,
    ReplicaNotAvailableError,
    UnknownLeaderEpochError,
    UnknownTopicOrPartitionError,
)
"""Errors that another broker may no longer return in a moment; nothing was written."""
UNVERIFIED = NotEnoughReplicasError
"""Also returned by a broker (4.1) that could not ask the coordinator about the transaction; nothing was written."""
OUT_OF_REACH = KafkaConnectionError, NodeNotReadyError
"""Whether the batch was written is unknown; its sequence numbers prevent that it is written twice."""
REASONS = (
    ((NotEnoughReplicasError, NotEnoughReplicasAfterAppendError), "fewer replicas are in sync than it must have"),
    (RequestTimedOutError, "its replicas do not acknowledge"),
    (LeaderNotAvailableError, "no broker leads it"),
)
"""Reasons in our words; for other errors the broker's message is shown."""

Queues = dict[TopicPartition, deque[bytes]]


class Refusal(Exception):
    """Partitions that accepted nothing, each with its error."""

    def __init__(self, errors: Mapping[TopicPartition, KafkaError]) -> None:
        super().__init__(str(errors))
        self.errors = errors


class Producer:
    """Sends batches; without a `transactional_id`, outside any transaction.

    `trouble`: why some batches are being sent again, None if none are. `unanswered`: how many requests had no answer;
    they may still arrive.
    """

    def __init__(self, client: Client, transactional_id: str | None, timeout_ms: int) -> None:
        self._client = client
        self._transactional_id = transactional_id
        self._timeout_ms = timeout_ms
        self.trouble: KafkaError | None = None
        self.unanswered = 0

    async def deliver(self, queues: Queues) -> None:
        """Send all queued batches, those of each partition in their order.

        Raises Refusal if partitions accept nothing, KafkaError if a leader does not answer. By then no request is under
        way.
        """
        await self._client.know({place.topic for place in queues})
        wait_s = FIRST_WAIT_S
        for attempt in range(1, TRIES + 1):
            errors = await self._to_leaders(queues)
            refused = {place: error for place, error in errors.items() if attempt == TRIES or not _may_pass(error)}
            self.trouble = _worst(errors)
            if self.trouble is None:
                return
            if isinstance(self.trouble, OUT_OF_REACH) and attempt == TRIES:
                raise self.trouble
            if refused:
                raise Refusal(refused)
            await asyncio.sleep(wait_s)
            await self._client.force_metadata_update()
            wait_s *= 2

    async def _to_leaders(self, queues: Queues) -> dict[TopicPartition, KafkaError]:
        """Send the queued batches once; return the errors of partitions that did not accept theirs."""
        errors: dict[TopicPartition, KafkaError] = {}
        by_leader: dict[int, Queues] = {}
        for place, queue in queues.items():
            leader = self._client.cluster.leader_for_partition(AioPartition(*place))
            if not queue:
                continue
            if leader is None and place.topic in self._client.hidden:
                errors[place] = TopicAuthorizationFailedError(place.topic)
            elif leader is None or leader < 0:
                errors[place] = LeaderNotAvailableError()
            else:
                by_leader.setdefault(leader, {})[place] = queue
        parts = await asyncio.gather(*(self._to_leader(leader, each) for leader, each in by_leader.items()))
        for part in parts:
            errors |= part
        return errors

    async def _to_leader(self, leader: int, queues: Queues) -> dict[TopicPartition, KafkaError]:
        """Send the batches of one leader's partitions, one request after another; return the errors by partition."""
        errors: dict[TopicPartition, KafkaError] = {}
        queues = dict(queues)
        while queues:
            batches = _first_batches(queues)
            refused = await self._ask(leader, batches)
            for place in batches:
                if place in refused:
                    errors[place] = refused[place]
                    del queues[place]
                    continue
                queues[place].popleft()
                # Behind the partitions that have not had their turn yet.
                queue = queues.pop(place)
                if queue:
                    queues[place] = queue
        return errors

    async def _ask(self, leader: int, batches: Mapping[TopicPartition, bytes]) -> dict[TopicPartition, KafkaError]:
        request = Produce(self._transactional_id, self._timeout_ms, batches)
        self.unanswered += 1
        try:
            response = await self._client.send(leader, request)
        except KafkaError as failure:
            self.unanswered -= isinstance(failure, NodeNotReadyError)
            return dict.fromkeys(batches, failure)
        self.unanswered -= 1
        errors: dict[TopicPartition, KafkaError] = {}
        for topic, partitions in response.topics:
            for partition, code, *_, why in partitions:
                error = error_of(code)
                if error is not None and not isinstance(error, DuplicateSequenceNumber):
                    error.args = (why,) if why else error.args
                    errors[TopicPartition(topic, partition)] = error
        return errors


def _first_batches(queues: Queues) -> dict[TopicPartition, bytes]:
    """Return the next batch of each partition, as many as fit into one request: at least one."""
    batches: dict[TopicPartition, bytes] = {}
    size = 0
    for place, queue in queues.items():
        size += len(queue[0])
        if batches and size > REQUEST_BYTES:
            break
        batches[place] = queue[0]
    return batches


def _may_pass(error: KafkaError) -> bool:
    return isinstance(error, (*NO_LEADER, *OUT_OF_REACH, UNVERIFIED))


def _worst(errors: Mapping[TopicPartition, KafkaError]) -> KafkaError | None:
    """Return the error that says most, None where there is none: one about a connection is not about a partition."""
    return next(iter(sorted(errors.values(), key=lambda error: not isinstance(error, OUT_OF_REACH))), None)


def why(error: KafkaError) -> str:
    """Return why a partition accepts no records."""
    more = next((text for kinds, text in REASONS if isinstance(error, kinds)), str(next(iter(error.args), "")))
    return f"{name(error)}, {more}" if more else name(error)
