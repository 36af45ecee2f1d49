"""Sizes of records: their own bytes, which our limits count, and their batch in Kafka, which a topic limits."""

from collections.abc import Sequence
from typing import NamedTuple

Headers = Sequence[tuple[str, bytes]]

BATCH_HEADER_BYTES = 61
MAX_HEADERS = 10_000
"""A record with more is rejected without decoding them: a kilobyte of zstd may hold millions of empty headers."""
HEADER_COST_BYTES = 150
"""Memory of a header besides its own bytes: the tuple, the str and the bytes object."""


class Omitted(NamedTuple):
    """Replaces all headers of a record that has more than MAX_HEADERS; `value` has their count."""

    name: str
    value: bytes


def omitted(count: int) -> tuple[Omitted]:
    """Return the headers that replace `count` headers of a record."""
    return (Omitted("streamproc.headers.omitted", str(count).encode()),)


def headers_count(headers: Headers) -> int:
    """Return how many headers a record has, or had before they were omitted."""
    if headers and isinstance(headers[0], Omitted):
        return int(headers[0].value)
    return len(headers)


def memory_bytes(headers: Headers) -> int:
    """Estimate the memory of headers in bytes; where they are omitted, the memory that they would take."""
    size = HEADER_COST_BYTES * headers_count(headers)
    for name, content in headers:
        size += len(name) + len(content or b"")
    return size


def headers_bytes(headers: Headers) -> int:
    """Return the total size of header names and values in bytes."""
    return sum(len(named(name)) + len(value or b"") for name, value in headers)


def named(name: str) -> bytes:
    """Return a header's name as on the wire: in the text, a surrogate stands for a byte that is not UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def batch_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Return the size in bytes of an uncompressed batch that holds this record alone."""
    body = 3 + _field(key) + _field(value) + _varint(len(headers))  # 3: attributes, and two deltas that are 0.
    body += sum(_field(named(name)) + _field(content) for name, content in headers)
    return BATCH_HEADER_BYTES + _varint(body) + body


def _field(content: bytes | None) -> int:
    return 1 if content is None else _varint(len(content)) + len(content)


def _varint(number: int) -> int:
    """Return how many bytes a length takes as a varint: seven bits in each byte, one bit for the sign."""
    return max(1, -(-(2 * number).bit_length() // 7))
