"""The interface by which the runtime reports to observers. The base class does nothing; `observe` has the others."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from msgspec import Struct, field

from streamproc.codec.arrival import Rejection
from streamproc.core.alerts import Alert
from streamproc.core.tally import Tally
from streamproc.core.windowstate import Dropped
from streamproc.errors import RejectionReason
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskstates import TaskState
from streamproc.vocabulary import Vocabulary


class Pause(Vocabulary):
    """Why a partition that could be read waits."""

    REGISTRY = "registry", "A schema id is not known, and a registry does not answer."
    RATE = "rate", "There are more rejections of a cause in a minute than `dead_letters.max_per_minute`."
    REJECTIONS = "rejections", "More of a minute's records were rejected than `dead_letters.stop_percent` allows."
    UNREADABLE = "unreadable", "A batch of records cannot be read."
    OUTPUT = "output", "A partition of an output topic takes no records."
    STATE_FULL = "state_full", "There is no room for payloads, in memory or on disk."
    DENIED = "denied", "A right in Kafka is lacking."

    @property
    def needs_somebody(self) -> bool:
        """Whether it goes on only when somebody has decided something."""
        return self in {Pause.REJECTIONS, Pause.UNREADABLE}


class StageState(Protocol):
    """A task's state, as far as every stage has one: `core.state.State`, or `core.windowstate.WindowState`."""

    def arm(self) -> None:
        """Get ready, once everything was read back."""

    @property
    def live_keys(self) -> int:
        """How many keys its topic has."""

    @property
    def stream_time(self) -> int:
        """How far the partition's time has come, in milliseconds; of windows, their watermark."""


class CommitReport(Struct, kw_only=True):
    """One confirmed commit of one partition, of whichever stage. `alerts`: by kind and state.

    `samples`: the first rejection of each reason.
    `latency_s`: from the Kafka timestamp of the commit's first record to its confirmation, never below 0.
    `offset`: the committed one.
    """

    source: TopicPartition
    records: int
    duration_s: float
    latency_s: float
    rejected: Counter[RejectionReason] = field(default_factory=Counter)
    alerts: Counter[tuple[str, str]] = field(default_factory=Counter)
    samples: Mapping[RejectionReason, Rejection] = field(default_factory=dict)
    offset: int | None = None

    def tell(self, observer: "Observer") -> None:
        """Report what only this stage's commits have."""


class FoldReport(CommitReport, kw_only=True):
    """A commit of the fold stage. `seen_at`: the clock when its records were fetched, in milliseconds."""

    tally: Tally
    forgotten: int
    seen_at: int

    def tell(self, observer: "Observer") -> None:
        """Tell of runs."""
        observer.folded(self)


class WindowReport(CommitReport, kw_only=True):
    """A commit of the window stage. `late` and `dropped` (by reason) count arrivals, `watermark` is in milliseconds.

    `unjudged`: windows that did not tell whether a condition on them holds, by kind.
    """

    closed: int
    revised: int
    late: int
    dropped: Mapping[Dropped, int]
    watermark: int
    unjudged: Mapping[str, int] = field(default_factory=dict)

    def tell(self, observer: "Observer") -> None:
        """Tell of windows."""
        observer.summed(self)


def count_alerts(alerts: Iterable[Alert]) -> Counter[tuple[str, str]]:
    """Return how many alerts there are of each kind and state."""
    return Counter((alert.kind, alert.state.value) for alert in alerts)


class Observer:
    """Base observer: ignores everything. All calls come from the event loop and must return at once."""

    def task_state(self, source: TopicPartition, state: TaskState) -> None:
        """A task entered `state`."""

    def committed(self, report: CommitReport) -> None:
        """A partition's part of a transaction was confirmed. Counters move here and nowhere else (rules.md 24)."""
        report.tell(self)

    def folded(self, report: FoldReport) -> None:
        """What `committed` tells, of the fold stage."""

    def summed(self, report: WindowReport) -> None:
        """What `committed` tells, of the window stage."""

    def transacting(self) -> None:
        """A transaction is on its way: `transacted` or `transaction_failed` follows."""

    def transacted(self, partitions: int, duration_s: float) -> None:
        """A transaction with so many partitions' parts was confirmed, so long after its first records were fetched."""

    def transaction_failed(self, sources: Collection[TopicPartition], cause: str, why: str = "") -> None:
        """A transaction for these partitions failed or its outcome is unknown; `cause` is an exception's class name.

        `why`: which right is lacking, and how to grant it, where that is the reason.
        """

    def restoring(self, source: TopicPartition, remaining: int) -> None:
        """A restore has about `remaining` records to go; 0: it is complete."""

    def running(self, source: TopicPartition, state: StageState) -> None:
        """A task is running with this state, restored or from before: to be read until the task's state changes."""

    def lag(self, source: TopicPartition, records: int, seconds: float) -> None:
        """The partition is `records` behind the last stable offset, its last read record is `seconds` old."""

    def caught_up(self, source: TopicPartition) -> None:
        """The partition's last fetch succeeded and found nothing left to read."""

    def rebalanced(self, sources: frozenset[TopicPartition]) -> None:
        """The group assigned these partitions."""

    def revoked(self) -> None:
        """A rebalance began."""

    def paused(self, source: TopicPartition, why: Pause, message: str) -> None:
        """A running task waits, and why; repeated as long as it does."""

    def resumed(self, source: TopicPartition) -> None:
        """A running task no longer waits."""

    def has_no_snapshots(self, partition: int, why: str) -> None:
        """No snapshots of a partition's state can be taken: its next start reads all of its topic."""

    def blocked(self, message: str) -> None:
        """The service waits for something before it can start; empty: no longer."""

    def denied(self, message: str) -> None:
        """There is no membership in the group for want of a right, and how to grant it; empty: no longer."""

    def progress(self) -> None:
        """The worker's loop went round: it is alive, whether or not the broker answers."""
