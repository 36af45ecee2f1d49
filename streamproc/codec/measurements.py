"""Records of run-measurements, both ways: what the fold stage sends on to the windows.

One for each measurement partition and commit, however many input partitions the commit is of: the sums of all groups
of that partition, then the marks of the sources. `[sums, marks]`, packed; the items as `core.measure` has them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from streamproc.codec import earlier
from streamproc.codec.arrival import Arrival, Rejection
from streamproc.codec.message import Message
from streamproc.codec.packed import PackedFormat, is_packed
from streamproc.core.measure import CellKey, Mark, Measurement, Measurements, Totals, group_key, summed
from streamproc.errors import RecordRejected

FORMAT = PackedFormat("run-measurements", "m", 1)
MAX_ITEMS = 250
"""Measurements of a record, and marks: a hundred records are to be summed in one go. More are another record."""
SPLIT_BYTES = 65_536
"""Above, a record is split; one with a single item may be larger, but never by as much as MAX_BYTES."""
MAX_BYTES = 131_072
"""Of a record: names and codes are limited where they are measured. A larger one is somebody else's, and what is
kept of it would go into no topic."""
ENVELOPE_BYTES = 1_024
"""Of a record's headers, ample."""
Sums = Sequence[tuple[str | None, str | None, int, Totals]]


class Folded(NamedTuple):
    """What the fold of one input partition has for the windows, and its commit's sequence. `mark`: where one is due."""

    partition: int
    sequence: int
    sums: Mapping[CellKey, Totals]
    mark: Mark | None


class MeasurementEncoder:
    """Encodes what the input partitions of one topic measure: one encoder for all of a worker.

    `partition_of`: see the ports, of so many `partitions`; `record_bytes`: what a record of run-measurements may have.
    """

    def __init__(
        self,
        application_id: str,
        topic: str,
        partitions: int,
        partition_of: Callable[[bytes, int], int],
        record_bytes: int = MAX_BYTES,
    ) -> None:
        self._topic = topic
        self._partitions = partitions
        self._partition_of = lru_cache(maxsize=10_000)(
            lambda *group: partition_of(group_key(group).encode(), partitions)  # Groups come again with each commit.
        )
        self._split_bytes = min(SPLIT_BYTES, record_bytes - ENVELOPE_BYTES)
        self._events = FORMAT.events("streamproc.run.measurement", f"/streamproc/{application_id}/measurements")

    def messages(self, folded: Sequence[Folded], wall_ms: int) -> dict[int, list[Message]]:
        """Return what goes to each partition of run-measurements, of one commit of these input partitions."""
        if not folded:
            return {}
        spread: defaultdict[int, list[tuple[str | None, str | None, int, Totals]]] = defaultdict(list)
        for key, totals in summed([each.sums for each in folded]).items():
            spread[self._partition_of(key[0], key[1])].append((*key, totals))
        marks = [each.mark for each in folded if each.mark is not None]
        only_marks = list(_values((), marks, self._split_bytes)) if marks else []
        first = min(folded, key=lambda each: each.partition)
        place, number = f"{self._topic}:{first.partition}:{first.sequence}", 0
        found: dict[int, list[Message]] = {}
        for target in range(self._partitions):
            sums = spread.get(target)
            found[target] = messages = []
            for value in _values(sums, marks, self._split_bytes) if sums else only_marks:
                headers = self._events.headers(f"{place}:{number}".encode(), wall_ms)
                messages.append((None, value, wall_ms, headers))
                number += 1
        return {target: messages for target, messages in found.items() if messages}


def _values(sums: Sums, marks: Sequence[Mark], limit_bytes: int) -> Iterator[bytes]:
    """Yield what holds all of it, in as many records as it takes; marks last, as they tell of what is before them."""
    items = len(sums) + len(marks)
    if max(len(sums), len(marks)) <= MAX_ITEMS:
        value = FORMAT.pack((sums, marks))
        if len(value) <= limit_bytes or items == 1:
            yield value
            return
    half = items // 2
    yield from _values(sums[:half], marks[: max(0, half - len(sums))], limit_bytes)
    yield from _values(sums[half:], marks[max(0, half - len(sums)) :], limit_bytes)


class MeasurementBatch(NamedTuple):
    """What a batch of records turned out to be."""

    arrivals: list[Measurements]
    rejections: list[Rejection]


_sent_at = attrgetter("sent_at")
_limited = Meta(max_length=MAX_ITEMS)
_decode = msgspec.msgpack.Decoder(tuple[Annotated[list[Measurement], _limited], Annotated[list[Mark], _limited]]).decode


def decode_measurements(records: Sequence[Arrival]) -> MeasurementBatch:
    """Decode records of run-measurements; what is none goes to `rejections`, as somebody else wrote it."""
    arrivals: list[Measurements] = []
    rejections: list[Rejection] = []
    for record in records:
        try:
            arrivals.append(_read(record))
        except RecordRejected as error:
            rejections.append(Rejection(record, error.reason, str(error)))
        except Exception as error:  # noqa: BLE001  whatever damaged bytes make a decoder raise
            message = f"no valid measurements ({type(error).__name__})"
            rejections.append(Rejection(record, "undecodable", message))
    return MeasurementBatch(arrivals, rejections)


def _read(record: Arrival) -> Measurements:
    value = record.value
    if value is not None and len(value) > MAX_BYTES:
        raise ValueError("it is larger than any of ours")
    found = Measurements(*_decode(FORMAT.payload(value))) if is_packed(value) else earlier.read_measurement(record)
    if not found.marks or max(map(_sent_at, found.marks)) <= record.timestamp:
        return found
    # By the broker's clock where the source's is ahead: a watermark never goes back.
    latest = max(0, record.timestamp)
    return Measurements(found.sums, [replace(mark, sent_at=min(mark.sent_at, latest)) for mark in found.marks])
