"""The last reports of each partition's task. Metrics, probes and the report of the instance all read them here."""

import time
from collections.abc import Callable, Collection

from msgspec import Struct

from streamproc.runtime.observer import CommitReport, Observer, Pause, StageState
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskstates import TaskState


class Waiting(Struct, frozen=True):
    """Why a task is paused, as a word and as a message for people, and since when."""

    why: Pause
    message: str
    since: float


class Failure(Struct, frozen=True):
    """Why transactions fail, and since when. `cause`: the exception's class name; `why`: which right is lacking."""

    cause: str
    since: float
    why: str


class LastCommit(Struct, frozen=True):
    """The last committed offset, and when it was committed."""

    offset: int | None
    at: float


class Lag(Struct, frozen=True):
    """How far behind a task is: 0 s if nothing is unread, however old the last record is."""

    records: int
    seconds: float


class TaskRecord(Struct, eq=False):
    """One task in its present state: each state gets a new record, so that no report outlives its state.

    `since`: when it entered the state. `moved_at`: when it last read or committed something, by the monotonic clock.
    `remaining` and `total`: records of a restore. `caught_up`: whether nothing was unread at some time in this state.
    `stage_state`: what a running task knows of its runs, or windows.
    """

    state: TaskState
    since: float
    moved_at: float
    remaining: int | None = None
    total: int | None = None
    lag: Lag | None = None
    caught_up: bool = False
    pause: Waiting | None = None
    stage_state: StageState | None = None

    @property
    def records_behind(self) -> int:
        """How many records it is behind, 0 where that is not known yet."""
        return 0 if self.lag is None else self.lag.records


class TaskRecords(Observer):
    """The records of all tasks of both stages, by partition; it must observe before those that read it.

    Failures and commits outlive a task's states, not its partition. Times: `clock` is monotonic, `wall_clock` for all
    that is shown; both in seconds.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.assigned: frozenset[TopicPartition] | None = None
        """None before the first assignment."""
        self.tasks: dict[TopicPartition, TaskRecord] = {}
        self.failures: dict[TopicPartition, Failure] = {}
        self.commits: dict[TopicPartition, LastCommit] = {}
        self._clock = clock
        self._wall_clock = wall_clock

    def state(self, source: TopicPartition) -> TaskState:
        """Return the state of a task; one without a report is new."""
        task = self.tasks.get(source)
        return TaskState.CREATED if task is None else task.state

    def running(self, source: TopicPartition, state: StageState) -> None:
        """Note the state of its stage, for readers of the records."""
        if task := self.tasks.get(source):
            task.stage_state = state

    def task_state(self, source: TopicPartition, state: TaskState) -> None:
        """Note the new state; reports of the state before no longer count."""
        if state is TaskState.CLOSED:
            for noted in (self.tasks, self.failures, self.commits):
                noted.pop(source, None)
        else:
            self.tasks[source] = self._entered(state)
        if state is TaskState.RUNNING:
            self.failures.pop(source, None)

    def committed(self, report: CommitReport) -> None:
        """Note the committed offset, that the partition moves, and that its transactions work."""
        self.failures.pop(report.source, None)
        self.commits[report.source] = LastCommit(report.offset, self._wall_clock())
        if task := self.tasks.get(report.source):
            task.moved_at = self._clock()

    def transaction_failed(self, sources: Collection[TopicPartition], cause: str, why: str = "") -> None:
        """Note the cause, and the time of the first failure, until the partition is running again."""
        now = self._wall_clock()
        for source in sources:
            before = self.failures.get(source)
            self.failures[source] = Failure(cause, now if before is None else before.since, why)

    def restoring(self, source: TopicPartition, remaining: int) -> None:
        """Note the remaining records; the largest number is the total."""
        if task := self.tasks.get(source):
            task.remaining, task.total = remaining, max(remaining, task.total or 0)

    def lag(self, source: TopicPartition, records: int, seconds: float) -> None:
        """Take note of the distance; a smaller one shows that something was read."""
        if task := self.tasks.get(source):
            if task.lag is None or not task.lag.records or records < task.lag.records:
                task.moved_at = self._clock()
            task.lag = Lag(records, seconds if records else 0.0)
            task.caught_up = task.caught_up or not records

    def caught_up(self, source: TopicPartition) -> None:
        """Take note that nothing is unread."""
        self.lag(source, 0, 0.0)

    def paused(self, source: TopicPartition, why: Pause, message: str) -> None:
        """Note why a partition waits, and since when, however often and in whichever words that is reported."""
        if task := self.tasks.get(source):
            before = task.pause
            since = self._wall_clock() if before is None or before.why is not why else before.since
            task.pause = Waiting(why, message, since)

    def resumed(self, source: TopicPartition) -> None:
        """Take note that a partition goes on."""
        if task := self.tasks.get(source):
            task.pause, task.moved_at = None, self._clock()

    def rebalanced(self, sources: frozenset[TopicPartition]) -> None:
        """Take note of the assignment; what a task of the one before was doing no longer counts."""
        self.assigned = sources
        self.tasks = {source: self._entered(TaskState.SUSPENDED) for source in self.tasks}
        self.failures = {source: failure for source, failure in self.failures.items() if source in sources}

    def _entered(self, state: TaskState) -> TaskRecord:
        return TaskRecord(state, self._wall_clock(), self._clock())
