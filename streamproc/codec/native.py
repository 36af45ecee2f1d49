"""The native decoder of events."""

from collections.abc import Sequence
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from streamproc.codec.arrival import FLAGS, Framed, instants
from streamproc.codec.normal import Tree
from streamproc.codec.plan import ReadPlan
from streamproc.codec.program import program
from streamproc.codec.skim import MAX_NESTED, MAX_VALUES, Fault
from streamproc.core.model import RunEvent
from streamproc.native import module

if TYPE_CHECKING:
    import streamproc_native

FAULTS = tuple(Fault)


class DecodedBatch(NamedTuple):
    """A decoded batch: the events, and the rows (indices into the batch) of the other records.

    `faults`: rows with the fault of each; `doubtful`: rows that the reference decoder has to read.
    """

    events: list[RunEvent]
    faults: list[tuple[int, Fault]]
    doubtful: list[int]


class EventDecoder:
    """Decodes records of one schema, a batch at a time."""

    def __init__(self, tree: Tree, plan: ReadPlan, label: str) -> None:
        compiled, shape = program(tree, plan), plan.shape
        memory = dict(shape.statuses), list(shape.only), FLAGS
        self._label = label
        limits = MAX_VALUES - compiled.cost, MAX_NESTED
        decoder: streamproc_native.EventDecoder = module.EventDecoder(compiled, limits, memory)
        self._decode = decoder.decode

    def decode(self, group: Sequence[Framed]) -> DecodedBatch:
        """Decode records of the schema, whose framing was removed."""
        payloads = [framed.payload for framed in group]
        columns, faults, doubtful = self._decode(payloads)
        if faults or doubtful:
            others = {row for row, _ in faults}.union(doubtful)
            group = [framed for row, framed in enumerate(group) if row not in others]
            payloads = [framed.payload for framed in group]
        *values, flags = columns
        records = [framed.record for framed in group]
        more = (
            [record.key for record in records],
            instants([record.timestamp for record in records]),
            [record.offset for record in records],
            repeat(self._label),
            payloads,
            flags,
            [framed.partition for framed in group],
        )
        events = list(map(RunEvent, *values, *more))
        return DecodedBatch(events, [(row, FAULTS[number]) for row, number in faults], doubtful)
