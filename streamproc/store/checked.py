"""Bytes with their checksum in front: what comes back from a disk is what was written, or it is found out."""

from zlib import crc32

from streamproc.errors import StreamprocError

CHECKSUM_BYTES = 4


class StoreDamaged(StreamprocError):
    """What was stored is not what was written: the state has to come from its topic."""


def checked(data: bytes) -> bytes:
    """Return bytes with their checksum."""
    return crc32(data).to_bytes(CHECKSUM_BYTES, "big") + data


def content(found: bytes) -> bytes:
    """Return what is behind a checksum; raises StoreDamaged where that does not hold."""
    data = found[CHECKSUM_BYTES:]
    if crc32(data) != int.from_bytes(found[:CHECKSUM_BYTES], "big"):
        raise StoreDamaged("a checksum does not hold")
    return data
