"""What a task told last is kept once: those that read it find the same, as long as it counts."""

import pytest
from msgspec.structs import asdict

from streamproc.runtime.observer import Pause
from streamproc.runtime.taskrecords import Failure, Lag, LastCommit, TaskRecord, TaskRecords, Waiting
from streamproc.runtime.taskstates import TaskState
from tests.observe.reports import report, source
from tests.support.events import new_state

NOON = 43_200.0


class Bench:
    """Records with two clocks, which go at the same pace."""

    def __init__(self) -> None:
        self.now = 0.0
        self.records = TaskRecords(lambda: self.now, lambda: NOON + self.now)

    @property
    def task(self) -> TaskRecord:
        """The record of the only partition."""
        return self.records.tasks[source()]

    def enters(self, *states: TaskState) -> None:
        """Enter one state after the other, a second apart."""
        for state in states:
            self.now += 1
            self.records.task_state(source(), state)


@pytest.fixture
def bench() -> Bench:
    it = Bench()
    it.records.rebalanced(frozenset([source()]))
    it.enters(TaskState.FENCED, TaskState.RESTORING, TaskState.RUNNING)
    return it


def tell_all(bench: Bench) -> None:
    """Tell whatever a running task may tell."""
    records, kept = bench.records, new_state()
    records.restoring(source(), 7)
    records.running(source(), kept)
    records.lag(source(), 5, 1.5)
    records.paused(source(), Pause.REGISTRY, "asked once")


def test_a_new_state_is_a_new_record(bench: Bench) -> None:
    """Nothing told in one state outlives it: the partition may have had another owner since."""
    tell_all(bench)
    bench.enters(TaskState.SUSPENDED)
    assert asdict(bench.task) == asdict(TaskRecord(TaskState.SUSPENDED, NOON + 4, 4))


def test_with_an_assignment_the_tasks_of_the_one_before_count_as_suspended(bench: Bench) -> None:
    """Whatever they have yet to tell of their end; failures stay with the partitions that do."""
    tell_all(bench)
    bench.records.transaction_failed([source(0), source(1)], "TimeoutError")
    bench.records.rebalanced(frozenset([source(0)]))
    assert asdict(bench.task) == asdict(TaskRecord(TaskState.SUSPENDED, NOON + bench.now, bench.now))
    assert bench.records.failures.keys() == {source(0)}


def test_a_failure_outlives_states_until_transactions_work_again(bench: Bench) -> None:
    """Since the first one."""
    bench.records.transaction_failed([source()], "TimeoutError")
    bench.enters(TaskState.SUSPENDED, TaskState.FENCED)
    bench.records.transaction_failed([source()], "Denied", "a right lacks")
    assert bench.records.failures == {source(): Failure("Denied", NOON + 3, "a right lacks")}
    bench.records.committed(report(offset=41))
    assert (bench.records.failures, bench.records.commits) == ({}, {source(): LastCommit(41, NOON + 5)})


def test_of_a_closed_task_nothing_is_left(bench: Bench) -> None:
    """One that comes back is a new one."""
    bench.records.committed(report(offset=41))
    bench.records.transaction_failed([source()], "TimeoutError")
    bench.enters(TaskState.SUSPENDED, TaskState.CLOSED)
    assert (bench.records.tasks, bench.records.failures, bench.records.commits) == ({}, {}, {})
    assert bench.records.state(source()) is TaskState.CREATED


def test_what_is_no_progress_does_not_move_a_task(bench: Bench) -> None:
    """More that is unread: the producers go on. Less, a commit and the end of a pause show that the task does."""
    moved = []
    for tell in (
        lambda: bench.records.lag(source(), 10, 1.0),
        lambda: bench.records.lag(source(), 12, 1.0),
        lambda: bench.records.lag(source(), 11, 1.0),
        lambda: bench.records.paused(source(), Pause.RATE, "too many"),
        lambda: bench.records.resumed(source()),
        lambda: bench.records.committed(report()),
    ):
        bench.now += 1
        tell()
        moved.append(bench.task.moved_at == bench.now)
    assert moved == [True, False, True, False, True, True]


def test_nothing_unread_is_no_lag_in_time_either(bench: Bench) -> None:
    """And it stays known that the task caught up once."""
    bench.records.lag(source(), 0, 9.0)
    assert bench.task.lag == Lag(0, 0.0)
    bench.records.lag(source(), 5, 1.5)
    assert (bench.task.lag, bench.task.records_behind, bench.task.caught_up) == (Lag(5, 1.5), 5, True)


def test_a_pause_counts_from_when_its_reason_began(bench: Bench) -> None:
    """Whatever its words."""
    began = NOON + bench.now
    bench.records.paused(source(), Pause.REGISTRY, "asked once")
    bench.now += 1
    bench.records.paused(source(), Pause.REGISTRY, "asked twice")
    assert bench.task.pause == Waiting(Pause.REGISTRY, "asked twice", began)
    bench.records.paused(source(), Pause.RATE, "too many")
    assert bench.task.pause == Waiting(Pause.RATE, "too many", began + 1)


def test_what_a_partition_without_a_task_tells_is_dropped() -> None:
    """A task that was closed may have had something on its way."""
    records = TaskRecords()
    records.lag(source(), 1, 1.0)
    records.caught_up(source())
    records.restoring(source(), 1)
    records.paused(source(), Pause.RATE, "too many")
    records.resumed(source())
    records.running(source(), new_state())
    assert records.tasks == {}
