"""Passing over records, and going on: one commit in the service's stead, with the position that it would go on from.

Fencing the transactional ids comes first, those of all partitions, as a worker commits by one of them: what is read
behind it is the last word. A service that runs takes note of the commit: it starts over from there.
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
    next_unread,
    position_of,
    settled,
    standing,
    what_is_next,
)
from streamproc.runtime.pausing import with_way_out
from streamproc.runtime.ports import Outputs, TopicPartition, Unreadable
from streamproc.runtime.position import Position

ATTEMPTS = 5
UNCONFIRMED = "it was not confirmed", "`streamproc offsets show` tells where it stands; repeat the command"


class ChangeRefused(ConfigError):
    """It is not to be done as things stand; the message says how they do."""


async def skip(desk: Desk, passage: Passage) -> None:
    """Commit the offset behind the passage, and a dead letter that says so, in one transaction.

    Raises Refused where something before it is unread or it is not there, ConfigError, BrokerUnavailable.
    """
    source = await desk.known(passage.source)

    async def behind(it: PartitionStanding) -> tuple[Outputs, Position]:
        position = await position_of(desk, it)
        await _refuse_misplaced(desk, it, position, passage)
        place = RecordPlace(*source, passage.first, NO_TIMESTAMP)
        letter = skipped_letter(place, passage.through, passage.why, time.time_ns() // 1_000_000)
        outputs = {TopicPartition(desk.topics.dead_letters, source.partition): [letter]}
        return outputs, position._replace(offset=passage.through + 1)

    await _decide(desk, source, behind)


async def resume(desk: Desk, source: TopicPartition) -> int:
    """Commit the offset of a partition as it is, once more, and return it.

    Raises Refused where the next record cannot be read, ConfigError, BrokerUnavailable.
    """
    await _refuse_unreadable(desk, source)

    async def once_more(it: PartitionStanding) -> tuple[Outputs, Position]:
        return {}, await position_of(desk, it)

    return await _decide(desk, source, once_more)


async def _decide(
    desk: Desk, source: TopicPartition, choose: Callable[[PartitionStanding], Awaitable[tuple[Outputs, Position]]]
) -> int:
    """Commit the chosen position under its next sequence, and return its offset.

    A worker that takes its partitions over just then fences us: it waits longer each time, so it is tried again.
    """
    others, wanted = await desk.others(source), None
    for attempt in range(ATTEMPTS):
        try:
            async with fenced(desk.kafka, source, *UNCONFIRMED, others) as commit:
                it = await settled(desk.kafka, source)
                if wanted is not None and it.committed == wanted:
                    break  # The attempt before did come about.
                outputs, position = await choose(it)
                wanted = position._replace(sequence=position.sequence + 1).to_committed()
                await commit(outputs, wanted)
                break
        except Overruled:
            if attempt == ATTEMPTS - 1:
                raise
    assert wanted is not None  # noqa: S101  it was chosen before anything was committed
    return wanted.offset


async def _refuse_unreadable(desk: Desk, source: TopicPartition) -> None:
    """Before anything is fenced: to go on there would be to stop there."""
    it = await standing(desk.kafka, source)
    await position_of(desk, it)
    found = await what_is_next(desk.kafka, source, it.end - it.lag, it.end)
    if isinstance(found, Unreadable):
        raise ChangeRefused(f"{source} cannot go on: {with_way_out(found)}")


async def _refuse_misplaced(desk: Desk, it: PartitionStanding, position: Position, passage: Passage) -> None:
    source, first, through = passage.source, passage.first, passage.through
    stands = f"{source} stands at offset {position.offset}, and holds {it.first} to {it.end - 1}"
    if it.end == it.first:
        raise ChangeRefused(f"{source} holds nothing that could be passed over")
    if first < position.offset:
        raise ChangeRefused(f"offset {first} of {source} is committed already: {stands}")
    if through >= it.end:
        raise ChangeRefused(f"offset {through} of {source} is not there: {stands}")
    before = await next_unread(desk.kafka, source, max(position.offset, it.first), first)
    if before is not None:
        raise ChangeRefused(f"offset {before} of {source} lies before {first} and is unread: {stands}")
