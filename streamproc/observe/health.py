"""Probes: is the process alive, ready, started? Judged from what the runtime reports and a clock that is handed in.

Liveness asks only for the worker's loop. A restart does not bring a broker back, so a broker that is away makes the
process not ready, never dead.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from enum import StrEnum
from typing import Any

from msgspec import Struct

from streamproc.runtime.observer import CommitReport, Observer, TaskState

Answer = tuple[bool, dict[str, Any]]
"""Whether the probe passes, and the reason as JSON: see `Health._answer` for its keys."""


class Status(StrEnum):
    """What the service is doing, in one word."""

    STARTING = "starting"
    RESTORING = "restoring"
    REBALANCING = "rebalancing"
    FENCED = "fenced"
    STALLED = "stalled"
    IDLE = "idle"
    RUNNING = "running"


class _Task(Struct):
    """One partition's task in its present state. `moved_at`: when it last read or committed something."""

    state: TaskState
    moved_at: float
    remaining: int = 0
    lag: int = 0
    measured: bool = False
    caught_up: bool = False


class Health(Observer):
    """Answers the probes. `clock` is monotonic, in seconds.

    Ready means that every assigned partition was caught up once since it started running; with `ready_lag_records`,
    that each one is at most that far behind now.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        stall_after_s: float = 30.0,
        ready_lag_records: int | None = None,
    ) -> None:
        self._clock = clock
        self._stall_after_s = stall_after_s
        self._ready_lag_records = ready_lag_records
        self._tasks: dict[int, _Task] = {}
        self._causes: dict[int, str] = {}
        self._assigned: frozenset[int] | None = None
        self._rebalancing = False
        self._started = False
        self._progress_at: float | None = None
        # The first that has something to say names the status: whoever looks wants to know what holds the others up.
        self._judges: tuple[tuple[Status, Callable[[], str]], ...] = (
            (Status.STALLED, self._stalled_loop),
            (Status.STARTING, self._starting),
            (Status.REBALANCING, self._in_rebalance),
            (Status.IDLE, self._idle),
            (Status.FENCED, self._fenced),
            (Status.RESTORING, self._restoring),
            (Status.STALLED, self._stalled_tasks),
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

    def task_state(self, partition: int, state: TaskState) -> None:
        """Take note; what was reported in the state before no longer counts."""
        if state is TaskState.CLOSED:
            self._tasks.pop(partition, None)
            self._causes.pop(partition, None)
        else:
            self._tasks[partition] = _Task(state, self._clock())
        if state is TaskState.RUNNING:
            self._causes.pop(partition, None)
        self._note_started()

    def committed(self, report: CommitReport) -> None:
        """Take note that the partition moves, and that its transactions work."""
        self._causes.pop(report.partition, None)
        if task := self._tasks.get(report.partition):
            task.moved_at = self._clock()

    def transaction_failed(self, partition: int, cause: str) -> None:
        """Take note of the cause until the partition is running again."""
        self._causes[partition] = cause

    def restoring(self, partition: int, remaining: int) -> None:
        """Take note of what is left to read."""
        if task := self._tasks.get(partition):
            task.remaining = remaining

    def lag(self, partition: int, records: int, seconds: float) -> None:  # noqa: ARG002  age is no measure of progress
        """Take note of the distance; a smaller one shows that something was read."""
        if task := self._tasks.get(partition):
            if records < task.lag or not task.lag:
                task.moved_at = self._clock()
            task.lag, task.measured = records, True
            task.caught_up = task.caught_up or not records

    def caught_up(self, partition: int) -> None:
        """Take note that nothing is unread."""
        self.lag(partition, 0, 0.0)

    def rebalanced(self, partitions: frozenset[int]) -> None:
        """Take note of the assignment."""
        self._assigned = partitions
        self._rebalancing = False
        self._causes = {number: cause for number, cause in self._causes.items() if number in partitions}
        self._note_started()

    def revoked(self) -> None:
        """Take note that a rebalance began."""
        self._rebalancing = True

    def progress(self) -> None:
        """Take note that the loop went round."""
        self._progress_at = self._clock()

    def _note_started(self) -> None:
        """Remember it when it is true: nobody may ask until it no longer is."""
        if self._assigned is not None and not self._rebalancing and not self._not_running():
            self._started = True

    def _answer(self, passes: Callable[[Status], bool]) -> Answer:
        status, message = next(self._verdicts())
        ok = passes(status)
        tasks = [self._tasks[number] for number in self._numbers() if number in self._tasks]
        states = Counter(task.state for task in tasks)
        states[TaskState.CREATED] += len(self._numbers()) - len(tasks)
        return ok, {
            "ok": ok,
            "status": status.value,
            "message": message,
            "tasks": {state.value: states[state] for state in TaskState if state is not TaskState.CLOSED},
            "restore_remaining_records": sum(task.remaining for task in tasks),
            "lag_records": sum(task.lag for task in tasks),
            "causes": {str(number): cause for number, cause in sorted(self._causes.items())},
        }

    def _verdicts(self) -> Iterator[tuple[Status, str]]:
        return ((status, message) for status, judge in self._judges if (message := judge()))

    def _numbers(self) -> list[int]:
        return sorted(self._assigned or ())

    def _state(self, number: int) -> TaskState:
        task = self._tasks.get(number)
        return TaskState.CREATED if task is None else task.state

    def _not_running(self) -> list[int]:
        return [number for number in self._numbers() if self._state(number) is not TaskState.RUNNING]

    def _behind(self) -> list[int]:
        """Return the running partitions that still keep the service from being ready."""
        limit = self._ready_lag_records
        tasks = ((number, self._tasks[number]) for number in self._numbers())
        if limit is None:
            return [number for number, task in tasks if not task.caught_up]
        return [number for number, task in tasks if not task.measured or task.lag > limit]

    def _stalled_loop(self) -> str:
        quiet_s = 0.0 if self._progress_at is None else self._clock() - self._progress_at
        if quiet_s <= self._stall_after_s:
            return ""
        return f"the worker's loop has made no progress for {quiet_s:.0f} s: the process has to be restarted"

    def _starting(self) -> str:
        return "waiting for a first assignment from the consumer group" if self._assigned is None else ""

    def _in_rebalance(self) -> str:
        return "the consumer group is handing out its partitions anew" if self._rebalancing else ""

    def _idle(self) -> str:
        return "" if self._assigned else "no partition is assigned: a standby, until another instance goes"

    def _fenced(self) -> str:
        waiting = {
            number: self._causes[number]
            for number in self._not_running()
            if number in self._causes and self._state(number) is not TaskState.RESTORING
        }
        causes = ", ".join(sorted(set(waiting.values())))
        return f"transactions fail on {_partitions(waiting)} ({causes}): trying again with back-off" if waiting else ""

    def _restoring(self) -> str:
        waiting = self._not_running()
        remaining = sum(self._tasks[number].remaining for number in waiting if number in self._tasks)
        return f"bringing back the state of {_partitions(waiting)}: about {remaining} records to go" if waiting else ""

    def _stalled_tasks(self) -> str:
        latest = self._clock() - self._stall_after_s
        stalled = [n for n in self._numbers() if self._tasks[n].lag and self._tasks[n].moved_at < latest]
        limit_s = f"{self._stall_after_s:.0f} s"
        return f"nothing was read or committed on {_partitions(stalled)} for {limit_s}" if stalled else ""

    def _running(self) -> str:
        behind = self._behind()
        if not behind:
            return f"running {_partitions(self._numbers())}, all of them ready"
        lag = sum(self._tasks[number].lag for number in behind)
        return f"running, but {_partitions(behind)} not caught up yet: {lag} records behind"


def _partitions(numbers: Collection[int]) -> str:
    """Name up to five partitions, and count the rest."""
    shown, more = list(numbers)[:5], len(numbers) - 5
    names = ", ".join(map(str, shown)) + (f" and {more} more" if more > 0 else "")
    return f"partition{'s' if len(numbers) > 1 else ''} {names}"
