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
from streamproc.runtime.aio.codes import FencedLeaderEpochError, UnknownLeaderEpochError, name, told
from streamproc.runtime.aio.wire import Produce
from streamproc.runtime.ports import TopicPartition

REQUEST_BYTES = 16 << 20
"""Of batches in one request; a broker takes 100 MiB by default."""
TRIES = 6
FIRST_WAIT_S = 0.05
"""Before a leader is looked for again; twice as long each time. A new topic has its leaders within a second."""
NO_LEADER = (
    FencedLeaderEpochError,
    KafkaStorageError,
    LeaderNotAvailableError,
    NotLeaderForPartitionError,
    ReplicaNotAvailableError,
    UnknownLeaderEpochError,
    UnknownTopicOrPartitionError,
)
"""What another broker may say no more in a moment; nothing was written."""
UNVERIFIED = NotEnoughReplicasError
"""What a broker also says that could not ask the coordinator about the transaction (4.1); nothing was written."""
OUT_OF_REACH = KafkaConnectionError, NodeNotReadyError
"""Nobody knows whether it was written; the numbers in the batches see to it that it is not written twice."""
REASONS = (
    ((NotEnoughReplicasError, NotEnoughReplicasAfterAppendError), "fewer replicas are in sync than it must have"),
    (RequestTimedOutError, "its replicas do not acknowledge"),
    (LeaderNotAvailableError, "no broker leads it"),
)
"""In our words; of others the broker's are told."""

Queues = dict[TopicPartition, deque[bytes]]


class Refusal(Exception):
    """Partitions that took nothing, each with its error."""

    def __init__(self, errors: Mapping[TopicPartition, KafkaError]) -> None:
        super().__init__(str(errors))
        self.errors = errors


class Producer:
    """Sends batches; of no transaction where there is no `transactional_id`.

    `trouble`: why some of them are being sent again, None where none are. `unanswered`: how many requests had no
    answer; they may still arrive.
    """

    def __init__(self, client: Client, transactional_id: str | None, timeout_ms: int) -> None:
        self._client = client
        self._transactional_id = transactional_id
        self._timeout_ms = timeout_ms
        self.trouble: KafkaError | None = None
        self.unanswered = 0

    async def deliver(self, queues: Queues) -> None:
        """Send all that is queued, each partition's in its order.

        Raises Refusal where partitions take nothing, KafkaError where a leader gives no answer. By then nothing is
        under way any more.
        """
        await self._client.know({place.topic for place in queues})
        wait_s = FIRST_WAIT_S
        for attempt in range(1, TRIES + 1):
            found = await self._to_leaders(queues)
            refused = {place: error for place, error in found.items() if attempt == TRIES or not _may_pass(error)}
            self.trouble = _worst(found)
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
        """Send what is queued once; return what was not taken."""
        found: dict[TopicPartition, KafkaError] = {}
        by_leader: dict[int, Queues] = {}
        for place, queue in queues.items():
            leader = self._client.cluster.leader_for_partition(AioPartition(*place))
            if not queue:
                continue
            if leader is None and place.topic in self._client.hidden:
                found[place] = TopicAuthorizationFailedError(place.topic)
            elif leader is None or leader < 0:
                found[place] = LeaderNotAvailableError()
            else:
                by_leader.setdefault(leader, {})[place] = queue
        errors = await asyncio.gather(*(self._to_leader(leader, each) for leader, each in by_leader.items()))
        for each in errors:
            found |= each
        return found

    async def _to_leader(self, leader: int, queues: Queues) -> dict[TopicPartition, KafkaError]:
        """Send the batches of one leader's partitions, a request after the other; return what was not taken."""
        found: dict[TopicPartition, KafkaError] = {}
        queues = dict(queues)
        while queues:
            batches = _first_batches(queues)
            errors = await self._ask(leader, batches)
            for place in batches:
                if place in errors:
                    found[place] = errors[place]
                    del queues[place]
                    continue
                queues[place].popleft()
                # Behind those that have not had their turn yet.
                queue = queues.pop(place)
                if queue:
                    queues[place] = queue
        return found

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
                error = told(code)
                if error is not None and not isinstance(error, DuplicateSequenceNumber):
                    error.args = (why,) if why else error.args
                    errors[TopicPartition(topic, partition)] = error
        return errors


def _first_batches(queues: Queues) -> dict[TopicPartition, bytes]:
    """Return the next batch of each partition, as many as one request takes: at least one."""
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
    """Return why a partition takes no records."""
    more = next((text for kinds, text in REASONS if isinstance(error, kinds)), str(next(iter(error.args), "")))
    return f"{name(error)}, {more}" if more else name(error)
