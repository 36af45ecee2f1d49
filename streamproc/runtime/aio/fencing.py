"""Fencing the producers of many partitions at once: a worker does so with those that it takes over."""

import asyncio
from collections.abc import Sequence

from aiokafka.client import CoordinationType
from aiokafka.errors import ConcurrentTransactions, KafkaError, RequestTimedOutError

from streamproc.errors import TaskInvalid
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import told
from streamproc.runtime.aio.connection import stopped
from streamproc.runtime.aio.coordinators import Coordinator, producer_of
from streamproc.runtime.aio.denials import on_id, refuse
from streamproc.runtime.aio.transactions import transactional_id
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import TopicPartition

AT_ONCE = 16
"""Requests under way, all by one connection."""


async def fence(settings: KafkaSettings, group_id: str, sources: Sequence[TopicPartition]) -> set[TopicPartition]:
    """Fence every producer with the ids of these partitions, once their transactions have ended.

    Returns those whose have not. Raises TaskInvalid, Denied.
    """
    client, turns = Client(settings), asyncio.Semaphore(AT_ONCE)
    try:
        await client.bootstrap()
        # Each is waited for, whatever the others say: what is under way would fence those that are started next.
        results = await asyncio.gather(
            *(_fence(client, settings, transactional_id(group_id, source), turns) for source in sources),
            return_exceptions=True,
        )
        for source, result in zip(sources, results, strict=True):
            refuse(result, on_id(group_id, transactional_id(group_id, source)))
            if isinstance(result, BaseException) and not isinstance(result, ConcurrentTransactions):
                raise result
        outcomes = zip(sources, results, strict=True)
        return {source for source, result in outcomes if isinstance(result, ConcurrentTransactions)}
    except KafkaError as error:
        raise TaskInvalid(f"the producers of {len(sources)} partitions were not fenced: {told(error)}") from error
    finally:
        await stopped(client)


async def _fence(client: Client, settings: KafkaSettings, key: str, turns: asyncio.Semaphore) -> None:
    """Fence one transactional id; raises KafkaError."""
    coordinator = Coordinator(client, CoordinationType.TRANSACTION, key)
    async with turns:
        try:
            async with asyncio.timeout(settings.request_timeout_ms / 1000):
                await producer_of(coordinator, key, settings.transaction_timeout_ms)
        except TimeoutError:
            raise coordinator.trouble or RequestTimedOutError from None
