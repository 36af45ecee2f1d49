"""What the decoders share: a framed record, what it may hold, how values are read, and how a record is refused."""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from streamproc.core.model import MAX_TIME_MS, MIN_TIME_MS, NO_TIMESTAMP, RunEvent, Usage
from streamproc.core.shape import TIMES
from streamproc.errors import RecordRejected

MAX_ID_CHARS = 256
MAX_STATUS_CHARS = 64
MAX_NAME_CHARS = 1_024
"""Of a thread, an assistant, a model, an error code, a tool: kept with the run, and sent on with each change."""
MAX_UNIX_SECONDS = 253_402_300_799
"""The last second of the year 9999."""
MAX_LONG = 2**63 - 1
UNREADABLE = -1
"""Stands for a time that is none, and is refused as one out of range."""
MAX_METADATA_PAIRS, MAX_METADATA_KEY_CHARS, MAX_METADATA_VALUE_CHARS = 16, 64, 512
MAX_TOOLS = 128
"""Kept of a required action's calls."""
METADATA_OVER_LIMIT, TOOLS_OVER_LIMIT = "metadata_over_limit", "tools_over_limit"
FLAGS = (METADATA_OVER_LIMIT, TOOLS_OVER_LIMIT)
"""What is odd about a record that is taken all the same: counted as anomalies."""

# Controls, line and paragraph separators, and what changes the direction of the text around it.
NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Arrival(Protocol):
    """What the codec needs of a consumed record. `timestamp` in milliseconds."""

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


class Framed(Struct, gc=False, frozen=True):
    """A record and its payload, the framing taken off."""

    record: Arrival
    payload: bytes


class Rejection(NamedTuple):
    """A record that cannot be used: a reason from a closed set, and a message that does not show the payload."""

    record: Arrival
    reason: str
    message: str


def instants(timestamps: Sequence[int]) -> Sequence[int]:
    """Return Kafka timestamps, NO_TIMESTAMP for those that are absent or in another unit: a broker admits any long."""
    if min(timestamps, default=MIN_TIME_MS) >= MIN_TIME_MS and max(timestamps, default=0) <= MAX_TIME_MS:
        return timestamps
    return [instant(timestamp, NO_TIMESTAMP) for timestamp in timestamps]


def instant(timestamp: int, otherwise: int) -> int:
    """Return a Kafka timestamp, `otherwise` where it is no time."""
    return timestamp if MIN_TIME_MS <= timestamp <= MAX_TIME_MS else otherwise


def seconds(value: Any, per_second: int) -> int | None:
    """Return a time in Unix seconds, from a number or from ISO 8601 (UTC unless it says otherwise)."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() // 1)
        except (ValueError, OverflowError):
            return UNREADABLE
    try:
        return int(value // per_second)
    except (ValueError, OverflowError):  # A float that is no number, or without end.
        return UNREADABLE


def usage(prompt: int | None, completion: int | None, total: int | None) -> Usage | None:
    """Return token counts where any is known; what is not given counts as none, the total as their sum."""
    if prompt is None and completion is None and total is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    return prompt, completion, _capped(prompt + completion) if total is None else total


def _capped(number: int) -> int:
    """Return a number that fits an Avro long."""
    return max(-MAX_LONG, min(number, MAX_LONG))


def flags(metadata: Collection[tuple[str, Any]], tools: int) -> tuple[str, ...]:
    """Return what is odd about a record, given its metadata's pairs; a run is not stranded for it."""
    found = []
    if metadata and _is_over_limit(metadata):
        found.append(METADATA_OVER_LIMIT)
    if tools > MAX_TOOLS:
        found.append(TOOLS_OVER_LIMIT)
    return tuple(found)


def _is_over_limit(pairs: Collection[tuple[str, Any]]) -> bool:
    return len(pairs) > MAX_METADATA_PAIRS or any(
        len(key) > MAX_METADATA_KEY_CHARS or (isinstance(value, str) and len(value) > MAX_METADATA_VALUE_CHARS)
        for key, value in pairs
    )


def is_text(text: str) -> bool:
    """Tell whether a text is one to be shown: no control characters, nothing that turns the line around it."""
    return text.isprintable() or NO_TEXT.search(text) is None


def check(event: RunEvent) -> None:
    """Refuse what decodes but cannot be a run: a mutated payload is often a valid other one.

    Raises RecordRejected (`bad_run_id`, `bad_status`, `bad_time`, `bad_text`).
    """
    if flaw := _flaw(event.run_id, MAX_ID_CHARS):
        raise RecordRejected("bad_run_id", f"the run id {flaw}")
    if flaw := _flaw(event.status, MAX_STATUS_CHARS):
        raise RecordRejected("bad_status", f"the status {flaw}")
    for name in TIMES:
        time = getattr(event, name)
        if time is not None and not 0 <= time <= MAX_UNIX_SECONDS:
            raise RecordRejected(
                "bad_time", f"{name} is no time from 1970 to 9999, in its schema's or profile's unit or as ISO 8601"
            )
    names = (event.thread_id, event.assistant_id, event.model, event.error_code, *event.required_tools)
    longest = max((len(name) for name in names if name is not None), default=0)
    if longest > MAX_NAME_CHARS:
        what = "thread_id, assistant_id, model, error code and tools"
        raise RecordRejected("bad_text", f"one of {what} has {longest} characters: at most {MAX_NAME_CHARS}")


def _flaw(text: str | None, limit: int) -> str:
    """Return what is wrong with a text that must be there, without showing it."""
    if text is None:
        return "is null"
    if not 0 < len(text) <= limit:
        return f"has {len(text)} characters: 1 to {limit}"
    return "" if is_text(text) else "holds control characters"
