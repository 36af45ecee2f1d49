"""Passing over records, and going on: one commit in the service's stead, with the position that it would go on from.

Fencing the transactional ids comes first, those of all partitions, as a worker commits by one of them: what is read
behind it is the last word. A service that runs takes note of the commit: it starts over from there.
"""

import time

from streamproc.codec.deadletter import Place, skipped_letter
from streamproc.core.model import NO_TIMESTAMP
from streamproc.errors import ConfigError
from streamproc.offsets.fencing import fenced
from streamproc.offsets.places import Passage
from streamproc.offsets.standing import Desk, Standing, next_unread, position_of, standing, what_is_next
from streamproc.runtime.pausing import with_way_out
from streamproc.runtime.ports import Committed, TopicPartition, Unreadable
from streamproc.runtime.position import Position

UNCONFIRMED = "it was not confirmed", "`streamproc offsets show` tells where it stands; repeat the command"


class Refused(ConfigError):
    """It is not to be done as things stand; the message says how they do."""


async def skip(desk: Desk, passage: Passage) -> None:
    """Commit the offset behind the passage, and a dead letter that says so, in one transaction.

    Raises Refused where something before it is unread or it is not there, ConfigError, BrokerUnavailable.
    """
    source = await desk.known(passage.source)
    async with fenced(desk.kafka, source, *UNCONFIRMED, await desk.others(source)) as commit:
        it = await standing(desk.kafka, source)
        position = await position_of(desk, it)
        await _refuse_misplaced(desk, it, position, passage)
        place = Place(*source, passage.first, NO_TIMESTAMP)
        letter = skipped_letter(place, passage.through, passage.why, time.time_ns() // 1_000_000)
        outputs = {TopicPartition(desk.topics.dead_letters, source.partition): [letter]}
        await commit(outputs, _next(position._replace(offset=passage.through + 1)))


async def resume(desk: Desk, source: TopicPartition) -> int:
    """Commit the offset of a partition as it is, once more, and return it.

    Raises Refused where the next record cannot be read, ConfigError, BrokerUnavailable.
    """
    await _refuse_unreadable(desk, source)
    async with fenced(desk.kafka, source, *UNCONFIRMED, await desk.others(source)) as commit:
        position = await position_of(desk, await standing(desk.kafka, source))
        await commit({}, _next(position))
    return position.offset


def _next(position: Position) -> Committed:
    return position._replace(sequence=position.sequence + 1).to_committed()


async def _refuse_unreadable(desk: Desk, source: TopicPartition) -> None:
    """Before anything is fenced: to go on there would be to stop there."""
    it = await standing(desk.kafka, source)
    await position_of(desk, it)
    found = await what_is_next(desk.kafka, source, it.end - it.lag, it.end)
    if isinstance(found, Unreadable):
        raise Refused(f"{source} cannot go on: {with_way_out(found)}")


async def _refuse_misplaced(desk: Desk, it: Standing, position: Position, passage: Passage) -> None:
    source, first, through = passage.source, passage.first, passage.through
    stands = f"{source} stands at offset {position.offset}, and holds {it.first} to {it.end - 1}"
    if it.end == it.first:
        raise Refused(f"{source} holds nothing that could be passed over")
    if first < position.offset:
        raise Refused(f"offset {first} of {source} is committed already: {stands}")
    if through >= it.end:
        raise Refused(f"offset {through} of {source} is not there: {stands}")
    before = await next_unread(desk.kafka, source, max(position.offset, it.first), first)
    if before is not None:
        raise Refused(f"offset {before} of {source} lies before {first} and is unread: {stands}")
