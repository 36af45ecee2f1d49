"""The demo's observer: the sum of the fold's commits, and what the running tasks hold."""

from collections import Counter

from msgspec.structs import replace

from streamproc.core.deadlines import Deadlines
from streamproc.core.model import Verdict
from streamproc.core.state import State
from streamproc.core.tally import Tally
from streamproc.core.windowstate import WindowRules, WindowState
from streamproc.demo.figures import Figures, Growth, WaitingRun
from streamproc.runtime.observer import FoldReport, WindowReport
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.taskstates import TaskState
from tests.support.events import RULES, START_MS, event, fold, new_state


def source(partition=0):
    return TopicPartition("run-events", partition)


def report(partition=0, records=0, verdicts=(), moves=(), rejected=(), **times):
    return FoldReport(
        source=source(partition),
        records=records,
        tally=Tally(verdicts=Counter(verdicts), transitions=Counter(dict(moves))),
        rejected=Counter(rejected),
        forgotten=0,
        seen_at=0,
        **{"duration_s": 0.01, "latency_s": 0.02, **times},
    )


def state_of(*statuses):
    state = new_state()
    fold(state, *(event(status, run=f"run_{number}") for number, status in enumerate(statuses)))
    return state


def run_with(figures, partition, held):
    figures.task_state(source(partition), TaskState.RUNNING)
    figures.running(source(partition), held)


def test_commits_add_up():
    figures = Figures()
    applied, stale = Verdict.APPLIED, Verdict.STALE
    figures.committed(report(0, 3, {applied: 2}, {("", "queued"): 2}, {"empty_value": 1}))
    figures.committed(report(1, 1, {applied: 1}, {("", "queued"): 1}))
    figures.committed(report(0, 2, {applied: 1, stale: 1}, {("queued", "failed"): 1}))
    figures.transacted(2, 0.01)
    assert (figures.events, figures.transitions, figures.commits) == (6, 4, 1)
    assert figures.verdicts == {applied: 4, stale: 1}
    assert figures.rejected == {"empty_value": 1}


def test_commits_of_the_windows_are_no_events():
    figures = Figures()
    counts = dict.fromkeys(("closed", "revised", "late", "watermark"), 1)
    task = TopicPartition("run-measurements", 0)
    figures.committed(WindowReport(source=task, records=9, duration_s=1.0, latency_s=1.0, dropped={}, **counts))
    assert (figures.events, figures.commits, figures.commit_s) == (0, 0, None)
    assert figures.revisions == 2


def test_runs_are_those_that_the_running_tasks_hold_now():
    figures = Figures()
    first = state_of("queued", "queued")
    run_with(figures, 0, first)
    run_with(figures, 1, state_of("queued", "failed"))
    figures.running(TopicPartition("run-measurements", 0), WindowState(WindowRules(1, "run-events")))
    assert figures.runs_by_status == {"queued": 3, "failed": 1}
    fold(first, event("failed", run="run_0", at=1))
    assert figures.runs_by_status == {"queued": 2, "failed": 2}


def test_runs_of_a_task_that_stopped_stay_as_they_were():
    """The figures are checked against the topics after the service has stopped."""
    figures, state = Figures(), state_of("queued")
    run_with(figures, 0, state)
    figures.task_state(source(0), TaskState.SUSPENDED)
    fold(state, event("queued", run="another"))
    assert figures.runs_by_status == {"queued": 1}
    run_with(figures, 0, state)
    assert figures.runs_by_status == {"queued": 2}


def test_only_the_latest_of_each_task_counts_for_lag_and_state():
    figures = Figures()
    figures.lag(source(0), 500, 1.0)
    figures.lag(source(1), 30, 1.0)
    figures.caught_up(source(0))
    for partition, state in ((0, TaskState.RUNNING), (1, TaskState.RUNNING), (1, TaskState.SUSPENDED)):
        figures.task_state(source(partition), state)
    assert (figures.behind, figures.tasks) == (30, 1)


def test_times_are_unknown_before_the_first_commit_then_medians():
    figures = Figures()
    assert (figures.commit_s, figures.latency_s) == (None, None)
    for duration_s in (0.1, 0.2, 0.9):
        figures.committed(report(records=1, duration_s=duration_s, latency_s=10 * duration_s))
    figures.committed(report(duration_s=0.2, latency_s=0.0))  # caused by the clock: no record was late
    assert (figures.commit_s, figures.latency_s) == (0.2, 2.0)


def test_tokens_and_ends_are_those_of_the_runs_that_ended():
    """Rule: what is shown of runs is what the metrics count."""
    figures, state = Figures(), new_state()
    statuses = ("failed", "completed", "queued")
    events = [event(status, run=f"run_{status}", usage=(10, 3, 13)) for status in statuses]
    told = FoldReport(
        source=source(), records=3, duration_s=0, latency_s=0, tally=fold(state, *events).tally, forgotten=0, seen_at=0
    )
    figures.committed(told)
    figures.committed(told)
    assert figures.tokens == {"prompt": 40, "completion": 12}
    assert figures.ended == {"failed": 2, "succeeded": 2}


def test_alerts_fire_until_they_resolve_and_occurrences_do_not():
    figures = Figures()
    counts = {("stuck_queued", "firing"): 3, ("stuck_queued", "resolved"): 1, ("illegal", "firing"): 5}
    gone = {("overdue", "firing"): 2, ("overdue", "resolved"): 2}
    figures.committed(report(alerts=Counter({**counts, **gone})))
    assert figures.firing == {"stuck_queued": 2}
    assert figures.alerts == 13


def test_open_runs_are_told_by_the_time_that_is_left():
    """Rule: a status without a limit goes by the expiry, a run with neither comes last."""
    figures = Figures()
    limits = Deadlines(limits={"queued": 20_000, "requires_action": 5_000}, allowance_ms=0)
    state = State(replace(RULES, deadlines=limits))
    fold(
        state,
        event("queued", run="run_long"),
        event("requires_action", run="run_over"),
        event("in_progress", run="run_free"),
        event("in_progress", run="run_expires", expires_at=START_MS // 1000 + 12),
        event("completed", run="run_ended", at=8_000),
        at=8_000,
    )
    run_with(figures, 0, state)
    found = figures.open_runs(START_MS + 8_000, 3)
    figures.task_state(source(0), TaskState.SUSPENDED)
    assert figures.open_runs(START_MS + 8_000, 3) == found, "the last picture is of what there was"
    assert (found.total, found.late) == (4, 1)
    assert found.nearest == (
        WaitingRun("run_over", "requires_action", 8_000, 5_000, -3_000, is_told=True),
        WaitingRun("run_expires", "in_progress", 8_000, None, 4_000, is_told=False),
        WaitingRun("run_long", "queued", 8_000, 20_000, 12_000, is_told=False),
    )


def test_growth_forgets():
    now = 0.0
    growth = Growth(5.0, lambda: now)
    assert growth.per_s(0) == 0
    now = 2.0
    assert growth.per_s(400) == 200
    assert growth.measure(400) == 400
    speeds = []
    for seconds in (5.0, 8.0, 11.0):
        now = seconds
        speeds.append(growth.per_s(400))
    assert speeds[-1] == 0
