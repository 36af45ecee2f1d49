"""Probes: is the process alive, ready, started? Judged from what the runtime reports and a clock that is handed in.

Liveness asks only for the worker's loop. A restart does not bring a broker back, so a broker that is away makes the
process not ready, never dead.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from streamproc.observe.causes import UNANSWERED, Cause
from streamproc.observe.places import named
from streamproc.observe.watched import WAITING_FOR_KAFKA, Status, told_of
from streamproc.runtime.diagnosis import Diagnosis
from streamproc.runtime.observer import Observer, Pause
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskrecords import TaskRecord, TaskRecords
from streamproc.runtime.taskstates import TaskState

Answer = tuple[bool, dict[str, Any]]
"""Whether the probe passes, and the reason as JSON: see `Health._answer` for its keys."""


class Health(Observer):
    """Answers the probes from the `records` of the tasks. `clock` is that of the records: monotonic, in seconds.

    `trouble`: returns why a broker cannot be reached just now, None if none is known to be out of reach.

    Ready means that the last transaction was confirmed, and every assigned partition, of both stages' topics, caught up
    once since it started running; with `ready_lag_records`, that each one is at most that far behind now.
    """

    def __init__(
        self,
        records: TaskRecords,
        clock: Callable[[], float] = time.monotonic,
        *,
        stall_after_s: float = 30.0,
        commit_within_s: float = 3.0,
        ready_lag_records: int | None = None,
        trouble: Callable[[], Diagnosis | None] = lambda: None,
    ) -> None:
        self._records = records
        self._clock = clock
        self._trouble = trouble
        self._stall_after_s = stall_after_s
        self._commit_within_s = commit_within_s
        self._sent_at: float | None = None
        self._ready_lag_records = ready_lag_records
        self._rebalancing = False
        self._started = False
        self._blocked = self._denied = self._failed = ""
        self._progress_at: float | None = None
        # The first that has something to say names the status: whoever looks wants to know what blocks the others.
        self._judges: tuple[tuple[Status, Callable[[], str]], ...] = (
            (Status.STALLED, self._stalled_loop),
            (Status.STARTING, lambda: self._blocked),
            (Status.DENIED, lambda: self._denied),
            (Status.STARTING, self._starting),
            (Status.REBALANCING, self._in_rebalance),
            (Status.IDLE, self._idle),
            (Status.DENIED, self._lacking),
            (Status.BROKER_UNAVAILABLE, self._broker_unavailable),
            (Status.BROKER_UNAVAILABLE, self._unanswered),
            (Status.FENCED, self._fenced),
            (Status.RESTORING, self._restoring),
            (Status.PAUSED, self._paused),
            (Status.STALLED, self._stalled_tasks),
            (Status.FENCED, self._unproven),
            (Status.RUNNING, self._running),
        )

    def livez(self) -> Answer:
        """Pass while the worker's loop makes progress, and until it first did: a start has a probe of its own."""
        return self._answer(lambda _: not self._stalled_loop())

    def readyz(self) -> Answer:
        """Pass while every assigned partition is running and caught up, or none is assigned."""
        return self._answer(lambda status: status is Status.IDLE or (status is Status.RUNNING and not self._behind()))

    def startupz(self) -> Answer:
        """Pass once an assignment's state was restored as a whole, and from then on."""
        return self._answer(lambda _: self._started)

    def task_state(self, source: TopicPartition, state: TaskState) -> None:  # noqa: ARG002  the records have it
        """Check whether all partitions are running by now."""
        self._note_started()

    def transaction_failed(self, sources: Collection[TopicPartition], cause: str, why: str = "") -> None:  # noqa: ARG002  the records have whose
        """Note the failure, until a transaction is confirmed."""
        self._sent_at, self._failed = None, cause

    def transacting(self) -> None:
        """Note that a transaction is under way."""
        self._sent_at = self._clock()

    def transacted(self, partitions: int, duration_s: float) -> None:  # noqa: ARG002  that it came about is enough
        """Note that the transaction is confirmed."""
        self._sent_at, self._failed = None, ""

    def blocked(self, message: str) -> None:
        """Take note of what the start waits for."""
        self._blocked = message

    def denied(self, message: str) -> None:
        """Take note of a right that is lacking."""
        self._denied = message

    def rebalanced(self, sources: frozenset[TopicPartition]) -> None:  # noqa: ARG002  the records have them
        """Take note that the assignment is there; no answer of the one before is waited for."""
        self._rebalancing = False
        self._sent_at = None
        self._note_started()

    def revoked(self) -> None:
        """Take note that a rebalance began."""
        self._rebalancing = True

    def progress(self) -> None:
        """Take note that the loop went round."""
        self._progress_at = self._clock()

    def _note_started(self) -> None:
        """Remember it as soon as it is true: no probe may come before it ceases to be."""
        if self._records.assigned is not None and not self._rebalancing and not self._not_running():
            self._started = True

    def _answer(self, passes: Callable[[Status], bool]) -> Answer:
        status, message = next(self._verdicts())
        if status in WAITING_FOR_KAFKA and (trouble := self._trouble()) is not None:
            message = f"{message}; {trouble.message}"
        ok = passes(status)
        tasks = [self._tasks[source] for source in self._sources() if source in self._tasks]
        states = Counter(task.state for task in tasks)
        states[TaskState.CREATED] += len(self._sources()) - len(tasks)
        return ok, {
            "ok": ok,
            "status": status.value,
            "message": message,
            "tasks": {state.value: states[state] for state in TaskState if state is not TaskState.CLOSED},
            "restore_remaining_records": sum(task.remaining or 0 for task in tasks),
            "lag_records": sum(task.records_behind for task in tasks),
            "causes": {str(source): cause.shown() for source, cause in sorted(self._waiting_for().items())},
        }

    def _waiting_for(self) -> dict[TopicPartition, Cause]:
        """Return the partitions that do not go on: those whose transactions fail, and those that are paused."""
        pauses = {
            source: Cause(pause.why.value, pause.since, pause.message if pause.why is Pause.DENIED else "")
            for source, task in self._tasks.items()
            if (pause := task.pause) is not None
        }
        return {**pauses, **{source: self._cause(source) for source in self._records.failures}}

    def _cause(self, source: TopicPartition) -> Cause:
        """Return why a partition does not go on: why there is no answer, where that is known by now."""
        failure, trouble = self._records.failures[source], self._trouble()
        if trouble is None or failure.cause not in UNANSWERED:
            return Cause(failure.cause, failure.since, failure.why)
        return Cause(trouble.word, failure.since)

    def _verdicts(self) -> Iterator[tuple[Status, str]]:
        return ((status, message) for status, judge in self._judges if (message := judge()))

    @property
    def _tasks(self) -> Mapping[TopicPartition, TaskRecord]:
        return self._records.tasks

    def _sources(self) -> list[TopicPartition]:
        return sorted(self._records.assigned or ())

    def _not_running(self) -> list[TopicPartition]:
        return [source for source in self._sources() if self._records.state(source) is not TaskState.RUNNING]

    def _behind(self) -> list[TopicPartition]:
        """Return the running partitions that still keep the service from being ready."""
        limit = self._ready_lag_records
        tasks = ((source, self._tasks[source]) for source in self._sources())
        if limit is None:
            return [source for source, task in tasks if not task.caught_up]
        return [source for source, task in tasks if task.lag is None or task.lag.records > limit]

    def _stalled_loop(self) -> str:
        quiet_s = 0.0 if self._progress_at is None else self._clock() - self._progress_at
        if quiet_s <= self._stall_after_s:
            return ""
        return f"the worker's loop has made no progress for {quiet_s:.0f} s: the process has to be restarted"

    def _starting(self) -> str:
        return "waiting for a first assignment from the consumer group" if self._records.assigned is None else ""

    def _in_rebalance(self) -> str:
        return "the consumer group is handing out its partitions anew" if self._rebalancing else ""

    def _idle(self) -> str:
        return "" if self._records.assigned else "no partition is assigned: a standby, until another instance goes"

    def _failing(self) -> dict[TopicPartition, str]:
        """Return the partitions that have yet to be fenced anew, each with the cause."""
        return {
            source: self._cause(source).reason
            for source in self._not_running()
            if source in self._records.failures and self._records.state(source) is not TaskState.RESTORING
        }

    def _broker_unavailable(self) -> str:
        failing = self._failing()
        causes = ", ".join(sorted(UNANSWERED.intersection(failing.values())))
        return f"Kafka does not answer ({causes}): {named(failing)} trying again with back-off" if causes else ""

    def _lacking(self) -> str:
        failures = self._records.failures
        waiting = [source for source in self._not_running() if source in failures and failures[source].why]
        return f"{named(waiting)} waiting: {failures[waiting[0]].why}" if waiting else ""

    def _unanswered(self) -> str:
        """Ready means that it commits: a broker that is gone shows in the commit in hand, long before its deadline."""
        waited_s = 0.0 if self._sent_at is None else self._clock() - self._sent_at
        if waited_s <= self._commit_within_s:
            return ""
        return f"the transaction in hand has had no answer for {waited_s:.0f} s: Kafka does not answer, or is slow"

    def _fenced(self) -> str:
        failing = self._failing()
        causes = ", ".join(sorted(set(failing.values())))
        return f"transactions fail on {named(failing)} ({causes}): trying again with back-off" if failing else ""

    def _restoring(self) -> str:
        waiting = self._not_running()
        remaining = sum(self._tasks[source].remaining or 0 for source in waiting if source in self._tasks)
        return f"bringing back the state of {named(waiting)}: about {remaining} records to go" if waiting else ""

    def _paused(self) -> str:
        return told_of({source: pause for source in self._sources() if (pause := self._tasks[source].pause)})

    def _stalled_tasks(self) -> str:
        latest, tasks = (
            self._clock() - self._stall_after_s,
            [(each, self._tasks[each]) for each in self._sources()],
        )
        stalled = [
            source for source, task in tasks if task.records_behind and task.moved_at < latest and task.pause is None
        ]
        sentence = f"nothing was read or committed on {named(stalled)} for {self._stall_after_s:.0f} s"
        return sentence if stalled else ""

    def _unproven(self) -> str:
        return f"the last transaction failed ({self._failed}): the next one is awaited" if self._failed else ""

    def _running(self) -> str:
        if not (behind := self._behind()):
            return f"running {named(self._sources())}, all of them ready"
        lag = sum(self._tasks[source].records_behind for source in behind)
        return f"running, but {named(behind)} not caught up yet: {lag} records behind"
