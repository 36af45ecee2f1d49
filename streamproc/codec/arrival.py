"""What the decoders share: a framed record, what it may hold, and how it is refused."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from streamproc.core.model import MAX_TIME_MS, RunEvent
from streamproc.errors import RecordRejected

MAX_ID_CHARS = 256
MAX_STATUS_CHARS = 64
MAX_UNIX_SECONDS = 253_402_300_799
"""The last second of the year 9999."""
TIMES = ("created_at", "started_at", "expires_at", "completed_at", "failed_at", "cancelled_at")
USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")


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


class Framed(NamedTuple):
    """A record and its Avro payload, the framing taken off."""

    record: Arrival
    payload: bytes


def instants(timestamps: Sequence[int]) -> Sequence[int]:
    """Return Kafka timestamps as times between 1970 and 9999: a broker admits any long, and sums of two are none."""
    if min(timestamps, default=0) >= 0 and max(timestamps, default=0) <= MAX_TIME_MS:
        return timestamps
    return [max(0, min(timestamp, MAX_TIME_MS)) for timestamp in timestamps]


def check(event: RunEvent) -> None:
    """Refuse what decodes but cannot be a run: a mutated payload is often a valid other one.

    Raises RecordRejected (`bad_run_id`, `bad_status`, `bad_time`).
    """
    if not 0 < len(event.run_id) <= MAX_ID_CHARS:
        raise RecordRejected("bad_run_id", f"the run id has {len(event.run_id)} characters: 1 to {MAX_ID_CHARS}")
    if not 0 < len(event.status) <= MAX_STATUS_CHARS:
        raise RecordRejected("bad_status", f"the status has {len(event.status)} characters: 1 to {MAX_STATUS_CHARS}")
    for name in TIMES:
        seconds = getattr(event, name)
        if seconds is not None and not 0 <= seconds <= MAX_UNIX_SECONDS:
            raise RecordRejected("bad_time", f"{name} is out of range: give Unix seconds")
