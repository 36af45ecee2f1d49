"""How large a record is: its own bytes, which our limits count, and what Kafka makes of it, which a topic limits."""

from collections.abc import Sequence
from typing import NamedTuple

Headers = Sequence[tuple[str, bytes]]

BATCH_HEADER_BYTES = 61
MAX_HEADERS = 10_000
"""Of a record: one with more is rejected, without a look at them. A kilobyte of zstd may hold millions of nothing."""
HEADER_COST_BYTES = 150
"""What a header takes in memory besides its own bytes: a pair, a text, and bytes."""


class Omitted(NamedTuple):
    """Stands in a record's headers for all of them where they are more than MAX_HEADERS; `value` says how many."""

    name: str
    value: bytes


def omitted(count: int) -> tuple[Omitted]:
    """Return the headers of a record that has so many."""
    return (Omitted("streamproc.headers.omitted", str(count).encode()),)


def headers_count(headers: Headers) -> int:
    """Return how many headers a record has, or had where they are omitted."""
    if headers and isinstance(headers[0], Omitted):
        return int(headers[0].value)
    return len(headers)


def memory_bytes(headers: Headers) -> int:
    """Return about how many bytes of memory headers take, or would take where they are omitted."""
    size = HEADER_COST_BYTES * headers_count(headers)
    for name, content in headers:
        size += len(name) + len(content or b"")
    return size


def headers_bytes(headers: Headers) -> int:
    """Return the bytes of names and values."""
    return sum(len(named(name)) + len(value or b"") for name, value in headers)


def named(name: str) -> bytes:
    """Return a header's name as it is on the wire: a byte that is no UTF-8 stands as a surrogate in the text."""
    return name.encode("utf-8", "surrogateescape")


def batch_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Return the size of a batch, not compressed, that holds this record alone."""
    body = 3 + _field(key) + _field(value) + _varint(len(headers))  # Attributes, and differences of nothing.
    body += sum(_field(named(name)) + _field(content) for name, content in headers)
    return BATCH_HEADER_BYTES + _varint(body) + body


def _field(content: bytes | None) -> int:
    return 1 if content is None else _varint(len(content)) + len(content)


def _varint(number: int) -> int:
    """Return how many bytes a length takes: seven bits each, one bit for the sign."""
    return max(1, -(-(2 * number).bit_length() // 7))
