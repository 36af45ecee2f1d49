"""One observer in front of several."""

from collections import Counter

from streamproc.runtime.observer import CommitReport, Observer, TaskState


class Observers(Observer):
    """Passes every call on to each of `observers`, in their order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def task_state(self, partition: int, state: TaskState) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.task_state(partition, state)

    def committed(self, report: CommitReport) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.committed(report)

    def transaction_failed(self, partition: int, cause: str) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.transaction_failed(partition, cause)

    def restoring(self, partition: int, remaining: int) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.restoring(partition, remaining)

    def restored(self, partition: int, runs_by_status: Counter[str]) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.restored(partition, runs_by_status)

    def lag(self, partition: int, records: int, seconds: float) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.lag(partition, records, seconds)

    def caught_up(self, partition: int) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.caught_up(partition)

    def rebalanced(self, partitions: frozenset[int]) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.rebalanced(partitions)

    def revoked(self) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.revoked()

    def progress(self) -> None:
        """Pass on."""
        for observer in self._observers:
            observer.progress()
