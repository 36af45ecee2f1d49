"""What one fetch of a partition brought, handed out a part at a time.

No more than so many bytes in one go; and what lies in front of a batch that cannot be read before the error about that.

aiokafka's own hands out as many records as are asked for, whatever they unfold into, and drops those that it has in
hand when it comes to such a batch.
"""

from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException

from streamproc.codec.sizes import MAX_HEADERS, memory_bytes, omitted

PART_BYTES = 16 << 20
"""Of values, keys, and headers as they lie in memory: a fetch of a megabyte may hold a thousand records of some
megabytes each, compressed."""


class Damaged(CorruptRecordException):
    """A batch that cannot be read, from the offset `first` to `last`; `why`: what aiokafka made of it."""

    def __init__(self, first: int, last: int, why: Exception) -> None:
        super().__init__(f"the batch at offsets {first} to {last}: {why}")
        self.first, self.last, self.why = first, last, why


class Parts(fetcher.FetchResult):
    """The records of one fetch."""

    _partition_records: Any
    _damage: Damaged | None = None

    def getall(self, max_records: int | None = None) -> list[Any]:
        """Return what comes next; raises Damaged where that cannot be read."""
        if not self.has_more() or not self.check_assignment(self._topic_partition):
            return []
        if self._damage is not None:
            raise self._over(self._damage)
        found: list[Any] = []
        size = 0
        try:
            for record in self._partition_records:
                found.append(record)
                size += record.serialized_value_size + record.serialized_key_size
                if record.headers:
                    if len(record.headers) > MAX_HEADERS:
                        record.headers = omitted(len(record.headers))
                    size += memory_bytes(record.headers)
                if size >= PART_BYTES or (max_records is not None and len(found) >= max_records):
                    break
            else:
                self._update_position()
                self._partition_records = None
                return found
        except Damaged as damage:
            self._update_position()
            if not found:
                raise self._over(damage) from None
            self._damage = damage
        else:
            self._update_position()
        return found

    def _over(self, damage: Damaged) -> Damaged:
        """Let the same be fetched again, should anybody ask: it may have been damaged on the way."""
        self._partition_records = None
        return damage
