"""What the runtime tells of the assigned partitions, as the instance reports it."""

import time
from collections.abc import Callable, Collection

from msgspec import Struct

from streamproc.codec.instances import Partition
from streamproc.runtime.observer import CommitReport, Observer, Pause
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskstates import TaskState


class _StandstillReason(Struct, frozen=True):
    """Why a partition does not go on, and since when."""

    word: str | None
    since: int | None
    detail: str | None = None


class _LastCommit(Struct, frozen=True):
    """What was last committed, and when."""

    offset: int | None = None
    at: int | None = None


class _Task(Struct):
    """A task in its present state."""

    state: TaskState
    since: int | None = None
    lag_records: int | None = None
    lag_seconds: float | None = None
    pause: _StandstillReason | None = None
    remaining: int | None = None
    total: int | None = None


NONE_YET, NOTHING = _Task(TaskState.CREATED), _LastCommit()


class Partitions(Observer):
    """Takes note. `clock`: the wall clock, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._tasks: dict[TopicPartition, _Task] = {}
        self._failures: dict[TopicPartition, _StandstillReason] = {}
        self._commits: dict[TopicPartition, _LastCommit] = {}

    def now(self) -> list[Partition]:
        """Return the assigned partitions as they are."""
        return [self._partition(source) for source in sorted(self._assigned)]

    def task_state(self, source: TopicPartition, state: TaskState) -> None:
        """Take note; what was told in the state before no longer counts."""
        if state is TaskState.CLOSED:
            for noted in (self._tasks, self._failures, self._commits):
                noted.pop(source, None)
        else:
            self._tasks[source] = _Task(state, self._now_ms())
        if state is TaskState.RUNNING:
            self._failures.pop(source, None)

    def committed(self, report: CommitReport) -> None:
        """Take note of what is committed, and that transactions work."""
        self._failures.pop(report.source, None)
        self._commits[report.source] = _LastCommit(report.offset, self._now_ms())

    def transaction_failed(self, sources: Collection[TopicPartition], cause: str, why: str = "") -> None:
        """Take note of the cause, and of when the first one came, until the partition is running again."""
        for source in sources:
            before = self._failures.get(source)
            self._failures[source] = _StandstillReason(
                cause, self._now_ms() if before is None else before.since, why or None
            )

    def restoring(self, source: TopicPartition, remaining: int) -> None:
        """Take note of what is left to read, the most of which is all."""
        task = self._tasks.get(source)
        if task is not None and task.state is TaskState.RESTORING:
            task.remaining, task.total = remaining, max(remaining, task.total or 0)

    def lag(self, source: TopicPartition, records: int, seconds: float) -> None:
        """Take note of the distance."""
        if task := self._tasks.get(source):
            task.lag_records, task.lag_seconds = records, seconds

    def caught_up(self, source: TopicPartition) -> None:
        """Take note that nothing is unread."""
        self.lag(source, 0, 0.0)

    def rebalanced(self, sources: frozenset[TopicPartition]) -> None:
        """Take note of the assignment."""
        self._assigned = sources

    def paused(self, source: TopicPartition, why: Pause, message: str) -> None:
        """Take note of what a partition waits for."""
        if task := self._tasks.get(source):
            before = task.pause
            since = self._now_ms() if before is None or before.word != why.value else before.since
            task.pause = _StandstillReason(why.value, since, message)

    def resumed(self, source: TopicPartition) -> None:
        """Take note that a partition goes on."""
        if task := self._tasks.get(source):
            task.pause = None

    def _partition(self, source: TopicPartition) -> Partition:
        task = self._tasks.get(source, NONE_YET)
        reason = self._failures.get(source) or task.pause or _StandstillReason(None, task.since)
        committed = self._commits.get(source, NOTHING)
        return Partition(
            topic=source.topic,
            partition=source.partition,
            state=task.state.value,
            reason=reason.word,
            detail=reason.detail,
            since=reason.since,
            lag_records=task.lag_records,
            lag_seconds=task.lag_seconds,
            offset=committed.offset,
            last_commit_at=committed.at,
            restore_remaining=task.remaining,
            restore_total=task.total,
        )

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
