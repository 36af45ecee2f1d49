"""A dead letter, read back from its headers, and the record that a replay makes of it."""

import re
from typing import NamedTuple

from streamproc.codec.arrival import Arrival
from streamproc.codec.deadletter import CUT, FURTHER_HEADERS, HEADERS, SHA256, SIZE, THROUGH
from streamproc.codec.framing import header_of, label
from streamproc.codec.message import Message
from streamproc.codec.sizes import Headers, headers_bytes
from streamproc.errors import RecordRejected, RejectionReason

ATTEMPT = "streamproc.replay.attempt"
OF = "streamproc.replay.of"
UNFRAMED = "none"
"""Stands for the schema of a value that has no framing header."""

_COUNT = re.compile(rb"\d{1,9}")
_LONG = re.compile(rb"-?\d{1,19}")
_DIGEST = re.compile(rb"[0-9a-f]{64}")
MAX_LONG = 2**63 - 1
MAX_TEXT_CHARS = 1_000
"""Of what somebody else may have written into a header of ours."""


class LetterOrigin(NamedTuple):
    """Where the record was read. `timestamp` in milliseconds: the event's, as it came."""

    topic: str
    partition: int
    offset: int
    timestamp: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


class Original(NamedTuple):
    """What a record was that was too large: the bytes and the SHA-256 of its value, and what of it is cut here."""

    size: int
    sha256: str
    cut: str


class Letter(NamedTuple):
    """A dead letter. `attempt`: how often it was replayed before it failed this time; `headers`: the record's own.

    `original`: of a record that was too large; `through`: the last offset of those that were passed over.
    """

    partition: int
    offset: int
    written_ms: int
    reason: str
    message: str
    source: LetterOrigin
    schema: str
    attempt: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    original: Original | None = None
    through: int | None = None

    @property
    def place(self) -> str:
        """Where the letter lies: its partition and offset in the dead-letter topic."""
        return f"{self.partition}:{self.offset}"

    @property
    def size(self) -> int:
        """The bytes of value, key and headers, the value's as it came."""
        value_bytes = len(self.value or b"") if self.original is None else self.original.size
        return value_bytes + len(self.key or b"") + headers_bytes(self.headers)

    @property
    def is_cut(self) -> bool:
        """Whether the record is not in here as a whole."""
        return self.original is not None and bool(self.original.cut)

    @property
    def was_skipped(self) -> bool:
        """Whether it stands for records that an operator passed over: there is nothing to send."""
        return self.reason == RejectionReason.SKIPPED and self.through is not None

    def again(self) -> Message:
        """Return the record as it came, timestamp and all (rules.md 15), marked with the attempt and the letter."""
        headers = [header for header in self.headers if header[0] not in {ATTEMPT, OF}]
        headers += [(ATTEMPT, str(self.attempt + 1).encode()), (OF, self.place.encode())]
        return self.key, self.value, self.source.timestamp, headers


class Foreign(NamedTuple):
    """A record of the dead-letter topic that is no dead letter: somebody else wrote it."""

    partition: int
    offset: int
    flaw: str

    @property
    def place(self) -> str:
        """Where it lies."""
        return f"{self.partition}:{self.offset}"


class _Flaw(Exception):
    """What is wrong with the headers."""


def of(record: Arrival, partition: int) -> Letter | Foreign:
    """Read a record of a partition of the dead-letter topic. Raises nothing: what is no letter is a Foreign."""
    # A record that had such headers of its own keeps them: ours are the last of each name.
    last = {name: at for at, (name, _) in enumerate(record.headers) if name in HEADERS}
    try:
        reason, message, *place = [_value(record, last, name) for name in HEADERS]
        source = _source(*place)
    except _Flaw as flaw:
        return Foreign(partition, record.offset, str(flaw))
    ours = set(last.values())
    # Ours are behind those: what stands in front was there when the record came.
    behind = {name: at for at, (name, _) in enumerate(record.headers) if name in FURTHER_HEADERS and at > max(ours)}
    ours |= set(behind.values())
    try:
        original, through = _original(record, behind), _through(record, behind)
    except _Flaw as flaw:
        return Foreign(partition, record.offset, str(flaw))
    own = [header for at, header in enumerate(record.headers) if at not in ours]
    return Letter(
        partition,
        record.offset,
        record.timestamp,
        _text(reason),
        _text(message),
        source,
        _schema(record.value),
        _attempt(own),
        record.key,
        record.value,
        own,
        original,
        through,
    )


def _original(record: Arrival, behind: dict[str, int]) -> Original | None:
    if not behind.keys() & {SIZE, SHA256, CUT}:
        return None
    size, digest = _value(record, behind, SIZE), _value(record, behind, SHA256)
    if not _LONG.fullmatch(size) or not _DIGEST.fullmatch(digest):
        raise _Flaw(f"its headers {SIZE} and {SHA256} are no size and digest")
    return Original(int(size), digest.decode(), _text(_value(record, behind, CUT)) if CUT in behind else "")


def _through(record: Arrival, behind: dict[str, int]) -> int | None:
    if THROUGH not in behind:
        return None
    said = _value(record, behind, THROUGH)
    if not _LONG.fullmatch(said):
        raise _Flaw(f"its header {THROUGH} is no offset")
    return int(said)


def _value(record: Arrival, last: dict[str, int], name: str) -> bytes:
    # A null is not in the types of a header's value, but it is in Kafka.
    value: bytes | None = record.headers[last[name]][1] if name in last else None
    if value is None:
        raise _Flaw(f"it has no header {name}")
    return value


def _source(topic: bytes, *numbers: bytes) -> LetterOrigin:
    if not all(map(_LONG.fullmatch, numbers)):
        raise _Flaw("its headers streamproc.source.* are not numbers")
    partition, offset, timestamp = map(int, numbers)
    if not (0 <= partition <= MAX_LONG and 0 <= offset <= MAX_LONG and -MAX_LONG <= timestamp <= MAX_LONG):
        raise _Flaw("its headers streamproc.source.* name no place and time")
    return LetterOrigin(_text(topic), partition, offset, timestamp)


def _text(value: bytes) -> str:
    return value[:MAX_TEXT_CHARS].decode("utf-8", "backslashreplace")


def _schema(value: bytes | None) -> str:
    try:
        return label(header_of(value))
    except RecordRejected:
        return UNFRAMED


def _attempt(headers: Headers) -> int:
    """Return what the last replay said; 0 where there was none, or a producer wrote something else there."""
    said = next((value for name, value in reversed(headers) if name == ATTEMPT), None)
    return int(said) if said is not None and _COUNT.fullmatch(said) else 0
