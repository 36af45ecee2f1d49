"""A look at a decompressed batch before aiokafka makes an object of each header in it.

A few kilobytes may unfold into millions of headers, of two bytes each: gigabytes of objects.
"""

from aiokafka.record.util import decode_varint

from streamproc.codec.sizes import MAX_HEADERS

LOOK_BYTES = 128 << 10
"""What is no larger holds some ten thousand headers at most, which take no time; most batches are no larger."""
LEAST_BYTES = 2
"""Of a header."""


class ManyHeaders(Exception):
    """A batch holds a record with more than MAX_HEADERS; `records`: what it decompressed to."""

    def __init__(self, records: bytearray) -> None:
        super().__init__(f"a record with more than {MAX_HEADERS:,} headers")
        self.records = records


def refuse_many_headers(decompressed: bytes) -> None:
    """Raise ManyHeaders where a record has too many of them; says nothing of what is damaged: its reader will."""
    if len(decompressed) <= LOOK_BYTES:
        return
    records = bytearray(decompressed)  # As aiokafka's compiled function asks for.
    try:
        is_refused = _has_many(records)
    except (IndexError, ValueError):
        is_refused = False
    if is_refused:
        raise ManyHeaders(records)


def _has_many(records: bytearray) -> bool:
    """Step from record to record; only one that is long enough is looked into."""
    at, last = 0, len(records) - LEAST_BYTES * MAX_HEADERS
    while at < last:
        size, at = decode_varint(records, at)
        if size > LEAST_BYTES * MAX_HEADERS and _headers_at(records, at) > MAX_HEADERS:
            return True
        if size <= 0:
            return False
        at += size
    return False


def _headers_at(records: bytearray, at: int) -> int:
    """Return how many headers a record has that begins, behind its length, at `at`."""
    _, at = decode_varint(records, at + 1)  # The time, behind a byte of attributes.
    _, at = decode_varint(records, at)  # The offset.
    for _ in ("key", "value"):
        size, at = decode_varint(records, at)
        at += max(0, size)
    return int(decode_varint(records, at)[0])
