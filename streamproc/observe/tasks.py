"""Gauges of the tasks and of the running tasks' states, made at each scrape."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import Metric as Family

from streamproc.core.lifecycle import Profile
from streamproc.core.state import State
from streamproc.core.windowstate import WindowState
from streamproc.observe import names
from streamproc.observe.census import Census, take
from streamproc.observe.labels import Labels, closed
from streamproc.observe.runmetrics import deadline_kinds
from streamproc.observe.series import LabelValues, gauge
from streamproc.runtime.config import StateSettings
from streamproc.runtime.observer import Pause
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskrecords import TaskRecord, TaskRecords
from streamproc.runtime.taskstates import TaskState

LIVING_STATES = tuple(state for state in TaskState if state is not TaskState.CLOSED)


class Tasks:
    """The tasks that this worker has, of both stages."""

    def __init__(self, records: TaskRecords, profile: Profile, state: StateSettings) -> None:
        self._records = records
        self._statuses = closed(profile.statuses)
        self._open = closed(profile.documented)
        self._kinds = deadline_kinds(profile)
        self._limits = {"memory": state.memory_bytes, "disk": state.max_disk_bytes}
        self._has_snapshots = state.directory is not None

    async def census(self) -> Census:
        """Count the runs of the running tasks; leave out tasks that stop running meanwhile."""
        running = [
            (source, task, task.stage_state) for source, task in self._running() if isinstance(task.stage_state, State)
        ]
        total = Census()
        for (source, task, _), census in zip(running, await take([states for *_, states in running]), strict=True):
            if self._records.tasks.get(source) is task:
                total.merge(census)
        return total

    def families(self, census: Census) -> Iterator[Family]:
        """Yield what Prometheus reads."""
        tasks = self._records.tasks.values()
        states = Counter(task.state for task in tasks)
        yield gauge(names.TASK_STATE, {(state.value,): states[state] for state in LIVING_STATES})
        yield gauge(names.RESTORE_REMAINING, {(): sum(task.remaining or 0 for task in tasks)})
        pauses = Counter(task.pause.why for task in tasks if task.pause is not None)
        yield gauge(names.PARTITIONS_PAUSED, {(why.value,): pauses[why] for why in Pause})
        yield gauge(names.RUNS, _sums(self._statuses, census.by_status))
        yield gauge(names.OLDEST_RUN_CREATED, self._oldest(census))
        yield gauge(names.RUNS_OVERDUE, {(kind,): census.late[kind] for kind in self._kinds})
        usage = census.usage
        yield gauge(names.STATE_BYTES, {("memory",): usage.memory_bytes, ("disk",): usage.disk_bytes})
        yield gauge(names.STATE_LIMIT, {(kind,): most for kind, most in self._limits.items() if most is not None})
        yield gauge(names.STATE_PAYLOADS, {("memory",): usage.in_memory, ("disk",): usage.on_disk})
        yield gauge(names.STATE_SNAPSHOT, self._snapshots())
        lag = {(topic, str(number)): task.lag for (topic, number), task in self._running() if task.lag is not None}
        yield gauge(names.CONSUMER_LAG_RECORDS, {labels: each.records for labels, each in lag.items()})
        yield gauge(names.CONSUMER_LAG_SECONDS, {labels: each.seconds for labels, each in lag.items()})
        yield gauge(names.WINDOW_WATERMARK, self._watermarks())

    def _running(self) -> list[tuple[TopicPartition, TaskRecord]]:
        return [(source, task) for source, task in self._records.tasks.items() if task.state is TaskState.RUNNING]

    def _oldest(self, census: Census) -> dict[LabelValues, int]:
        """Return the time for each open status; what the profile does not know counts as open (rules.md 14)."""
        oldest: dict[LabelValues, int] = {(label,): 0 for label in sorted(self._open.exported())}
        for status, created in census.oldest.items():
            labels = (self._open[status],)
            oldest[labels] = min(created, oldest[labels] or created)
        return oldest

    def _snapshots(self) -> dict[LabelValues, float]:
        if not self._has_snapshots:
            return {}
        states = [(source, task.stage_state) for source, task in self._running()]
        return {(str(each.partition),): state.snapshot_ms / 1000 for each, state in states if isinstance(state, State)}

    def _watermarks(self) -> dict[LabelValues, float]:
        states = [(source, task.stage_state) for source, task in self._running()]
        return {
            (str(each.partition),): state.stream_time / 1000 for each, state in states if isinstance(state, WindowState)
        }


def _sums(labels: Labels, counts: Counter[str]) -> dict[LabelValues, int]:
    """Return the counts by label value, every known one among them."""
    sums: dict[LabelValues, int] = {(label,): 0 for label in sorted(labels.exported())}
    for name, count in counts.items():
        sums[(labels[name],)] += count
    return sums
