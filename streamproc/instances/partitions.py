"""The assigned partitions, as the instance reports them: from the records of their tasks."""

from streamproc.codec.instances import Partition
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskrecords import TaskRecords


def reported(records: TaskRecords) -> list[Partition]:
    """Return the reports of the assigned partitions, in order."""
    return [_partition(records, source) for source in sorted(records.assigned or ())]


def _partition(records: TaskRecords, source: TopicPartition) -> Partition:
    task, commit = records.tasks.get(source), records.commits.get(source)
    reason, since, detail = _standstill(records, source)
    lag = None if task is None else task.lag
    return Partition(
        topic=source.topic,
        partition=source.partition,
        state=records.state(source).value,
        reason=reason,
        detail=detail,
        since=None if since is None else _ms(since),
        lag_records=None if lag is None else lag.records,
        lag_seconds=None if lag is None else lag.seconds,
        offset=None if commit is None else commit.offset,
        last_commit_at=None if commit is None else _ms(commit.at),
        restore_remaining=None if task is None else task.remaining,
        restore_total=None if task is None else task.total,
    )


def _standstill(records: TaskRecords, source: TopicPartition) -> tuple[str | None, float | None, str | None]:
    """Return why a partition stands still, since when, and details; if it does not, no reason, and since when."""
    task, failure = records.tasks.get(source), records.failures.get(source)
    if failure is not None:
        return failure.cause, failure.since, failure.why or None
    if task is None:
        return None, None, None
    if task.pause is not None:
        return task.pause.why.value, task.pause.since, task.pause.message
    return None, task.since, None


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
