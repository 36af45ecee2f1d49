"""Finds how far the service had come in an events partition: from its commit, or else from the states."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import NamedTuple

from streamproc.codec.arrival import Arrival
from streamproc.codec.runstate import decode_runs
from streamproc.errors import ConfigError
from streamproc.offsets.standing import Desk, PartitionStanding
from streamproc.runtime.ports import Unreadable
from streamproc.runtime.position import Position
from streamproc.runtime.reading import read_all
from streamproc.runtime.restore import state_unreadable

NO_STATE = -1


class Reach(NamedTuple):
    """The number of runs in the state, and the offset that the service would have gone on from; None: unknown."""

    runs: int
    offset: int | None


async def reach_of(desk: Desk, partition: PartitionStanding) -> Reach:
    """Read the state of an events partition; raises as `read_all`, ConfigError where it cannot be read."""
    offsets: dict[bytes, int | None] = {}
    records = 0
    try:
        async with aclosing(read_all(desk.kafka, desk.state_of(partition.source))) as everything:
            async for batch in everything:
                records += len(batch)
                for record, offset in zip(batch, _source_offsets(batch), strict=True):
                    if offset == NO_STATE:
                        offsets.pop(record.key or b"", None)
                    else:
                        offsets[record.key or b""] = offset
    except Unreadable as error:
        raise state_unreadable(error) from error
    if partition.committed is None and not records:
        return Reach(0, partition.first)
    next_offsets = [offset + 1 for offset in offsets.values() if offset is not None]
    position = partition.position
    if isinstance(position, Position):
        next_offsets.append(position.offset)
    elif len(next_offsets) < len(offsets):
        return Reach(len(offsets), None)
    return Reach(len(offsets), max(next_offsets, default=None))


def _source_offsets(records: Sequence[Arrival]) -> list[int | None]:
    """Return the offset of the event behind each state; NO_STATE for a tombstone, None where it cannot be decoded."""
    try:
        return [NO_STATE if run is None else run.offset for _, run in decode_runs(records)]
    except ConfigError:
        # A reset is the way out of a damaged state, so it must go on without the offsets.
        return [None if record.value else NO_STATE for record in records]
