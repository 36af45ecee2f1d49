"""Dead letters: bytes, key and headers exactly as they came, and why. Nothing in here parses the record again."""

from streamproc.codec.arrival import Rejection
from streamproc.codec.encode import Message

MAX_MESSAGE_CHARS = 1_000

REASON = "streamproc.error.reason"
MESSAGE = "streamproc.error.message"
TOPIC = "streamproc.source.topic"
PARTITION = "streamproc.source.partition"
OFFSET = "streamproc.source.offset"
TIMESTAMP = "streamproc.source.timestamp"
HEADERS = (REASON, MESSAGE, TOPIC, PARTITION, OFFSET, TIMESTAMP)
"""What is appended to the record's own headers, in this order."""


def dead_letter(rejection: Rejection, topic: str, partition: int, wall_ms: int) -> Message:
    """Return the dead letter of a record of `topic` and `partition`."""
    record = rejection.record
    why = (
        rejection.reason,
        rejection.message[:MAX_MESSAGE_CHARS],
        topic,
        str(partition),
        str(record.offset),
        str(record.timestamp),
    )
    headers = [*record.headers, *((name, text.encode()) for name, text in zip(HEADERS, why, strict=True))]
    return record.key, record.value, min(record.timestamp, wall_ms), headers
