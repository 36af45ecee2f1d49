"""Alerts: conditions that fire and resolve, and occurrences (rules.md 20 and 21)."""

from enum import StrEnum

from msgspec import Struct

OVERDUE = "overdue"
STUCK = "stuck_"
"""Prefix of the kinds `stuck_<status>`, one for each open status of the profile."""
ILLEGAL = "illegal"
FAILURE_RATE = "failure_rate"
STREAM_SILENT = "stream_silent"


def kind_of(alert_id: str) -> str:
    """Return the kind of the alert that an id is of: every id begins with it, and no kind holds a colon."""
    return alert_id.partition(":")[0]


class Severity(StrEnum):
    """How urgent it is, in the words that alerting systems route by."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class AlertState(StrEnum):
    """A condition comes as both; an occurrence as firing, with an end time."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(Struct, frozen=True, gc=False):
    """One RunAlert. Times in milliseconds; what is about a run, a source or a model is None where there is none.

    `decided_at` is the `now` by which it was decided (rules.md 16), so that an oracle can replay it.
    """

    alert_id: str
    kind: str
    severity: Severity
    state: AlertState
    since: int
    decided_at: int
    summary: str
    run_id: str | None = None
    thread_id: str | None = None
    assistant_id: str | None = None
    model: str | None = None
    status: str | None = None
    deadline_at: int | None = None
    ends_at: int | None = None
    source_topic: str | None = None
    source_partition: int | None = None
    source_offset: int | None = None

    @property
    def key(self) -> str:
        """The record's key (rules.md 20)."""
        return self.run_id or self.alert_id
