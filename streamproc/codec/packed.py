"""The format of records in topics that only streamproc reads: MessagePack behind a header of three bytes.

The header is C1, which begins no other framing and no MessagePack, a letter for the kind, and the format's version.
msgspec decodes the rest in one pass into the core's structs, limits included: there is no other validation.
"""

from typing import Any, TypeGuard

import msgspec

from streamproc.codec.cloudevents import MSGPACK, CloudEvents
from streamproc.errors import RecordRejected, RejectionReason

MAGIC = b"\xc1"
HEADER_BYTES = 3


class PackedFormat:
    """A format of packed records. `letter` and `version` go into the header, `name` into the label."""

    def __init__(self, name: str, letter: str, version: int) -> None:
        self.name = name
        self.label = f"msgpack:{name}:{version}"
        self.header = MAGIC + letter.encode() + bytes((version,))
        self._encode = msgspec.msgpack.Encoder().encode

    def pack(self, value: Any) -> bytes:
        """Return a value behind the header."""
        return self.header + self._encode(value)

    def payload(self, value: bytes) -> memoryview:
        """Return the bytes behind the header; raises RecordRejected for the header of another format or version."""
        if value[:HEADER_BYTES] != self.header:
            message = f"it begins with 0x{value[:HEADER_BYTES].hex()}, which is no {self.name} that this release reads"
            raise RecordRejected(RejectionReason.UNKNOWN_SCHEMA, message)
        return memoryview(value)[HEADER_BYTES:]

    def events(self, kind: str, source: str) -> CloudEvents:
        """Return the CloudEvents that make the headers of such records."""
        return CloudEvents(kind, source, self.label, MSGPACK)


def is_packed(value: bytes | None) -> TypeGuard[bytes]:
    """Tell whether a value is in one of these formats."""
    return value is not None and value.startswith(MAGIC)
