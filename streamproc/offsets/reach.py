"""How far the service had come in a partition of the events, where its own commit does not tell: its states do."""

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
    """How many runs the state holds, and the offset that the service would have gone on from; None: nothing tells."""

    runs: int
    offset: int | None


async def reach_of(desk: Desk, it: PartitionStanding) -> Reach:
    """Read the state of a partition of the events; raises as `read_all`, ConfigError where it cannot be read."""
    offsets: dict[bytes, int | None] = {}
    records = 0
    try:
        async with aclosing(read_all(desk.kafka, desk.state_of(it.source))) as everything:
            async for found in everything:
                records += len(found)
                for record, offset in zip(found, _source_offsets(found), strict=True):
                    if offset == NO_STATE:
                        offsets.pop(record.key or b"", None)
                    else:
                        offsets[record.key or b""] = offset
    except Unreadable as error:
        raise state_unreadable(error) from error
    if it.committed is None and not records:
        return Reach(0, it.first)
    known = [offset + 1 for offset in offsets.values() if offset is not None]
    said = it.said
    if isinstance(said, Position):
        known.append(said.offset)
    elif len(known) < len(offsets):
        return Reach(len(offsets), None)
    return Reach(len(offsets), max(known, default=None))


def _source_offsets(records: Sequence[Arrival]) -> list[int | None]:
    """Return the offset of the event behind each state, NO_STATE for a null, None where nobody can read it."""
    try:
        return [NO_STATE if run is None else run.offset for _, run in decode_runs(records)]
    except ConfigError:
        # A reset is the way out of a damaged state: it goes on without knowing.
        return [None if record.value else NO_STATE for record in records]
