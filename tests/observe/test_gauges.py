"""Gauges: what the running tasks hold and how far they are, as of the moment when somebody asks."""

import asyncio

import pytest
from msgspec.structs import replace

from streamproc.core.deadlines import Deadlines
from streamproc.core.model import Moment
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.core.step import begin, pass_time, step
from streamproc.core.windowstate import WindowOutcome, WindowRules, WindowState
from streamproc.observe import census
from streamproc.runtime.config import StateSettings
from streamproc.runtime.observer import Pause
from streamproc.runtime.taskstates import TaskState
from streamproc.store.jobs import Sealing, Storing
from streamproc.store.tiers import Tiers
from tests.observe.reading import exposed, label_values, samples, value
from tests.observe.reports import measured, report, source
from tests.support.disks import FakeDisk
from tests.support.events import RETENTION, RULES, START_MS, event, fold, new_state
from tests.support.watched import watched_metrics

START_S = START_MS // 1000
NOT_RUNNING = [TaskState.SUSPENDED, TaskState.FENCED, TaskState.RESTORING, TaskState.CLOSED]


@pytest.fixture
def metrics():
    return watched_metrics(ASSISTANTS)


def state_of(*statuses, **fields):
    """Return a state with a run in each of these statuses."""
    state = new_state()
    fold(state, *(event(status, run=f"run_{number}", **fields) for number, status in enumerate(statuses)))
    return state


def run_with(metrics, task, held):
    metrics.task_state(task, TaskState.RUNNING)
    metrics.running(task, held)
    metrics.lag(task, 10, 2.5)


def windows(watermark):
    return WindowState(WindowRules(sources=1, stream="run-events"), watermark)


# Read from the states


def test_runs_are_counted_where_they_are_as_they_are_now(metrics):
    state = state_of("queued", "queued", "failed")
    run_with(metrics, source(0), state)
    run_with(metrics, source(1), state_of("queued"))
    assert value(metrics, "runs", status="queued") == 3
    assert value(metrics, "runs", status="failed") == 1
    fold(state, event("in_progress", run="run_0", at=1_000))
    assert value(metrics, "runs", status="queued") == 2
    assert value(metrics, "runs", status="in_progress") == 1


def test_unknown_statuses_are_one_series_and_count_as_open(metrics):
    run_with(metrics, source(), state_of("queued", "paused", "\x1b[2J", "x" * 64, created_at=START_S))
    assert value(metrics, "runs", status="queued") == 1
    assert value(metrics, "runs", status="other") == 3
    assert value(metrics, "oldest_run_created_timestamp_seconds", status="other") == START_S


def test_the_oldest_open_run_of_each_status_over_all_partitions(metrics):
    created = {0: (30, 20, 40), 1: (25, 50)}
    for partition, ages in created.items():
        state = new_state()
        fold(state, *(event("queued", run=f"run_{age}", created_at=START_S - age) for age in ages))
        run_with(metrics, source(partition), state)
    assert value(metrics, "oldest_run_created_timestamp_seconds", status="queued") == START_S - 50
    assert value(metrics, "oldest_run_created_timestamp_seconds", status="in_progress") == 0


def test_a_run_that_ended_is_no_longer_the_oldest(metrics):
    state = state_of("queued")
    run_with(metrics, source(), state)
    fold(state, event("failed", run="run_0", at=1_000))
    assert value(metrics, "oldest_run_created_timestamp_seconds", status="queued") == 0
    assert "failed" not in label_values(metrics, "oldest_run_created_timestamp_seconds", "status")


@pytest.mark.parametrize("created_at", [None, 0])
def test_a_run_without_a_creation_time_counts_from_when_it_was_first_seen(metrics, created_at):
    run_with(metrics, source(), state_of("queued", created_at=created_at, at=7_000))
    assert value(metrics, "oldest_run_created_timestamp_seconds", status="queued") == START_S + 7


def overdue_state():
    """Return a state with a run that missed two deadlines, and one that missed one, and one that ended twice."""
    limits = Deadlines(allowance_ms=0, limits={"queued": 60_000, "in_progress": 60_000})
    state = State(Rules(ASSISTANTS, RETENTION, limits))
    events = [
        event("queued", run="run_1", expires_at=START_S + 30),
        event("in_progress", run="run_2"),
        event("queued", run="run_3", at=100_000),
        event("failed", run="run_4"),
        event("completed", run="run_4", at=1),
    ]
    at = Moment(START_MS + 120_000, caught_up=True)
    out = pass_time(state, at, step(state, sorted(events, key=lambda each: each.timestamp), at, begin(state)))
    state.merge(out)
    return state


def test_runs_that_missed_a_deadline_are_counted_by_its_kind_until_they_move_on(metrics):
    state = overdue_state()
    run_with(metrics, source(), state)
    assert value(metrics, "runs_overdue", kind="overdue") == 1
    assert value(metrics, "runs_overdue", kind="stuck_queued") == 1
    assert value(metrics, "runs_overdue", kind="stuck_in_progress") == 1
    assert value(metrics, "runs_overdue", kind="stuck_requires_action") == 0
    at = Moment(START_MS + 121_000, caught_up=True)
    out = step(state, [event("completed", run="run_1", at=121_000)], at, begin(state))
    state.merge(out)
    assert value(metrics, "runs_overdue", kind="overdue") == 0
    assert value(metrics, "runs_overdue", kind="stuck_queued") == 0
    assert value(metrics, "runs_overdue", kind="stuck_in_progress") == 1


def test_an_illegal_end_is_no_missed_deadline(metrics):
    run_with(metrics, source(), overdue_state())
    assert "illegal" not in label_values(metrics, "runs_overdue", "kind")


def tiered(runs, disk):
    """Return a state with runs of whose payloads all but one are on a disk alone."""
    state = State(RULES, payloads=Tiers())
    fold(state, *(event("queued", run=f"run_{number}", payload=b"%d" % number * 99) for number in range(runs - 1)))
    for make in (Sealing, lambda tiers: Storing(tiers, 1, 1 << 20)):
        job = make(state.payloads)
        job.work(lambda: disk)
        job.settle()
    state.payloads.disk_bytes = disk.size
    fold(state, event("queued", run="run_in_memory", payload=b"a" * 500))
    return state


def test_payloads_of_all_running_tasks_are_counted_by_where_they_are(metrics):
    """Rule: each run counts once; tasks that do not run are left out."""
    disks = FakeDisk(), FakeDisk()
    for number, disk in enumerate(disks):
        run_with(metrics, source(number), tiered(5, disk))
    run_with(metrics, measured(), windows(0))
    assert value(metrics, "state_payloads", kind="memory") == 2
    assert value(metrics, "state_payloads", kind="disk") == 8
    assert 1_000 < value(metrics, "state_bytes", kind="memory") < 1_500
    assert value(metrics, "state_bytes", kind="disk") == sum(disk.size for disk in disks) > 0
    metrics.task_state(source(1), TaskState.SUSPENDED)
    assert value(metrics, "state_payloads", kind="disk") == 4
    assert value(metrics, "state_bytes", kind="disk") == disks[0].size


def test_without_runs_payloads_take_nothing(metrics):
    for name in ("state_bytes", "state_payloads"):
        assert [value(metrics, name, kind=kind) for kind in ("memory", "disk")] == [0, 0]


def test_the_limits_of_payloads_are_those_of_the_settings():
    """One that is not set has no figure: a share of it is none either."""
    metrics = watched_metrics(ASSISTANTS, state=StateSettings(memory_bytes=1 << 20))
    assert value(metrics, "state_limit_bytes", kind="memory") == 1 << 20
    assert label_values(metrics, "state_limit_bytes", "kind") == {"memory"}
    metrics = watched_metrics(ASSISTANTS, state=StateSettings(max_disk_bytes=1 << 30))
    assert value(metrics, "state_limit_bytes", kind="disk") == 1 << 30


def test_the_watermark_of_each_partition_of_the_windows(metrics):
    state = windows(START_MS)
    run_with(metrics, measured(0), state)
    run_with(metrics, measured(3), windows(0))
    run_with(metrics, source(1), new_state())
    state.merge(replace(WindowOutcome.on(state), watermark=START_MS + 1_500))
    assert value(metrics, "window_watermark_timestamp_seconds", partition="0") == START_S + 1.5
    # All is idle: the clock moves it, and there is nothing to commit.
    state.settle(replace(WindowOutcome.on(state), watermark=START_MS + 9_000))
    assert value(metrics, "window_watermark_timestamp_seconds", partition="0") == START_S + 9
    assert value(metrics, "window_watermark_timestamp_seconds", partition="3") == 0
    assert label_values(metrics, "window_watermark_timestamp_seconds", "partition") == {"0", "3"}


# Running tasks only


def both_stages(metrics, *partitions):
    for partition in partitions:
        run_with(metrics, source(partition), state_of("queued", "queued", "queued"))
        run_with(metrics, measured(partition), windows(START_MS))


def test_a_running_task_shows_its_lag(metrics):
    both_stages(metrics, 0, 1)
    metrics.lag(measured(1), 7, 0.5)
    assert value(metrics, "consumer_lag_records", topic="run-events", partition="1") == 10
    assert value(metrics, "consumer_lag_seconds", topic="run-events", partition="1") == 2.5
    assert value(metrics, "consumer_lag_records", topic="run-measurements", partition="1") == 7
    assert value(metrics, "consumer_lag_seconds", topic="run-measurements", partition="1") == 0.5
    assert value(metrics, "task_state", state="running") == 4


def test_runs_of_an_idle_partition_show_as_soon_as_it_runs(metrics):
    """Before its first commit."""
    metrics.task_state(source(), TaskState.RUNNING)
    metrics.running(source(), state_of("queued"))
    assert value(metrics, "runs", status="queued") == 1


@pytest.mark.parametrize("state", NOT_RUNNING)
def test_a_task_that_no_longer_runs_takes_its_gauges_along(metrics, state):
    both_stages(metrics, 0, 1)
    for task in (source(1), measured(1)):
        metrics.task_state(task, state)
    assert label_values(metrics, "consumer_lag_records", "partition") == {"0"}
    assert label_values(metrics, "consumer_lag_seconds", "partition") == {"0"}
    assert label_values(metrics, "window_watermark_timestamp_seconds", "partition") == {"0"}
    assert value(metrics, "runs", status="queued") == 3


def test_a_task_that_runs_again_does_not_show_what_it_reported_before(metrics):
    both_stages(metrics, 0)
    metrics.task_state(source(), TaskState.SUSPENDED)
    metrics.task_state(source(), TaskState.RUNNING)
    assert value(metrics, "consumer_lag_records", topic="run-events", partition="0") is None
    assert value(metrics, "runs", status="queued") == 0


def test_late_reports_of_a_suspended_task_are_not_shown(metrics):
    both_stages(metrics, 0)
    metrics.task_state(source(), TaskState.SUSPENDED)
    metrics.lag(source(), 4, 1.0)
    metrics.committed(report())
    assert value(metrics, "runs", status="queued") == 0
    assert value(metrics, "consumer_lag_records", topic="run-events", partition="0") is None


def test_reports_of_a_closed_task_are_counted_but_not_shown(metrics):
    both_stages(metrics, 0)
    metrics.task_state(source(), TaskState.CLOSED)
    metrics.lag(source(), 4, 1.0)
    metrics.restoring(source(), 9)
    metrics.running(source(), state_of("queued"))
    metrics.committed(report(records=2))
    assert value(metrics, "runs", status="queued") == 0
    assert value(metrics, "consumer_lag_records", topic="run-events", partition="0") is None
    assert value(metrics, "restore_remaining_records") == 0
    assert value(metrics, "events_consumed_total") == 2


def test_a_closed_task_is_in_no_state(metrics):
    metrics.task_state(source(), TaskState.CLOSED)
    assert sum(count for key, count in samples(exposed(metrics)).items() if key[0] == "streamproc_task_state") == 0


def test_lag_is_0_once_caught_up(metrics):
    both_stages(metrics, 0)
    metrics.caught_up(source())
    assert value(metrics, "consumer_lag_records", topic="run-events", partition="0") == 0
    assert value(metrics, "consumer_lag_seconds", topic="run-events", partition="0") == 0


def test_nothing_unread_is_0_seconds_however_old_the_last_record_is(metrics):
    metrics.task_state(source(), TaskState.RUNNING)
    metrics.lag(source(), 0, 172_800.0)
    assert value(metrics, "consumer_lag_seconds", topic="run-events", partition="0") == 0


def waiting(metrics):
    """Return how many partitions wait, by what for."""
    return {why.value: value(metrics, "partitions_paused", reason=why.value) for why in Pause}


def none_but(**counts):
    reasons = ("registry", "rate", "rejections", "unreadable", "output", "state_full", "denied")
    return dict.fromkeys(reasons, 0) | counts


def test_partitions_that_wait_are_counted_by_what_for_as_long_as_they_do(metrics):
    assert waiting(metrics) == none_but()
    for number in range(3):
        run_with(metrics, source(number), state_of("queued"))
    metrics.paused(source(0), Pause.REGISTRY, "id:7")
    metrics.paused(source(1), Pause.REGISTRY, "id:8")
    metrics.paused(source(2), Pause.REJECTIONS, "restart")
    assert waiting(metrics) == none_but(registry=2, rejections=1)
    metrics.resumed(source(0))
    metrics.paused(source(1), Pause.RATE, "more bad_time")
    metrics.paused(source(2), Pause.UNREADABLE, "damaged")
    assert waiting(metrics) == none_but(rate=1, unreadable=1)
    metrics.paused(source(1), Pause.STATE_FULL, "no room")
    assert waiting(metrics) == none_but(state_full=1, unreadable=1)


@pytest.mark.parametrize("state", NOT_RUNNING)
def test_a_task_that_no_longer_runs_waits_for_nothing(metrics, state):
    """Its partition may go on elsewhere."""
    run_with(metrics, source(), state_of("queued"))
    metrics.paused(source(), Pause.REGISTRY, "id:7")
    metrics.task_state(source(), state)
    assert waiting(metrics) == none_but()


def test_restores_add_up_until_they_are_over(metrics):
    for task, remaining in ((source(0), 100), (measured(0), 20)):
        metrics.task_state(task, TaskState.RESTORING)
        metrics.restoring(task, remaining)
    assert value(metrics, "restore_remaining_records") == 120
    metrics.restoring(source(0), 0)
    metrics.task_state(measured(0), TaskState.RUNNING)
    assert value(metrics, "restore_remaining_records") == 0


# While the loop goes on


@pytest.fixture
def small_slices(monkeypatch):
    monkeypatch.setattr(census, "SLICE", 10)


async def read(metrics):
    return samples((await metrics.exposition(""))[0].decode())


async def turns_during(work):
    """Return how often the event loop went round while `work` was done."""
    doing, turns = asyncio.create_task(work), 0
    while not doing.done():
        await asyncio.sleep(0)
        turns += 1
    return turns


async def test_counting_many_runs_lets_others_have_their_turns(metrics, small_slices):
    run_with(metrics, source(), state_of(*["queued"] * 300))
    assert await turns_during(metrics.exposition("")) > 30


async def test_many_small_partitions_are_counted_in_slices_too(metrics, small_slices):
    for partition in range(100):
        run_with(metrics, source(partition), state_of("queued", "queued", "queued"))
    assert 20 < await turns_during(metrics.exposition("")) < 40


async def test_a_state_that_changes_while_it_is_counted_is_shown_as_it_was(metrics, small_slices):
    state = state_of(*["queued"] * 100)
    run_with(metrics, source(), state)
    reading = asyncio.create_task(read(metrics))
    for _ in range(2):  # To ask, and to begin with the counting.
        await asyncio.sleep(0)
    fold(state, *(event("failed", run=f"run_{number}", at=1) for number in range(100)))
    fold(state, *(event("in_progress", run=f"more_{number}", at=1) for number in range(100)))
    found = await reading
    assert found["streamproc_runs", ("status", "queued")] == 100
    assert found["streamproc_runs", ("status", "failed")] == 0
    assert found["streamproc_oldest_run_created_timestamp_seconds", ("status", "queued")] == START_S


@pytest.mark.parametrize("state", NOT_RUNNING)
async def test_a_task_that_stops_while_it_is_counted_is_not_shown(metrics, small_slices, state):
    run_with(metrics, source(0), state_of(*["queued"] * 100))
    run_with(metrics, source(1), state_of("queued"))
    reading = asyncio.create_task(read(metrics))
    await asyncio.sleep(0)
    metrics.task_state(source(0), state)
    assert (await reading)["streamproc_runs", ("status", "queued")] == 1


async def test_several_may_read_at_a_time(metrics, small_slices):
    for partition in range(3):
        run_with(metrics, source(partition), state_of(*["queued"] * 50, *["in_progress"] * 25))
    readings = [asyncio.create_task(read(metrics)) for _ in range(5)]
    await asyncio.sleep(0)
    readings += [asyncio.create_task(read(metrics)) for _ in range(5)]
    for found in await asyncio.gather(*readings):
        assert found["streamproc_runs", ("status", "queued")] == 150
        assert found["streamproc_runs", ("status", "in_progress")] == 75
