"""The framings of a value, which name its schema: single-object encoding, the Confluent wire format, or JSON.

Single-object: C3 01, the 8-byte CRC-64-AVRO fingerprint (little-endian), payload.
Confluent: byte 0, a 4-byte big-endian schema id, payload.
JSON: an object. Its opening brace counts as the header, but belongs to the payload, like white space before it.
"""

from typing import Literal

from streamproc.errors import RecordRejected, RejectionReason

Framing = Literal["confluent", "single_object"]
"""The framings with a schema, by the names that settings and the log use."""
SINGLE_OBJECT = b"\xc3\x01"
SINGLE_OBJECT_BYTES = 10
CONFLUENT_MAGIC = 0
CONFLUENT_BYTES = 5
FRAMINGS = ((SINGLE_OBJECT, SINGLE_OBJECT_BYTES), (bytes((CONFLUENT_MAGIC,)), CONFLUENT_BYTES))
"""The framings of our own records: the first bytes of a value, and how many bytes precede its payload."""
JSON = b"{"
BOM = b"\xef\xbb\xbf"


def header_of(value: bytes | None) -> bytes:
    """Return the framing header in front of the payload: it names the writer's schema.

    Raises RecordRejected: `empty_value`, or `bad_framing` where the value has none of the framings.
    """
    if not value:
        raise RecordRejected(RejectionReason.EMPTY_VALUE, "the record has no value: send a run, or nothing at all")
    if value[0] == SINGLE_OBJECT[0] and value[:2] == SINGLE_OBJECT and len(value) >= SINGLE_OBJECT_BYTES:
        return value[:SINGLE_OBJECT_BYTES]
    if value[0] == CONFLUENT_MAGIC and len(value) >= CONFLUENT_BYTES:
        return value[:CONFLUENT_BYTES]
    if value[:1] == JSON or value.removeprefix(BOM).lstrip()[:1] == JSON:
        return JSON
    raise RecordRejected(
        RejectionReason.BAD_FRAMING,
        f"the value starts with 0x{value[:2].hex()}: frame it as Avro single-object encoding (C3 01) "
        "or in the Confluent wire format (00), or send a JSON object",
    )


def single_object(fingerprint: str) -> bytes:
    """Return the header for a fingerprint: 16 hex digits, in the order of the bytes on the wire."""
    return SINGLE_OBJECT + bytes.fromhex(fingerprint)


def confluent(schema_id: int) -> bytes:
    """Return the header for a schema id of a registry."""
    return bytes((CONFLUENT_MAGIC,)) + schema_id.to_bytes(4, "big")


def label(header: bytes) -> str:
    """Return the name of a header's schema: `crc64:` and 16 hex digits, `id:` and the number, or `json`."""
    if header == JSON:
        return "json"
    if header[0] == SINGLE_OBJECT[0]:
        return f"crc64:{header[2:].hex()}"
    return f"id:{int.from_bytes(header[1:], 'big')}"
