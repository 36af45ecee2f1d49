"""Alerts: conditions that fire and resolve, and occurrences (rules.md 20 and 21)."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Self

from msgspec import Struct


def kind_of(alert_id: str) -> str:
    """Return the kind in an alert's id: every id begins with its kind, and no kind has a colon."""
    return alert_id.partition(":")[0]


class Severity(StrEnum):
    """How urgent an alert is, in the words that alerting systems route by."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Subject(StrEnum):
    """What alerts are about."""

    RUN = "a run"
    WINDOWS = "windows of an assistant and model"
    STREAM = "the stream"


class AlertKind(StrEnum):
    """The kinds of alerts, with their properties. The value is the field `kind` of run-alerts.

    `subject`: what it is about; `alert_name`: its name for people, also that of its Prometheus rule and of its page in
    `deploy/runbooks`; `severities`: the possible ones; `fires`, `resolves`: when it does, as the reference describes
    it.
    """

    subject: Subject
    alert_name: str
    severities: tuple[Severity, ...]
    fires: str
    resolves: str

    def __new__(  # noqa: D102  what a member is made of
        cls, value: str, subject: Subject, alert_name: str, severities: tuple[Severity, ...], fires: str, resolves: str
    ) -> Self:
        kind = str.__new__(cls, value)
        kind._value_ = value
        kind.subject, kind.alert_name, kind.severities = subject, alert_name, severities
        kind.fires, kind.resolves = fires, resolves
        return kind

    STUCK = (
        "stuck_",  # What the kinds `stuck_<status>` begin with, one for each open status of the profile.
        Subject.RUN,
        "StreamprocRunsStuck",
        (Severity.WARNING,),
        "A run is in a status with a limit for longer than that and `deadlines.allowance_s`.",
        "It changes its status, or is forgotten.",
    )
    OVERDUE = (
        "overdue",
        Subject.RUN,
        "StreamprocRunsOverdue",
        (Severity.WARNING,),
        "A run's `expires_at` and the allowance passed, and it has not ended.",
        "It ends, `expires_at` is moved, or it is forgotten.",
    )
    ILLEGAL = (
        "illegal",
        Subject.RUN,
        "StreamprocIllegalTransitions",
        (Severity.WARNING,),
        "A run that ended is said to have ended otherwise: once for each run and pair of statuses.",
        "Never: it is sent with an end time.",
    )
    FAILURE_RATE = (
        "failure_rate",
        Subject.WINDOWS,
        "StreamprocAssistantFailureRateHigh",
        (Severity.WARNING, Severity.CRITICAL),
        "A window of an assistant and model is at or above a limit.",
        "The next window is not, or has too few runs.",
    )
    COST_OVER_BUDGET = (
        "cost_over_budget",
        Subject.WINDOWS,
        "StreamprocCostOverBudget",
        (Severity.WARNING,),
        "The tokens of a window of an assistant and model cost more than `alerts.cost_budget`.",
        "Those of the next window do not.",
    )
    STREAM_SILENT = (
        "stream_silent",
        Subject.STREAM,
        "StreamprocStreamSilent",
        (Severity.CRITICAL,),
        "All partitions are read, and no event came for `alerts.silence_s`.",
        "An event comes.",
    )

    @property
    def severity(self) -> Severity:
        """The severity of a kind that has only one."""
        (only,) = self.severities
        return only

    @classmethod
    def named(cls, kind: str) -> "AlertKind | None":
        """Return the member for a record's `kind`: STUCK for that of any status, None for a kind of another release."""
        if kind.startswith(cls.STUCK):
            return cls.STUCK
        return _BY_VALUE.get(kind)


_BY_VALUE = {kind.value: kind for kind in AlertKind}


def kinds_of(statuses: Iterable[str]) -> Iterator[str]:
    """Yield each `kind` that is possible in a profile with these open statuses."""
    for kind in AlertKind:
        yield from (kind + status for status in statuses) if kind is AlertKind.STUCK else (kind.value,)


class AlertState(StrEnum):
    """A condition has both states in turn; an occurrence only fires, with an end time."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(Struct, frozen=True, gc=False):
    """One RunAlert. Times in milliseconds; fields about a run, a source or a model are None if it is about none.

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
