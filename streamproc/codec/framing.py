"""The two framings of an Avro payload: single-object encoding, and the Confluent wire format.

Single-object: C3 01, the 8-byte CRC-64-AVRO fingerprint (little-endian), payload.
Confluent: byte 0, a 4-byte big-endian schema id, payload.
"""

from streamproc.errors import RecordRejected

SINGLE_OBJECT = b"\xc3\x01"
SINGLE_OBJECT_BYTES = 10
CONFLUENT_MAGIC = 0
CONFLUENT_BYTES = 5


def header_of(value: bytes | None) -> bytes:
    """Return the framing header in front of the payload: it names the writer's schema.

    Raises RecordRejected: `empty_value`, or `bad_framing` where it is neither framing.
    """
    if not value:
        raise RecordRejected("empty_value", "the record has no value: send an Avro RunObject, or nothing at all")
    if value[0] == SINGLE_OBJECT[0] and value[:2] == SINGLE_OBJECT and len(value) >= SINGLE_OBJECT_BYTES:
        return value[:SINGLE_OBJECT_BYTES]
    if value[0] == CONFLUENT_MAGIC and len(value) >= CONFLUENT_BYTES:
        return value[:CONFLUENT_BYTES]
    raise RecordRejected(
        "bad_framing",
        f"the value starts with 0x{value[:2].hex()}: frame it as Avro single-object encoding (C3 01) "
        "or in the Confluent wire format (00)",
    )


def single_object(fingerprint: str) -> bytes:
    """Return the header for a fingerprint of 16 hex digits, in the order of the bytes on the wire."""
    return SINGLE_OBJECT + bytes.fromhex(fingerprint)


def label(header: bytes) -> str:
    """Name the schema that a header points to: `crc64:` and 16 hex digits, or `id:` and the number."""
    if header[0] == SINGLE_OBJECT[0]:
        return f"crc64:{header[2:].hex()}"
    return f"id:{int.from_bytes(header[1:], 'big')}"
