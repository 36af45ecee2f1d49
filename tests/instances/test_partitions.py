"""What an instance says of its partitions, by what the runtime has told."""

import pytest

from streamproc.instances.partitions import reported
from streamproc.runtime.observer import Pause
from streamproc.runtime.taskrecords import TaskRecords
from streamproc.runtime.taskstates import TaskState
from tests.observe.reports import measured, report, source, window_report

FENCED, RESTORING, RUNNING = TaskState.FENCED, TaskState.RESTORING, TaskState.RUNNING
SUSPENDED, CLOSED = TaskState.SUSPENDED, TaskState.CLOSED


class Bench:
    """Records of tasks with a clock, in seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.records = TaskRecords(wall_clock=lambda: self.now)

    def states(self, *states: TaskState, partition: int = 0) -> None:
        """Enter one state after the other, a second apart."""
        for state in states:
            self.now += 1
            self.records.task_state(source(partition), state)

    @property
    def found(self):
        """What is said of the only partition."""
        [found] = reported(self.records)
        return found


@pytest.fixture
def bench() -> Bench:
    it = Bench()
    it.records.rebalanced(frozenset([source()]))
    return it


def test_only_what_is_assigned_is_told_in_order():
    """Of both stages, also before there is a task."""
    bench = Bench()
    assert reported(bench.records) == []
    bench.records.rebalanced(frozenset([source(2), measured(1), source(0)]))
    bench.states(FENCED, partition=0)
    bench.states(FENCED, partition=7)
    found = [(each.topic, each.partition, each.state) for each in reported(bench.records)]
    assert found == [("run-events", 0, "fenced"), ("run-events", 2, "created"), ("run-measurements", 1, "created")]


def test_a_state_is_told_with_its_beginning(bench: Bench):
    bench.states(FENCED, RESTORING, RUNNING)
    bench.now += 60
    assert (bench.found.state, bench.found.reason, bench.found.since) == ("running", None, 1_003_000)


def test_a_restore_is_told_with_what_is_left_and_all_of_it(bench: Bench):
    """Until it is over."""
    bench.states(FENCED, RESTORING)
    assert (bench.found.restore_remaining, bench.found.restore_total) == (None, None)
    for remaining in (90, 40):
        bench.records.restoring(source(), remaining)
    assert (bench.found.restore_remaining, bench.found.restore_total) == (40, 90)
    bench.records.restoring(source(), 0)
    bench.states(RUNNING)
    assert (bench.found.restore_remaining, bench.found.restore_total) == (None, None)


def test_lag_is_not_known_until_it_is_told(bench: Bench):
    """And no more once the state has changed."""
    bench.states(FENCED, RESTORING, RUNNING)
    assert (bench.found.lag_records, bench.found.lag_seconds) == (None, None)
    bench.records.lag(source(), 5, 1.5)
    assert (bench.found.lag_records, bench.found.lag_seconds) == (5, 1.5)
    bench.records.caught_up(source())
    assert (bench.found.lag_records, bench.found.lag_seconds) == (0, 0.0)
    bench.states(SUSPENDED)
    assert bench.found.lag_records is None


def test_a_pause_is_told_since_it_began_whatever_its_words(bench: Bench):
    bench.states(FENCED, RESTORING, RUNNING)
    bench.now = 2_000
    bench.records.paused(source(), Pause.REGISTRY, "asked once")
    bench.now = 2_005
    bench.records.paused(source(), Pause.REGISTRY, "asked twice")
    assert (bench.found.reason, bench.found.detail, bench.found.since) == ("registry", "asked twice", 2_000_000)
    bench.records.paused(source(), Pause.REJECTIONS, "too many")
    assert (bench.found.reason, bench.found.since) == ("rejections", 2_005_000)
    bench.records.resumed(source())
    assert (bench.found.reason, bench.found.detail, bench.found.since) == (None, None, 1_003_000)


@pytest.mark.parametrize("end", ["committed", "running"])
def test_a_failure_is_told_since_the_first_until_transactions_work_again(bench: Bench, end: str):
    """However often it is tried."""
    bench.states(FENCED, RESTORING, RUNNING)
    bench.now = 2_000
    bench.records.transaction_failed([source()], "RequestTimedOutError")
    bench.states(SUSPENDED, FENCED)
    bench.records.transaction_failed([source()], "KafkaConnectionError")
    found = bench.found
    assert (found.state, found.reason, found.detail) == ("fenced", "KafkaConnectionError", None)
    assert found.since == 2_000_000
    if end == "running":
        bench.states(RESTORING, RUNNING)
    else:
        bench.records.committed(report())
    assert bench.found.reason is None


def test_the_last_commit_is_told_with_its_offset_whatever_came_since(bench: Bench):
    bench.states(FENCED, RESTORING, RUNNING)
    assert (bench.found.offset, bench.found.last_commit_at) == (None, None)
    bench.now = 2_000
    bench.records.committed(report(offset=41))
    bench.records.committed(window_report(offset=7))
    bench.states(SUSPENDED)
    assert (bench.found.offset, bench.found.last_commit_at) == (41, 2_000_000)


def test_a_partition_that_went_away_comes_back_without_a_past(bench: Bench):
    """Others may have committed meanwhile."""
    bench.states(FENCED, RESTORING, RUNNING)
    bench.records.committed(report(offset=41))
    bench.records.transaction_failed([source()], "TimeoutError")
    bench.records.rebalanced(frozenset())
    bench.states(SUSPENDED, CLOSED)
    bench.records.rebalanced(frozenset([source()]))
    assert (bench.found.state, bench.found.offset, bench.found.reason) == ("created", None, None)
