"""Dead letters: value, key and headers of a record as they came, and the reason. Nothing here parses the record again.

A record that is too large for the dead-letter topic is cut. The letter then has the size and the SHA-256 of the whole
value, so that the original can be read again at its source offset and verified.
"""

import hashlib
from typing import NamedTuple

from streamproc.codec.arrival import Arrival, Rejection, instant
from streamproc.codec.message import Message
from streamproc.codec.sizes import MAX_HEADERS, Headers, batch_bytes, headers_count
from streamproc.errors import RejectionReason

MAX_MESSAGE_CHARS = 1_000
CUT_BYTES = 65_536
"""How much is kept of a value, or a key, that is too large for the topic."""
ANY_SIZE = 2**31 - 1

REASON = "streamproc.error.reason"
MESSAGE = "streamproc.error.message"
TOPIC = "streamproc.source.topic"
PARTITION = "streamproc.source.partition"
OFFSET = "streamproc.source.offset"
TIMESTAMP = "streamproc.source.timestamp"
HEADERS = (REASON, MESSAGE, TOPIC, PARTITION, OFFSET, TIMESTAMP)
"""Headers appended to the record's own, in this order."""

SIZE, SHA256, CUT = "streamproc.size", "streamproc.sha256", "streamproc.cut"
"""Further headers of a record that was too large: size and digest of its whole value, and the parts that were cut."""
THROUGH = "streamproc.skipped.through"
"""Further header of records that were skipped: the offset of the last one."""
FURTHER_HEADERS = (SIZE, SHA256, CUT, THROUGH)


class RecordPlace(NamedTuple):
    """The topic, partition, offset and timestamp of a record that was read."""

    topic: str
    partition: int
    offset: int
    timestamp: int


def dead_letter(
    rejection: Rejection, topic: str, partition: int, wall_ms: int, admitted_bytes: int = ANY_SIZE
) -> Message:
    """Return the dead letter of a record of `topic` and `partition`; `admitted_bytes`: what the letter topic admits."""
    record, reason = rejection.record, rejection.reason
    place = RecordPlace(topic, partition, record.offset, record.timestamp)
    # Never ahead of the clock, and a valid time: letters whose times lie too far apart fit into no batch, and retention
    # would delete a letter that seems old. A header has the record's own timestamp.
    at_ms = min(instant(record.timestamp, wall_ms), wall_ms)
    if reason != RejectionReason.TOO_LARGE:
        headers = [*_own(record), *_why(reason, rejection.message, place)]
        if _fits(record, record.value, headers, admitted_bytes):
            return record.key, record.value, at_ms, headers
    return _sized(rejection, place, at_ms, admitted_bytes)


def skipped_letter(place: RecordPlace, through: int, why: str, wall_ms: int) -> Message:
    """Return the dead letter that stands for all records from `place` to the offset `through`: nobody read them."""
    return None, None, wall_ms, [*_why(RejectionReason.SKIPPED, why, place), (THROUGH, str(through).encode())]


def _sized(rejection: Rejection, place: RecordPlace, at_ms: int, admitted_bytes: int) -> Message:
    """Return a letter with the whole record if the topic admits that, else with as much of it as the topic admits."""
    record, note = rejection.record, "; this letter is whole"
    proof = _proof(record)
    own = _own(record)
    whole = [*own, *_why(rejection.reason, rejection.message, place, note), *proof]
    if _fits(record, record.value, whole, admitted_bytes):
        return record.key, record.value, at_ms, whole
    note = (
        f"; this letter is cut: its topic admits {admitted_bytes:,} bytes (max.message.bytes), and {MAX_HEADERS:,} "
        "headers are taken"
    )
    value = record.value and record.value[:CUT_BYTES]
    why = [*_why(rejection.reason, rejection.message, place, note), *proof]
    cut = [*own, *why, (CUT, b"value")]
    if _fits(record, value, cut, admitted_bytes):
        return record.key, value, at_ms, cut
    return record.key and record.key[:CUT_BYTES], value, at_ms, [*why, (CUT, b"value, key, headers")]


def _own(record: Arrival) -> Headers:
    """Return the record's own headers, or none if there are too many."""
    return record.headers if headers_count(record.headers) <= MAX_HEADERS else ()


def _fits(record: Arrival, value: bytes | None, headers: Headers, admitted_bytes: int) -> bool:
    """Tell whether a letter with these parts keeps all headers of the record, and its topic admits it."""
    is_listed = headers_count(record.headers) <= MAX_HEADERS and len(headers) <= MAX_HEADERS
    return is_listed and batch_bytes(record.key, value, headers) <= admitted_bytes


def _why(reason: RejectionReason, message: str, place: RecordPlace, note: str = "") -> list[tuple[str, bytes]]:
    said = message[: MAX_MESSAGE_CHARS - len(note)] + note
    texts = (reason, said, place.topic, str(place.partition), str(place.offset), str(place.timestamp))
    return [(name, text.encode("utf-8", "backslashreplace")) for name, text in zip(HEADERS, texts, strict=True)]


def _proof(record: Arrival) -> list[tuple[str, bytes]]:
    value = record.value or b""
    return [(SIZE, str(len(value)).encode()), (SHA256, hashlib.sha256(value).hexdigest().encode())]
