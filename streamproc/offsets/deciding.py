"""Skips records, or resumes a partition: one commit on behalf of the service, with the position to go on from.

First the transactional ids of all partitions are fenced, because a worker may commit by any of them; so a position that
is read after fencing is final. A running service detects the commit and starts over from the new position.
"""

import time
from collections.abc import Awaitable, Callable

from streamproc.codec.deadletter import RecordPlace, skipped_letter
from streamproc.core.model import NO_TIMESTAMP
from streamproc.errors import ConfigError
from streamproc.offsets.fencing import Overruled, fenced
from streamproc.offsets.places import Passage
from streamproc.offsets.standing import (
    Desk,
    PartitionStanding,
    next_record,
    next_unread,
    position_of,
    settled,
    standing,
)
from streamproc.runtime.pausing import with_way_out
from streamproc.runtime.ports import Outputs, TopicPartition, Unreadable
from streamproc.runtime.position import Position

ATTEMPTS = 5
UNCONFIRMED = (
    "the change was not confirmed",
    "Check `streamproc offsets show`: if the committed offset has not changed, repeat the command",
)


class ChangeRefused(ConfigError):
    """The change is not allowed in the present situation, which the message describes."""


async def skip(desk: Desk, passage: Passage) -> None:
    """Commit the offset behind the passage, and a dead letter about it, in one transaction.

    Raises ChangeRefused where an earlier record is unread or the passage does not exist, ConfigError,
    BrokerUnavailable.
    """
    source = await desk.known(passage.source)

    async def behind(partition: PartitionStanding) -> tuple[Outputs, Position]:
        position = await position_of(desk, partition)
        await _refuse_misplaced(desk, partition, position, passage)
        place = RecordPlace(*source, passage.first, NO_TIMESTAMP)
        letter = skipped_letter(place, passage.through, passage.why, time.time_ns() // 1_000_000)
        outputs = {TopicPartition(desk.topics.dead_letters, source.partition): [letter]}
        return outputs, position._replace(offset=passage.through + 1)

    await _decide(desk, source, behind)


async def resume(desk: Desk, source: TopicPartition) -> int:
    """Commit the present offset of a partition once more, and return it.

    Raises ChangeRefused where the next record cannot be read, ConfigError, BrokerUnavailable.
    """
    await _refuse_unreadable(desk, source)

    async def once_more(partition: PartitionStanding) -> tuple[Outputs, Position]:
        return {}, await position_of(desk, partition)

    return await _decide(desk, source, once_more)


async def _decide(
    desk: Desk, source: TopicPartition, choose: Callable[[PartitionStanding], Awaitable[tuple[Outputs, Position]]]
) -> int:
    """Commit the chosen position with the next sequence number, and return its offset.

    A worker that takes over its partitions at the same time fences us. It waits longer each time, so retry.
    """
    others, chosen = await desk.others(source), None
    for attempt in range(ATTEMPTS):
        try:
            async with fenced(desk.kafka, source, *UNCONFIRMED, others) as commit:
                partition = await settled(desk.kafka, source)
                if chosen is not None and partition.committed == chosen:
                    break  # The attempt before did succeed.
                outputs, position = await choose(partition)
                chosen = position._replace(sequence=position.sequence + 1).to_committed()
                await commit(outputs, chosen)
                break
        except Overruled:
            if attempt == ATTEMPTS - 1:
                raise
    assert chosen is not None  # noqa: S101  it was chosen before anything was committed
    return chosen.offset


async def _refuse_unreadable(desk: Desk, source: TopicPartition) -> None:
    """Raise ChangeRefused where the next record cannot be read: the service would stop again. Nothing is fenced yet."""
    partition = await standing(desk.kafka, source)
    await position_of(desk, partition)
    unread = await next_record(desk.kafka, source, partition.end - partition.lag, partition.end)
    if isinstance(unread, Unreadable):
        raise ChangeRefused(f"{source} cannot go on: {with_way_out(unread)}")


async def _refuse_misplaced(desk: Desk, partition: PartitionStanding, position: Position, passage: Passage) -> None:
    source, first, through = passage.source, passage.first, passage.through
    if partition.end == partition.first:
        raise ChangeRefused(f"{source} has no records, so there is nothing to skip")
    if first < position.offset:
        raise ChangeRefused(
            f"offset {first} of {source} is already committed; the next offset to process is {position.offset}"
        )
    if through >= partition.end:
        raise ChangeRefused(f"offset {through} of {source} does not exist yet; the last one is {partition.end - 1}")
    before = await next_unread(desk.kafka, source, max(position.offset, partition.first), first)
    if before is not None:
        raise ChangeRefused(f"offset {before} of {source} comes before {first} and is unread: process or skip it first")
