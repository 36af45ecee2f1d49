"""Dead letters: bytes, key and headers exactly as they came, and why. Nothing in here parses the record again."""

from streamproc.codec.decode import Rejection
from streamproc.codec.encode import Message

MAX_MESSAGE_CHARS = 1_000


def dead_letter(rejection: Rejection, topic: str, partition: int, wall_ms: int) -> Message:
    """Return the dead letter of a record of `topic` and `partition`."""
    record = rejection.record
    why = (
        ("streamproc.error.reason", rejection.reason),
        ("streamproc.error.message", rejection.message[:MAX_MESSAGE_CHARS]),
        ("streamproc.source.topic", topic),
        ("streamproc.source.partition", str(partition)),
        ("streamproc.source.offset", str(record.offset)),
        ("streamproc.source.timestamp", str(record.timestamp)),
    )
    headers = [*record.headers, *((name, text.encode()) for name, text in why)]
    return record.key, record.value, min(record.timestamp, wall_ms), headers
