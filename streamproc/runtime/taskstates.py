"""The life cycle of a partition's task: its states, and which may follow which. A table, and no more than that."""

from collections.abc import Mapping

from streamproc.vocabulary import Vocabulary


class TaskState(Vocabulary):
    """Where a partition's task is in its life. `SUCCESSORS` says where it may go from there."""

    CREATED = "created", "The partition is assigned."
    FENCED = "fenced", "Whoever had the partition before can commit nothing more."
    RESTORING = "restoring", "The state is read back."
    RUNNING = "running", "Events are processed, or the partition is paused."
    SUSPENDED = "suspended", "A transaction failed, or the partition was taken away: the state is kept for a while."
    CLOSED = "closed", "The partition is somebody else's; such tasks are not counted."

    def may_become(self, successor: "TaskState") -> bool:
        """Tell whether the life cycle allows the change."""
        return successor in SUCCESSORS[self]


FIRST, LAST = TaskState.CREATED, TaskState.CLOSED

SUCCESSORS: Mapping[TaskState, frozenset[TaskState]] = {
    # Assigned, and nothing was done about it yet.
    TaskState.CREATED: frozenset({TaskState.FENCED, TaskState.SUSPENDED, TaskState.CLOSED}),
    # Nobody else can commit for the partition any more. Only now an offset that is read is the last one.
    TaskState.FENCED: frozenset({TaskState.RESTORING, TaskState.SUSPENDED, TaskState.CLOSED}),
    # The state is brought to that offset: read back, or kept where the last commit proves it right.
    TaskState.RESTORING: frozenset({TaskState.RUNNING, TaskState.SUSPENDED, TaskState.CLOSED}),
    # It takes part in the cycle.
    TaskState.RUNNING: frozenset({TaskState.SUSPENDED, TaskState.CLOSED}),
    # Revoked, or its transaction failed. The state is kept: where the next owner is this worker, it may still be right.
    TaskState.SUSPENDED: frozenset({TaskState.FENCED, TaskState.CLOSED}),
    # Another worker has the partition. A task that comes back is a new one.
    TaskState.CLOSED: frozenset(),
}
