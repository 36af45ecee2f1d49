"""The service's log lines about its partitions: what an operator reads first when something is wrong."""

import structlog

from streamproc.observe.places import by_topic
from streamproc.runtime.observer import Observer, TaskState
from streamproc.runtime.ports import TopicPartition

_log = structlog.get_logger(__name__)


class Journal(Observer):
    """Logs what changes: assignments, task states, failed transactions. Never an event's content."""

    def rebalanced(self, sources: frozenset[TopicPartition]) -> None:
        """Log the assignment."""
        _log.info("assigned", partitions=by_topic(sources))

    def revoked(self) -> None:
        """Log the start of a rebalance."""
        _log.info("rebalancing")

    def task_state(self, source: TopicPartition, state: TaskState) -> None:
        """Log a task's step through its life cycle."""
        _log.info("task", topic=source.topic, partition=source.partition, state=state.value)

    def transaction_failed(self, source: TopicPartition, cause: str) -> None:
        """Log what made a task start over from its last commit."""
        message = "transaction failed, the task is rebuilt from its last commit"
        _log.warning(message, topic=source.topic, partition=source.partition, cause=cause)
