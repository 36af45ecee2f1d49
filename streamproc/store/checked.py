"""Bytes behind a checksum, which detects when a disk returns something else than was written."""

from zlib import crc32

from streamproc.errors import StreamprocError

CHECKSUM_BYTES = 4


class StoreDamaged(StreamprocError):
    """The stored bytes are not those that were written: the state must be restored from its topic."""


def checked(data: bytes) -> bytes:
    """Return bytes behind their checksum."""
    return crc32(data).to_bytes(CHECKSUM_BYTES, "big") + data


def content(stored: bytes) -> bytes:
    """Return the bytes behind a checksum; raises StoreDamaged where it is wrong."""
    data = stored[CHECKSUM_BYTES:]
    if crc32(data) != int.from_bytes(stored[:CHECKSUM_BYTES], "big"):
        raise StoreDamaged("a checksum does not hold")
    return data
