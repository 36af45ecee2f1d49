"""Membership in the consumer group, by a consumer that reads nothing."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as AioPartition
from aiokafka.errors import KafkaError

from streamproc.errors import ConfigError
from streamproc.runtime.aio.assignor import paired
from streamproc.runtime.aio.connection import connection, started, stopped
from streamproc.runtime.aio.failures import refuse_deaf
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import GroupListener, Member, TopicPartition

MAX_HEARTBEAT_MS = 3_000
POLL_WAIT_S = 0.1


class AioGroup(ConsumerRebalanceListener):
    """Membership in the consumer group, with a consumer that reads nothing."""

    def __init__(self, settings: KafkaSettings, group_id: str, topics: Sequence[str]) -> None:
        self._settings = settings
        self._topics = topics
        self._listener: GroupListener | None = None
        self._polling: asyncio.Task[Any] | None = None
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

    async def join(self, listener: GroupListener) -> None:
        """Start taking part."""
        self._listener = listener
        await started(self._consumer, self._settings)
        self._consumer.subscribe(list(self._topics), listener=self)

    async def confirmed(self) -> bool:
        """Send a heartbeat now and tell whether the current generation is ours."""
        coordinator = self._consumer._coordinator  # noqa: SLF001  aiokafka shows a heartbeat's outcome nowhere else
        is_member = coordinator.coordinator_id is not None and coordinator.generation >= 0
        if not is_member or coordinator._rejoin_needed_fut.done():  # noqa: SLF001
            return False
        try:
            acknowledged = bool(await coordinator._do_heartbeat())  # noqa: SLF001
        except KafkaError:
            return False
        return acknowledged and not coordinator._rejoin_needed_fut.done()  # noqa: SLF001

    async def poll(self) -> None:
        """Keep the membership alive: aiokafka leaves a group whose consumer does not ask for records."""
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
        except KafkaError as error:
            message = f"the consumer group cannot go on: {error}. Check the broker's log and the group's permissions"
            raise ConfigError(message) from error

    async def leave(self) -> None:
        """Leave the group."""
        if self._polling is not None:
            self._polling.cancel()
        await stopped(self._consumer)

    def _member(self) -> Member:
        """Return our membership as of now: in the callback it is the one of this very assignment."""
        coordinator = self._consumer._coordinator  # noqa: SLF001  aiokafka shows it nowhere else
        return Member(coordinator.generation, coordinator.member_id, self._settings.group_instance_id)

    async def on_partitions_revoked(self, revoked: Sequence[AioPartition]) -> None:  # noqa: ARG002  all of them
        """Pass on the callback."""
        if self._listener is not None:
            self._listener.revoked()

    async def on_partitions_assigned(self, assigned: Sequence[AioPartition]) -> None:
        """Pass on the callback; nothing is ever read here."""
        self._consumer.pause(*assigned)
        if self._listener is not None:
            self._listener.assigned(frozenset(TopicPartition(*each) for each in assigned), self._member())
