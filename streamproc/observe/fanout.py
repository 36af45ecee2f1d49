"""One observer in front of several."""

from collections.abc import Collection

from streamproc.runtime.observer import CommitReport, FoldReport, Observer, Pause, StageState, WindowReport
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskstates import TaskState


class Observers(Observer):
    """Passes every call on to each of `observers`, in their order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def task_state(self, source: TopicPartition, state: TaskState) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.task_state(source, state)

    def committed(self, report: CommitReport) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.committed(report)

    def folded(self, report: FoldReport) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.folded(report)

    def summed(self, report: WindowReport) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.summed(report)

    def transacting(self) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.transacting()

    def transacted(self, partitions: int, duration_s: float) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.transacted(partitions, duration_s)

    def transaction_failed(self, sources: Collection[TopicPartition], cause: str, why: str = "") -> None:
        """Pass on."""
        for observer in self._observers:
            observer.transaction_failed(sources, cause, why)

    def restoring(self, source: TopicPartition, remaining: int) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.restoring(source, remaining)

    def running(self, source: TopicPartition, state: StageState) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.running(source, state)

    def lag(self, source: TopicPartition, records: int, seconds: float) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.lag(source, records, seconds)

    def caught_up(self, source: TopicPartition) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.caught_up(source)

    def rebalanced(self, sources: frozenset[TopicPartition]) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.rebalanced(sources)

    def revoked(self) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.revoked()

    def paused(self, source: TopicPartition, why: Pause, message: str) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.paused(source, why, message)

    def resumed(self, source: TopicPartition) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.resumed(source)

    def has_no_snapshots(self, partition: int, why: str) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.has_no_snapshots(partition, why)

    def denied(self, message: str) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.denied(message)

    def blocked(self, message: str) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.blocked(message)

    def progress(self) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.progress()
