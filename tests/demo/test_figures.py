"""The demo's observer: the sum of all commits, and each partition's latest state."""

from collections import Counter

from streamproc.core.model import Verdict
from streamproc.core.tally import Tally
from streamproc.demo.figures import Figures, Speed
from streamproc.runtime.observer import CommitReport, TaskState


def report(partition=0, records=0, verdicts=(), moves=(), rejected=(), runs=(), **times):
    return CommitReport(
        partition=partition,
        records=records,
        tally=Tally(verdicts=Counter(verdicts), transitions=Counter(moves)),
        rejected=Counter(rejected),
        runs_by_status=Counter(runs),
        forgotten=0,
        **{"duration_s": 0.01, "latency_s": 0.02, **times},
    )


def test_commits_add_up():
    figures = Figures()
    applied, stale = Verdict.APPLIED, Verdict.STALE
    figures.committed(report(0, 3, {applied: 2}, {("", "queued"): 2}, {"empty_value": 1}, {"queued": 2}))
    figures.committed(report(1, 1, {applied: 1}, {("", "queued"): 1}, (), {"queued": 1}))
    figures.committed(report(0, 2, {applied: 1, stale: 1}, {("queued", "failed"): 1}, (), {"queued": 1, "failed": 1}))
    assert (figures.events, figures.transitions, figures.commits) == (6, 4, 3)
    assert figures.verdicts == {applied: 4, stale: 1}
    assert figures.rejected == {"empty_value": 1}
    assert figures.runs_by_status == {"queued": 2, "failed": 1}


def test_only_the_latest_of_each_partition_counts_for_lag_and_state():
    figures = Figures()
    figures.lag(0, 500, 1.0)
    figures.lag(1, 30, 1.0)
    figures.caught_up(0)
    for partition, state in ((0, TaskState.RUNNING), (1, TaskState.RUNNING), (1, TaskState.SUSPENDED)):
        figures.task_state(partition, state)
    assert (figures.behind, figures.running) == (30, 1)


def test_times_are_unknown_before_the_first_commit_then_medians():
    figures = Figures()
    assert (figures.commit_s, figures.latency_s) == (None, None)
    for duration_s in (0.1, 0.2, 0.9):
        figures.committed(report(records=1, duration_s=duration_s, latency_s=10 * duration_s))
    figures.committed(report(duration_s=0.2, latency_s=0.0))  # caused by the clock: no record was late
    assert (figures.commit_s, figures.latency_s) == (0.2, 2.0)


def test_speed_forgets():
    now = 0.0
    speed = Speed(lambda: now)
    assert speed.measure(0) == 0
    now = 2.0
    assert speed.measure(400) == 200
    speeds = []
    for seconds in (5.0, 8.0, 11.0):
        now = seconds
        speeds.append(speed.measure(400))
    assert speeds[-1] == 0
