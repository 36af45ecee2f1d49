"""What the runtime tells whoever watches it. The base class does nothing; `observe` makes metrics and probes of it."""

from collections import Counter
from enum import Enum

from msgspec import Struct

from streamproc.core.tally import Tally


class TaskState(Enum):
    """The life cycle of a partition's task, with its legal successors (`may_become`)."""

    CREATED = "created"
    FENCED = "fenced"
    RESTORING = "restoring"
    RUNNING = "running"
    SUSPENDED = "suspended"
    CLOSED = "closed"

    def may_become(self, successor: "TaskState") -> bool:
        """Tell whether the life cycle allows the change."""
        return successor in _SUCCESSORS[self]


_SUCCESSORS = {
    TaskState.CREATED: {TaskState.FENCED, TaskState.SUSPENDED, TaskState.CLOSED},
    TaskState.FENCED: {TaskState.RESTORING, TaskState.SUSPENDED, TaskState.CLOSED},
    TaskState.RESTORING: {TaskState.RUNNING, TaskState.SUSPENDED, TaskState.CLOSED},
    TaskState.RUNNING: {TaskState.SUSPENDED, TaskState.CLOSED},
    # Revoked, or its transaction failed: the state is kept, and reused where the last commit proves it right.
    TaskState.SUSPENDED: {TaskState.FENCED, TaskState.CLOSED},
    TaskState.CLOSED: set(),
}


class CommitReport(Struct):
    """One confirmed commit of one partition."""

    partition: int
    records: int
    tally: Tally
    rejected: Counter[str]
    duration_s: float
    latency_s: float
    """From the Kafka timestamp of the commit's first record to its confirmation; negative clocks count as 0."""
    forgotten: int
    runs_by_status: Counter[str]
    """Of the whole partition after this commit; statuses as producers wrote them."""


class Observer:
    """Base observer: ignores everything. All calls come from the event loop and must return at once."""

    def task_state(self, partition: int, state: TaskState) -> None:
        """A task entered `state`."""

    def committed(self, report: CommitReport) -> None:
        """A transaction was confirmed. Counters move here and nowhere else (rules.md 24)."""

    def transaction_failed(self, partition: int, cause: str) -> None:
        """A transaction failed or its outcome is unknown; `cause` is an exception's class name."""

    def restoring(self, partition: int, remaining: int) -> None:
        """A restore has about `remaining` records to go; 0: it is complete."""

    def restored(self, partition: int, runs_by_status: Counter[str]) -> None:
        """A task is running with this state: read back, or kept from before."""

    def lag(self, partition: int, records: int, seconds: float) -> None:
        """The partition is `records` behind the last stable offset, its last read record is `seconds` old."""

    def caught_up(self, partition: int) -> None:
        """The partition's last fetch succeeded and found nothing left to read."""

    def rebalanced(self, partitions: frozenset[int]) -> None:
        """The group assigned these partitions."""

    def revoked(self) -> None:
        """A rebalance began."""

    def progress(self) -> None:
        """The worker's loop went round: it is alive, whether or not the broker answers."""
