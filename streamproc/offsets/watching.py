"""Which partitions of the inputs stand still while the service runs: all others commit, now and then when idle, too."""

import asyncio
from collections.abc import Sequence

from streamproc.core.beacon import IDLE_INTERVAL_MS
from streamproc.offsets.standing import Desk, next_unread, standing
from streamproc.runtime.ports import TopicPartition

POLL_S = 0.5
LOOKS = round((IDLE_INTERVAL_MS / 1_000 + 3) / POLL_S)
"""A partition of the events that is read to its end commits a mark once per idle interval; the rest is for the work."""


async def unmoved(desk: Desk, sources: Sequence[TopicPartition]) -> list[TopicPartition]:
    """Return those for which nothing is committed for LOOKS looks, POLL_S apart; raises BrokerUnavailable."""
    before = {source: await desk.kafka.committed(source) for source in sources}
    for _ in range(LOOKS):
        if not before:
            break
        await asyncio.sleep(POLL_S)
        before = {source: each for source, each in before.items() if await desk.kafka.committed(source) == each}
    return list(before)


async def stopped(desk: Desk, sources: Sequence[TopicPartition]) -> list[TopicPartition]:
    """Return those that stand still though they should not; raises BrokerUnavailable.

    Measurements come with the marks of the events: where those stand still, nothing may be unread here, rightly so.
    """
    found = await unmoved(desk, sources)
    return [each for each in found if each.topic == desk.topics.events or await _has_unread(desk, each)]


async def _has_unread(desk: Desk, source: TopicPartition) -> bool:
    it = await standing(desk.kafka, source)
    return await next_unread(desk.kafka, source, it.end - it.lag, it.end) is not None
