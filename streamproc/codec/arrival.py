"""What the decoders share: framed records, the limits on their content, and the errors for records that are refused."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from streamproc.codec.names import shown
from streamproc.core.model import MAX_TIME_MS, MIN_TIME_MS, NO_TIMESTAMP, EventFlag, RunEvent
from streamproc.errors import RecordRejected, RejectionReason
from streamproc.spelling import meant

MAX_ID_CHARS = 256
MAX_STATUS_CHARS = 64
MAX_NAME_CHARS = 1_024
"""Longer names are cut (thread, assistant, model, error code): the state keeps them, and each output repeats them."""
MAX_UNIX_SECONDS = 253_402_300_799
"""The last second of the year 9999."""
MAX_LONG = 2**63 - 1
MAX_METADATA_PAIRS, MAX_METADATA_KEY_CHARS, MAX_METADATA_VALUE_CHARS = 16, 64, 512
MAX_TOOLS, MAX_TOOL_CHARS, MAX_TOOLS_CHARS = 128, 256, 8_192
"""Limits on the tools of a required action: how many names, characters of one name, characters of all names."""

FLAGS = tuple(EventFlag)

# Control characters, line and paragraph separators, and characters that change the direction of the text around them.
NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Arrival(Protocol):
    """A consumed record, as far as the codec reads it. `timestamp` in milliseconds."""

    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...  # noqa: D102


class Bare(NamedTuple):
    """An Arrival with a value only: no key, no headers."""

    offset: int
    timestamp: int
    value: bytes
    key: None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Framed(Struct, gc=False, frozen=True):
    """A record and its payload without the framing. `partition`: the input partition."""

    record: Arrival
    payload: bytes
    partition: int = 0


class Rejection(NamedTuple):
    """A record that cannot be used: the reason, and a message that does not show the payload.

    `partition`: the input partition.
    """

    record: Arrival
    reason: RejectionReason
    message: str
    partition: int = 0


def latest(records: Iterable[Arrival]) -> list[Arrival]:
    """Return the latest record of each key."""
    return list({record.key: record for record in records}.values())


def instants(timestamps: Sequence[int]) -> Sequence[int]:
    """Return Kafka timestamps, with NO_TIMESTAMP for those absent or in another unit: a broker admits any long."""
    if min(timestamps, default=MIN_TIME_MS) >= MIN_TIME_MS and max(timestamps, default=0) <= MAX_TIME_MS:
        return timestamps
    return [instant(timestamp, NO_TIMESTAMP) for timestamp in timestamps]


def instant(timestamp: int, otherwise: int) -> int:
    """Return a Kafka timestamp, or `otherwise` where it is not a valid time."""
    return timestamp if MIN_TIME_MS <= timestamp <= MAX_TIME_MS else otherwise


def ordered(odd: Iterable[EventFlag]) -> tuple[EventFlag, ...]:
    """Return flags as an event has them: each once, in the order of FLAGS."""
    found = set(odd)
    return tuple(flag for flag in FLAGS if flag in found) if found else ()


def is_text(text: str) -> bool:
    """Tell whether a text is safe to show: no control characters, none that change the direction of the line."""
    return text.isprintable() or NO_TEXT.search(text) is None


def check(event: RunEvent) -> None:
    """Refuse a payload that decodes but cannot be a run: a corrupted payload often decodes as a valid one.

    Raises RecordRejected (`bad_run_id`, `bad_status`).
    """
    if flaw := _flaw(event.run_id, MAX_ID_CHARS):
        raise refusal("id", flaw)
    if flaw := _flaw(event.status, MAX_STATUS_CHARS):
        raise refusal("status", flaw)


def refusal(target: str, flaw: str) -> RecordRejected:
    """Return the error for a record with a flaw in its id or status (`target`). No other field can cost an event."""
    if target == "id":
        return RecordRejected(RejectionReason.BAD_RUN_ID, f"the run id {flaw}")
    return RecordRejected(RejectionReason.BAD_STATUS, f"the status {flaw}")


def unknown(status: str, only: frozenset[str]) -> RecordRejected:
    """Return the error for an event whose status is not one of `only`."""
    near = meant(status, only)
    may = f"did you mean {near}? STREAMPROC_INPUT__STATUSES maps it" if near else f"there is {', '.join(sorted(only))}"
    return RecordRejected(RejectionReason.UNKNOWN_STATUS, f"the status {shown(status)} is none of the profile's; {may}")


def _flaw(text: str | None, limit: int) -> str:
    """Return what is wrong with a required text, without showing it."""
    if text is None:
        return "is null"
    if not 0 < len(text) <= limit:
        return f"has {len(text)} characters: 1 to {limit}"
    return "" if is_text(text) else "holds control characters"
