"""The fleet as a whole: its figures, and the service that makes them."""

from typing import Literal

from streamproc.console.answers.common import Answer, AsOf, Ms
from streamproc.console.answers.signals import Alert


class SeriesPoint(Answer):
    """One point of the series: the sum of all requested groups.

    Mean times in seconds; None: nothing was measured. `failure_rate`: failed of ended runs, None where none ended.
    """

    start: Ms
    end: Ms
    created: int
    ended: dict[str, int]
    errors: dict[str, int]
    transitions: dict[str, int]
    tokens: dict[str, int]
    failure_rate: float | None
    queue_wait_mean_s: float | None
    run_duration_mean_s: float | None
    action_wait_mean_s: float | None


class Series(Answer):
    """Windows of one size in the order of time."""

    size_s: int
    sizes_s: list[int]
    items: list[SeriesPoint]
    next: str | None
    as_of: AsOf


class PartitionStatus(Answer):
    """One input partition as its instance reports it. `state`: of its task; `unowned` where no instance reports it.

    `reason`: why processing waits, None while it does not; `since`: since when state and reason hold. `is_stale`: the
    instance has not reported for three intervals. `restore_left_s`: how long a restore still takes.
    """

    topic: str
    partition: int
    instance_id: str | None
    state: str
    reason: str | None
    detail: str | None
    since: Ms | None
    lag_records: int | None
    lag_s: float | None
    last_commit_at: Ms | None
    restore_fraction: float | None
    restore_left_s: float | None
    is_stale: bool


class Instance(Answer):
    """An instance by its last report. `cpu`: cores in use between its last two reports."""

    instance_id: str
    version: str
    host: str
    status: str
    message: str
    started_at: Ms
    reported_at: Ms
    is_ready: bool
    is_stale: bool
    partitions: int
    cpu: float | None
    memory_bytes: int


class PipelineState(Answer):
    """The instances and their partitions. `console_behind`: offsets that the console has not read yet, by partition."""

    instances: list[Instance]
    items: list[PartitionStatus]
    next: str | None
    console_behind: dict[str, int]
    as_of: AsOf


class StatusCount(Answer):
    """The runs of a status now.

    `oldest_since`, `oldest_run_id`: of the run that has been in it longest. `limit_s`: how long a run may be in it,
    None: no limit; assistants may have limits of their own. `overdue`: how many runs are past a limit.
    """

    status: str
    outcome: str | None
    is_open: bool
    count: int
    overdue: int
    oldest_since: Ms | None
    oldest_run_id: str | None
    limit_s: int | None


class Rate(Answer):
    """What happened in 10 seconds of event time."""

    start: Ms
    transitions: int
    created: int
    succeeded: int
    failed: int
    ended: int


class Overview(Answer):
    """The state of the fleet.

    `rates`: of the last 15 minutes. `failure_rate`: failed of `ended` runs in the last 5 minutes, None for none.
    `per_second`: transitions in the last full minute. `tokens`: of the last hour's windows, by type.
    """

    runs: int
    open_runs: int
    statuses: list[StatusCount]
    rates: list[Rate]
    per_second: float
    failure_rate: float | None
    ended: int
    tokens: dict[str, int]
    firing: int
    alerts: list[Alert]
    dead_letters: int
    dead_letters_open: int
    as_of: AsOf


class ConsoleHealth(Answer):
    """The health of the console itself."""

    status: Literal["ok", "rebuilding", "behind", "kafka_unavailable"]
    version: str
    message: str
    database_bytes: int
    runs: int
    as_of: AsOf
