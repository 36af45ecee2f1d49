"""Membership in the consumer group, by a consumer that reads nothing."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as AioPartition
from aiokafka.client import ConnectionGroup
from aiokafka.errors import GroupAuthorizationFailedError, InconsistentGroupProtocolError, KafkaError

from streamproc.errors import ConfigError
from streamproc.runtime.aio.assignor import paired
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.connection import connection, started, stopped
from streamproc.runtime.aio.denials import on_group
from streamproc.runtime.aio.failures import refuse_deaf
from streamproc.runtime.aio.membership import Membership
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.denied import Denied
from streamproc.runtime.ports import GroupListener, TopicPartition
from streamproc.runtime.rights import Operation

MAX_HEARTBEAT_MS = 3_000
POLL_WAIT_S = 0.1


class AioGroup(ConsumerRebalanceListener):
    """Membership in the consumer group, with a consumer that reads nothing: one connection, to the coordinator."""

    def __init__(self, settings: KafkaSettings, group_id: str, topics: Sequence[str]) -> None:
        self._settings = settings
        self._group_id = group_id
        self._topics = topics
        self._listener: GroupListener | None = None
        self._polling: asyncio.Task[Any] | None = None
        self._standing: Membership | None = None
        self._denied: Denied | None = None
        self._consumer = AIOKafkaConsumer(
            group_id=group_id,
            group_instance_id=settings.group_instance_id,
            partition_assignment_strategy=(paired(topics[0]),),
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=min(MAX_HEARTBEAT_MS, settings.session_timeout_ms // 3),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            **connection(settings),
        )
        self._client = Client(settings, ConnectionGroup.COORDINATION)
        self._consumer._client = self._client  # noqa: SLF001  it has made one of aiokafka's, and not started it

    async def join(self, listener: GroupListener) -> None:
        """Start taking part."""
        self._listener = listener
        await started(self._consumer, self._settings)
        self._standing = Membership(self._consumer, self._client, self._settings, self._group_id)
        self._consumer.subscribe(list(self._topics), listener=self)

    async def confirmed(self) -> bool:
        """Send a heartbeat now and tell whether the current generation is ours."""
        return self._standing is not None and await self._standing.confirmed()

    async def poll(self) -> None:
        """Keep the membership alive: aiokafka leaves a group whose consumer does not ask for records."""
        if self._standing is not None and self._standing.refused is not None:
            raise self._standing.refused
        refuse_deaf(self._consumer)
        if self._polling is None:
            self._polling = asyncio.create_task(self._consumer.getmany(timeout_ms=0))
        # During a rebalance aiokafka answers only when that is over: not while the broker is away, or a member hangs.
        await asyncio.wait({self._polling}, timeout=POLL_WAIT_S)
        if not self._polling.done():
            return
        polled, self._polling = self._polling, None
        try:
            polled.result()
        except GroupAuthorizationFailedError:
            # Each poll that says so lets aiokafka try once more.
            self._denied = Denied(on_group(Operation.READ, self._group_id))
        except InconsistentGroupProtocolError as error:
            message = (
                f"a worker of another release is in the group {self._group_id}, and the two cannot share it: stop all "
                "workers of that release first. One that was killed counts for its kafka.session_timeout_ms"
            )
            raise ConfigError(message) from error
        except KafkaError as error:
            message = f"the consumer group {self._group_id} cannot go on: {error}. Check the log of its coordinator"
            raise ConfigError(message) from error

    def partitions(self, topic: str) -> int | None:
        """Return how many partitions a topic has, as of a few seconds ago; None where that is not known."""
        known = self._client.cluster.partitions_for_topic(topic)
        return len(known) if known else None

    def trouble(self) -> Denied | None:
        """Return why there is no membership for now."""
        return self._denied

    async def leave(self) -> None:
        """Leave the group."""
        if self._polling is not None:
            self._polling.cancel()
        await stopped(self._consumer)

    async def on_partitions_revoked(self, revoked: Sequence[AioPartition]) -> None:  # noqa: ARG002  all of them
        """Pass on the callback."""
        if self._listener is not None:
            self._listener.revoked()

    async def on_partitions_assigned(self, assigned: Sequence[AioPartition]) -> None:
        """Pass on the callback; nothing is ever read here."""
        self._denied = None
        self._consumer.pause(*assigned)
        for place in assigned:
            self._consumer.seek(place, 0)  # Else aiokafka asks where to begin.
        if self._listener is not None and self._standing is not None:
            self._standing.joined()
            self._listener.assigned(frozenset(TopicPartition(*each) for each in assigned), self._standing.member)
