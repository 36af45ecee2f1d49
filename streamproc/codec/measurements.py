"""Records of run-measurements, both ways: what the fold stage sends on to the windows.

Each commit writes one record to each measurement partition, however many input partitions it covers: the sums of all
groups of that partition, then the marks of the sources. `[sums, marks]`, packed; `core.measure` defines the items.
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
from streamproc.errors import RecordRejected, RejectionReason

FORMAT = PackedFormat("run-measurements", "m", 1)
MAX_ITEMS = 250
"""Limit on the measurements, and on the marks, of a record: the reader sums a hundred records at once."""
SPLIT_BYTES = 65_536
"""A larger record is split. One with a single item may be larger, but stays below MAX_BYTES."""
MAX_BYTES = 131_072
"""Limit on a record: names and codes are limited when they are measured. So a larger record is not ours, and the state
made of it would fit into no topic."""
ENVELOPE_BYTES = 1_024
"""Ample room for a record's headers."""
Sums = Sequence[tuple[str | None, str | None, int, Totals]]


class Folded(NamedTuple):
    """What the fold of one input partition sends to the windows. `sequence`: its commit's; `mark`: None if not due."""

    partition: int
    sequence: int
    sums: Mapping[CellKey, Totals]
    mark: Mark | None


class MeasurementEncoder:
    """Encodes the measurements of the input partitions of one topic: one encoder for all partitions of a worker.

    `partition_of`: the partitioner of the ports; `partitions`: how many run-measurements has; `record_bytes`: the
    largest record that it admits.
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
            lambda *group: partition_of(group_key(group).encode(), partitions)  # Most commits have the same groups.
        )
        self._split_bytes = min(SPLIT_BYTES, record_bytes - ENVELOPE_BYTES)
        self._events = FORMAT.events("streamproc.run.measurement", f"/streamproc/{application_id}/measurements")

    def messages(self, folded: Sequence[Folded], wall_ms: int) -> dict[int, list[Message]]:
        """Return the messages for each partition of run-measurements, for one commit of these input partitions."""
        if not folded:
            return {}
        spread: defaultdict[int, list[tuple[str | None, str | None, int, Totals]]] = defaultdict(list)
        for key, totals in summed([part.sums for part in folded]).items():
            spread[self._partition_of(key[0], key[1])].append((*key, totals))
        marks = [part.mark for part in folded if part.mark is not None]
        only_marks = list(_values((), marks, self._split_bytes)) if marks else []
        first = min(folded, key=lambda part: part.partition)
        place, number = f"{self._topic}:{first.partition}:{first.sequence}", 0
        by_partition: dict[int, list[Message]] = {}
        for target in range(self._partitions):
            sums = spread.get(target)
            by_partition[target] = messages = []
            for value in _values(sums, marks, self._split_bytes) if sums else only_marks:
                headers = self._events.headers(f"{place}:{number}".encode(), wall_ms)
                messages.append((None, value, wall_ms, headers))
                number += 1
        return {target: messages for target, messages in by_partition.items() if messages}


def _values(sums: Sums, marks: Sequence[Mark], limit_bytes: int) -> Iterator[bytes]:
    """Yield records that together hold all items. Marks come last: a mark covers the measurements before it."""
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
    """The decoded records of a batch, and those rejected."""

    arrivals: list[Measurements]
    rejections: list[Rejection]


_sent_at = attrgetter("sent_at")
_limited = Meta(max_length=MAX_ITEMS)
_decode = msgspec.msgpack.Decoder(tuple[Annotated[list[Measurement], _limited], Annotated[list[Mark], _limited]]).decode


def decode_measurements(records: Sequence[Arrival]) -> MeasurementBatch:
    """Decode records of run-measurements; one that is not valid goes to `rejections`."""
    arrivals: list[Measurements] = []
    rejections: list[Rejection] = []
    for record in records:
        try:
            arrivals.append(_read(record))
        except RecordRejected as error:
            rejections.append(Rejection(record, error.reason, str(error)))
        except Exception as error:  # noqa: BLE001  whatever damaged bytes make a decoder raise
            message = f"no valid measurements ({type(error).__name__})"
            rejections.append(Rejection(record, RejectionReason.UNDECODABLE, message))
    return MeasurementBatch(arrivals, rejections)


def _read(record: Arrival) -> Measurements:
    value = record.value
    if value is not None and len(value) > MAX_BYTES:
        raise ValueError("it is larger than any of ours")
    measurements = (
        Measurements(*_decode(FORMAT.payload(value))) if is_packed(value) else earlier.read_measurement(record)
    )
    if not measurements.marks or max(map(_sent_at, measurements.marks)) <= record.timestamp:
        return measurements
    # Where the source's clock is ahead, the broker's clock counts instead: a watermark never goes back.
    latest = max(0, record.timestamp)
    return Measurements(
        measurements.sums, [replace(mark, sent_at=min(mark.sent_at, latest)) for mark in measurements.marks]
    )
