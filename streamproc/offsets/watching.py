"""Finds input partitions that stand still while the service runs: all others commit regularly, even when idle."""

import asyncio
from collections.abc import Sequence

from streamproc.core.beacon import IDLE_INTERVAL_MS
from streamproc.offsets.standing import Desk, next_unread, standing
from streamproc.runtime.ports import TopicPartition

POLL_S = 0.5
LOOKS = round((IDLE_INTERVAL_MS / 1_000 + 3) / POLL_S)
"""Polls for one idle interval, after which a fully read events partition commits a mark, and 3 s for the work."""


async def unmoved(desk: Desk, sources: Sequence[TopicPartition]) -> list[TopicPartition]:
    """Return the partitions without a commit during LOOKS polls, POLL_S apart; raises BrokerUnavailable."""
    before = {source: await desk.kafka.committed(source) for source in sources}
    for _ in range(LOOKS):
        if not before:
            break
        await asyncio.sleep(POLL_S)
        before = {
            source: committed for source, committed in before.items() if await desk.kafka.committed(source) == committed
        }
    return list(before)


async def stopped(desk: Desk, sources: Sequence[TopicPartition]) -> list[TopicPartition]:
    """Return the partitions that stand still and should not; raises BrokerUnavailable.

    A measurements partition gets records only while events are processed: it counts only if it has unread records.
    """
    still = await unmoved(desk, sources)
    return [source for source in still if source.topic == desk.topics.events or await _has_unread(desk, source)]


async def _has_unread(desk: Desk, source: TopicPartition) -> bool:
    partition = await standing(desk.kafka, source)
    return await next_unread(desk.kafka, source, partition.end - partition.lag, partition.end) is not None
