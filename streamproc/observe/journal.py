"""The service's log lines about its partitions: what an operator reads first when something is wrong."""

import structlog

from streamproc.runtime.observer import Observer, TaskState

_log = structlog.get_logger(__name__)


class Journal(Observer):
    """Logs what changes: assignments, task states, failed transactions. Never an event's content."""

    def rebalanced(self, partitions: frozenset[int]) -> None:
        """Log the assignment."""
        _log.info("assigned", partitions=sorted(partitions))

    def revoked(self) -> None:
        """Log the start of a rebalance."""
        _log.info("rebalancing")

    def task_state(self, partition: int, state: TaskState) -> None:
        """Log a task's step through its life cycle."""
        _log.info("task", partition=partition, state=state.value)

    def transaction_failed(self, partition: int, cause: str) -> None:
        """Log what made a task start over from its last commit."""
        _log.warning("transaction failed, the task is rebuilt from its last commit", partition=partition, cause=cause)
