"""How records of the topics that only streamproc reads are packed: MessagePack behind three bytes.

C1, which begins no other framing and no MessagePack, a letter for what it is, and the version of its format. What
follows is decoded in one pass by msgspec into the core's own structs, limits included: that is all its validation.
"""

from typing import Any, TypeGuard

import msgspec

from streamproc.codec.cloudevents import MSGPACK, CloudEvents
from streamproc.errors import RecordRejected, RejectionReason

MAGIC = b"\xc1"
HEADER_BYTES = 3


class PackedFormat:
    """A format of packed records. `letter` and `version` go into the header, the name into the label."""

    def __init__(self, name: str, letter: str, version: int) -> None:
        self.name = name
        self.label = f"msgpack:{name}:{version}"
        self.header = MAGIC + letter.encode() + bytes((version,))
        self._encode = msgspec.msgpack.Encoder().encode

    def pack(self, value: Any) -> bytes:
        """Return a value behind the header."""
        return self.header + self._encode(value)

    def payload(self, value: bytes) -> memoryview:
        """Return what follows the header; raises RecordRejected where it is that of another format or version."""
        if value[:HEADER_BYTES] != self.header:
            message = f"it begins with 0x{value[:HEADER_BYTES].hex()}, which is no {self.name} that this release reads"
            raise RecordRejected(RejectionReason.UNKNOWN_SCHEMA, message)
        return memoryview(value)[HEADER_BYTES:]

    def events(self, kind: str, source: str) -> CloudEvents:
        """Return what makes the headers of such records."""
        return CloudEvents(kind, source, self.label, MSGPACK)


def is_packed(value: bytes | None) -> TypeGuard[bytes]:
    """Whether a value is in one of these formats."""
    return value is not None and value.startswith(MAGIC)
