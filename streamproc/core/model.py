"""The values of the core: RunEvent comes in, Run is the state, Transition goes out.

Structs without garbage-collector tracking (`gc=False`): they hold only scalars, strings and flat tuples of those,
and there may be millions of them.
"""

from msgspec import Struct

from streamproc.vocabulary import Vocabulary

MAX_AHEAD_MS = 300_000
"""Event times further ahead of the wall clock than this are not believed (rules.md 18 for watermarks)."""
MAX_LATE_MS = 300_000
"""An event that is later than this counts as late (see `lateness`); networks and clocks explain less."""
OLD_MS = 86_400_000
"""An event that is later than this is old: from a backfill, a slow mirror, a wrong clock."""
MIN_TIME_MS, MAX_TIME_MS = 946_684_800_000, 253_402_300_799_999
"""The years 2000 to 9999. A Kafka timestamp outside of them is absent, or in another unit (rules.md 15)."""
NO_TIMESTAMP = -1
"""In the place of a Kafka timestamp that is not a valid time."""
Usage = tuple[int, int, int]
"""Token counts in the order prompt, completion, total."""


class Verdict(Vocabulary):
    """The verdict on an arrival; each arrival gets exactly one (rules.md 12 to 14)."""

    APPLIED = "applied", "The state was written."
    DUPLICATE = "duplicate", "The event told nothing new."
    STALE = "stale", "The event came too late, or the life cycle has no such change."
    ILLEGAL = "illegal", "The run had ended otherwise; there is an alert, too."


class Reason(Vocabulary):
    """Why an arrival changed no status (rules.md 12 and 13)."""

    REWRITTEN = "rewritten", "Other content under the same status."
    COMPLETED = "completed", "The run has ended; the event brought tokens or an error that were missing."
    REPEATED = "repeated", "The same object once more."
    NO_NEWS = "no_news", "The end was told again, with nothing that was missing."
    ENDED = "ended", "The run has ended already."
    NOT_ALLOWED = "not_allowed", "The life cycle has no such change of status."
    OTHER_END = "other_end", "The run has ended in another status."


class EventFlag(Vocabulary):
    """Anomalies that the decoder finds in a record. They are counted, and the record is processed all the same.

    The native decoder numbers them in this order.
    """

    METADATA_OVER_LIMIT = (
        "metadata_over_limit",
        "There are more or longer metadata than APIs allow; they are kept as they came.",
    )
    TOOLS_OVER_LIMIT = "tools_over_limit", "The run asks for more tools than are taken: the list is cut."
    NAME_OVER_LIMIT = "name_over_limit", "A name, such as the model's, is longer than is taken: it is cut."
    TIME_UNSET = "time_unset", "A time says by 0, or a negative number, that it is not set: it is null."
    TIME_UNREADABLE = "time_unreadable", "A time is there and cannot be read: it is null."
    VALUE_UNREADABLE = "value_unreadable", "Another value is there and cannot be read: it is null."
    TEXT_DAMAGED = "text_damaged", "A text holds what is no text: U+FFFD stands for it."


class RunEvent(Struct, gc=False, frozen=True):
    """One decoded RunObject as it arrived. Times of the RunObject in Unix seconds.

    `timestamp`: Kafka's, in milliseconds, NO_TIMESTAMP if it is not a valid time. `partition`: the input partition.
    """

    run_id: str
    status: str
    thread_id: str | None
    assistant_id: str | None
    model: str | None
    created_at: int | None
    started_at: int | None
    expires_at: int | None
    completed_at: int | None
    failed_at: int | None
    cancelled_at: int | None
    usage: Usage | None
    error_code: str | None
    required_tools: tuple[str, ...]
    key: bytes | None
    timestamp: int
    offset: int
    schema: str
    payload: bytes
    flags: tuple[EventFlag, ...] = ()
    partition: int = 0


class Run(Struct, gc=False, array_like=True):
    """The latest state of one run. Treated as immutable once it is committed: a change makes a copy.

    `attempt`: 1, and one more whenever the profile's `reopened` lets the run begin again; all values from events are
    those of the present attempt. `previous_end`: the end of the attempt before, in Unix seconds. `stream_lag_ms`,
    `clock_lag_ms`: how late the event was that entered the status, see `lateness`. `payload`: 0 if `event` has the
    payload, else its number among the state's `Payloads`, or -1 if it was dropped. The order of the fields is that of
    the schema RunState.
    """

    run_id: str
    thread_id: str | None
    assistant_id: str | None
    model: str | None
    status: str
    status_since: int
    status_offset: int
    first_seen_at: int
    retained_from: int
    created_at: int | None
    started_at: int | None
    expires_at: int | None
    ended_at: int | None
    transitions: int
    usage: Usage | None
    error_code: str | None
    required_tools: tuple[str, ...]
    alerts: tuple[str, ...]
    offset: int
    event_schema: str
    event: bytes
    attempt: int = 1
    previous_end: int | None = None
    stream_lag_ms: int = 0
    clock_lag_ms: int = 0
    payload: int = 0


class Transition(Struct, gc=False, frozen=True):
    """One applied change of status. `occurred_at` and `in_from_ms` come from Kafka timestamps (rules.md 15).

    The order of the fields is that of the schema RunTransition.
    """

    run_id: str
    thread_id: str | None
    assistant_id: str | None
    model: str | None
    from_status: str | None
    to_status: str
    occurred_at: int
    in_from_ms: int | None
    expected: bool
    outcome: str | None
    error_code: str | None
    offset: int
    attempt: int = 1


class Ruling(Struct, gc=False, frozen=True):
    """The verdict on an arrival that changed no status: the status it reported, the verdict, and the reason.

    `occurred_at` as in Transition, `attempt` of the run. The names are those of the schema RunVerdict.
    """

    run_id: str
    verdict: str
    status_before: str
    status_said: str
    occurred_at: int
    reason: str
    source_offset: int
    attempt: int = 1


class Moment(Struct, frozen=True):
    """A reading of the clock. `caught_up`: nothing before it is unread (rules.md 16)."""

    wall_ms: int
    caught_up: bool
