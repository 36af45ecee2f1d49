"""Reads dead letters from their headers, and makes the record that a replay sends."""

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
"""The schema label of a value without a framing header."""

_COUNT = re.compile(rb"\d{1,9}")
_LONG = re.compile(rb"-?\d{1,19}")
_DIGEST = re.compile(rb"[0-9a-f]{64}")
MAX_LONG = 2**63 - 1
MAX_TEXT_CHARS = 1_000
"""Limit on texts in our headers: another writer may have put anything there."""


class LetterOrigin(NamedTuple):
    """Where the record was read. `timestamp`: the event's original one, in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


class Original(NamedTuple):
    """The original of a too large record: size and SHA-256 of its value; `cut`: which parts the letter has cut."""

    size: int
    sha256: str
    cut: str


class Letter(NamedTuple):
    """A dead letter. `attempt`: how often it was replayed before it failed this time; `headers`: the record's own.

    `original`: for a record that was too large; `through`: for skipped records, the last offset.
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
        """The letter's partition and offset in the dead-letter topic."""
        return f"{self.partition}:{self.offset}"

    @property
    def size(self) -> int:
        """The size of value, key and headers in bytes; for a cut value, its original size."""
        value_bytes = len(self.value or b"") if self.original is None else self.original.size
        return value_bytes + len(self.key or b"") + headers_bytes(self.headers)

    @property
    def is_cut(self) -> bool:
        """Whether the letter holds only a part of the record."""
        return self.original is not None and bool(self.original.cut)

    @property
    def was_skipped(self) -> bool:
        """Whether it stands for records that an operator passed over: there is nothing to send."""
        return self.reason == RejectionReason.SKIPPED and self.through is not None

    def again(self) -> Message:
        """Return the record with its original timestamp (rules.md 15), marked with the attempt and the letter."""
        headers = [header for header in self.headers if header[0] not in {ATTEMPT, OF}]
        headers += [(ATTEMPT, str(self.attempt + 1).encode()), (OF, self.place.encode())]
        return self.key, self.value, self.source.timestamp, headers


class Foreign(NamedTuple):
    """A record of the dead-letter topic that is not a dead letter: another program wrote it."""

    partition: int
    offset: int
    flaw: str

    @property
    def place(self) -> str:
        """Its partition and offset in the dead-letter topic."""
        return f"{self.partition}:{self.offset}"


class _Flaw(Exception):
    """The headers are not those of a dead letter."""


def of(record: Arrival, partition: int) -> Letter | Foreign:
    """Read a record of a partition of the dead-letter topic. Raises nothing: other records become Foreign."""
    # The original record may have had headers of these names; ours were appended, so the last of each name counts.
    last = {name: at for at, (name, _) in enumerate(record.headers) if name in HEADERS}
    try:
        reason, message, *place = [_value(record, last, name) for name in HEADERS]
        source = _source(*place)
    except _Flaw as flaw:
        return Foreign(partition, record.offset, str(flaw))
    ours = set(last.values())
    # Our further headers come behind those above; earlier ones of these names belong to the original record.
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
    offset = _value(record, behind, THROUGH)
    if not _LONG.fullmatch(offset):
        raise _Flaw(f"its header {THROUGH} is no offset")
    return int(offset)


def _value(record: Arrival, last: dict[str, int], name: str) -> bytes:
    # The type excludes a null as a header's value, but Kafka allows it.
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
    """Return the attempt noted by the last replay; 0 where there was none, or the header is not a number."""
    attempt = next((value for name, value in reversed(headers) if name == ATTEMPT), None)
    return int(attempt) if attempt is not None and _COUNT.fullmatch(attempt) else 0
