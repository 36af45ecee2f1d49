"""Limits on what a compressed batch may become. aiokafka has none: a megabyte of zstd can be many gigabytes of zeros.

Its codec functions are replaced where its readers of batches look them up (`patches.py`).
"""

import zlib
from collections.abc import Callable
from threading import local
from typing import Any

import cramjam

from streamproc.runtime.aio.manyheaders import refuse_many_headers

GZIP_WINDOW = 31
XERIAL_MAGIC, XERIAL_HEADER_BYTES = b"\x82SNAPPY\x00", 16
FIRST_GUESS = 8
"""A batch is tried with so many times its size first."""
MIN_BUFFER_BYTES, MAX_KEPT_BYTES = 1 << 20, 8 << 20

_limit_bytes = 64 << 20


class TooLarge(Exception):
    """A batch of records that does not decompress within the limit: damaged, or made to use up the memory."""


class _ThreadBuffer(local):
    """A buffer for each thread: to make one for each batch takes longer than to decompress that."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def buffer(self, size: int) -> memoryview:
        if size > MAX_KEPT_BYTES:
            return memoryview(bytearray(size))
        if size > len(self._bytes):
            self._bytes = bytearray(size)
        return memoryview(self._bytes)[:size]


_buffer = _ThreadBuffer()


def limit_decompression(limit_bytes: int) -> None:
    """Let no batch become larger than `limit_bytes`; consumers then raise TooLarge, or ManyHeaders."""
    global _limit_bytes  # noqa: PLW0603  aiokafka's codecs are the process's
    _limit_bytes = limit_bytes


def _gzip(payload: Any) -> bytes:
    stream = zlib.decompressobj(GZIP_WINDOW)
    try:
        decompressed = stream.decompress(payload, _limit_bytes)
    except zlib.error:
        raise _refused("gzip") from None
    if stream.unconsumed_tail or not stream.eof:
        raise _refused("gzip")
    return decompressed


def _snappy(payload: Any) -> bytes:
    data = bytes(payload)
    if not data.startswith(XERIAL_MAGIC):
        return _snappy_block(data, _limit_bytes)
    blocks: list[bytes] = []
    at, left = XERIAL_HEADER_BYTES, _limit_bytes
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], signed=True)
        if size < 0:
            raise _refused("snappy")
        at += 4
        blocks.append(_snappy_block(data[at : at + size], left))
        at += size
        left -= len(blocks[-1])
    return b"".join(blocks)


def _snappy_block(data: bytes, limit_bytes: int) -> bytes:
    try:
        # The length that it claims is set aside at once.
        if cramjam.snappy.decompress_raw_len(data) <= limit_bytes:
            return bytes(cramjam.snappy.decompress_raw(data))
    except cramjam.DecompressionError:
        pass
    raise _refused("snappy")


def _into(codec: str) -> Callable[[Any], bytes]:
    decompress_into = getattr(cramjam, codec).decompress_into

    def decode(payload: Any) -> bytes:
        size = min(max(MIN_BUFFER_BYTES, FIRST_GUESS * len(payload)), _limit_bytes)
        while True:
            buffer = _buffer.buffer(size)
            try:
                return bytes(buffer[: decompress_into(payload, buffer)])
            except cramjam.DecompressionError:
                if size >= _limit_bytes:
                    raise _refused(codec) from None
            size = min(FIRST_GUESS * size, _limit_bytes)

    return decode


def _looked_through(decode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def checked(payload: Any) -> bytes:
        decompressed = decode(payload)
        refuse_many_headers(decompressed)
        return decompressed

    return checked


def _refused(codec: str) -> TooLarge:
    return TooLarge(
        f"a batch compressed with {codec} is damaged, or has more than {_limit_bytes:,} bytes once decompressed"
    )


BOUNDED: dict[str, Callable[[Any], bytes]] = {
    "gzip_decode": _gzip,
    "snappy_decode": _snappy,
    "lz4_decode": _into("lz4"),
    "zstd_decode": _into("zstd"),
}
LOOKED_THROUGH = {codec: _looked_through(decode) for codec, decode in BOUNDED.items()}
