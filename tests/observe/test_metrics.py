"""What Prometheus reads: which series exist from the start, and what moves the counters."""

import asyncio
from collections import Counter
from itertools import product

import pytest

from streamproc.core.alerts import kinds_of
from streamproc.core.measure import BOUNDS_MS
from streamproc.core.model import Verdict
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.tally import ANOMALIES
from streamproc.errors import RejectionReason
from streamproc.native import CODEC
from streamproc.notify.observer import DeliveryResult, Receiver
from streamproc.observe import names
from streamproc.observe.config import MetricsSettings
from streamproc.observe.push import PushMetrics
from streamproc.registry.observer import RequestResult
from streamproc.runtime.taskstates import TaskState
from tests.observe.reading import exposed, samples, value
from tests.observe.reports import ended, measured, report, source, tally_of, window_report
from tests.support.events import START_MS
from tests.support.sums import totals_from
from tests.support.watched import watched_metrics

OUTCOMES = sorted(set(ASSISTANTS.outcomes.values()))
OPEN = ("queued", "in_progress", "requires_action", "cancelling")
DEADLINES = ("overdue", "stuck_queued", "stuck_in_progress", "stuck_requires_action", "stuck_cancelling")


@pytest.fixture
def metrics():
    return watched_metrics(ASSISTANTS)


def counting(moves=(), **counted):
    """Return the tally of one group in one base window."""
    return tally_of(totals_from(**counted), transitions=Counter(dict(moves)))


# What exists before anything happened


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        *(("runs", {"status": status}) for status in (*ASSISTANTS.statuses, "other")),
        *(("oldest_run_created_timestamp_seconds", {"status": status}) for status in (*OPEN, "other")),
        *(("runs_overdue", {"kind": kind}) for kind in DEADLINES),
        *(("events_rejected_total", {"reason": reason}) for reason in RejectionReason),
        *(("event_verdicts_total", {"verdict": verdict.value}) for verdict in Verdict),
        *(("run_anomalies_total", {"kind": kind}) for kind in ANOMALIES),
        *(("window_dropped_total", {"reason": reason}) for reason in ("late", "old")),
        *(("windows_unjudged_total", {"kind": kind}) for kind in ("failure_rate", "cost_over_budget")),
        *(
            ("alerts_total", {"kind": kind, "state": state})
            for kind in kinds_of(OPEN)
            for state in ("firing", "resolved")
        ),
        *(("task_state", {"state": state.value}) for state in TaskState if state is not TaskState.CLOSED),
        *(
            ("run_duration_seconds_count", {"outcome": outcome, "model": model})
            for outcome, model in product(OUTCOMES, ("unknown", "other"))
        ),
        *(
            ("runs_ended_total", {"outcome": outcome, "assistant": assistant})
            for outcome, assistant in product(OUTCOMES, ("unknown", "other"))
        ),
        *(
            ("push_sent_total", {"receiver": receiver, "result": result.value})
            for receiver, result in product(Receiver, DeliveryResult)
        ),
        *(("registry_requests_total", {"result": result.value}) for result in RequestResult),
        *(("push_waiting", {"receiver": receiver}) for receiver in Receiver),
        *(("push_last_success_timestamp_seconds", {"receiver": receiver}) for receiver in Receiver),
        *(
            (name, {})
            for name in (
                "events_consumed_total",
                "rebalances_total",
                "runs_forgotten_total",
                "restore_remaining_records",
                "commit_duration_seconds_count",
                "end_to_end_latency_seconds_count",
                "run_queue_wait_seconds_count",
                "run_action_wait_seconds_count",
                "last_event_timestamp_seconds",
                "windows_closed_total",
                "window_revisions_total",
                "window_late_total",
            )
        ),
    ],
    ids=str,
)
def test_every_known_series_is_0_from_the_start(metrics, name, labels):
    assert value(metrics, name, **labels) == 0


def test_what_an_allow_list_names_is_0_from_the_start():
    metrics = watched_metrics(ASSISTANTS, MetricsSettings(models=("gpt-4o",), assistants=("asst_1",)))
    assert value(metrics, "run_duration_seconds_count", outcome="failed", model="gpt-4o") == 0
    assert value(metrics, "run_tokens_total", type="prompt", model="gpt-4o", assistant="other") == 0
    assert value(metrics, "runs_ended_total", outcome="failed", assistant="asst_1") == 0


def test_every_change_that_the_life_cycle_applies_is_0_from_the_start_and_no_other_exists(metrics):
    applied = {
        (start or "new", to)
        for start in (None, *ASSISTANTS.statuses)
        for to in ASSISTANTS.statuses
        if start != to and ASSISTANTS.judge(start, to).verdict is Verdict.APPLIED
    }
    found = {k: count for k, count in samples(exposed(metrics)).items() if k[0] == "streamproc_run_transitions_total"}
    assert {(dict(key[1:])["from"], dict(key[1:])["to"]) for key in found} == applied
    assert set(found.values()) == {0}


def test_exactly_the_metrics_of_the_table_of_names_are_exported(metrics):
    table = {metric.name.removesuffix("_total") for metric in vars(names).values() if isinstance(metric, names.Metric)}
    exported = {family.name for family in asyncio.run(metrics.families())}
    assert {name for name in exported if not name.startswith("process_")} == table


def test_the_process_itself_is_measured(metrics):
    assert samples(exposed(metrics))["process_resident_memory_bytes",] > 0


def test_the_build_and_its_profile_are_named(metrics):
    """Rule: who looks at /metrics sees under which life cycle, and by which codec, the figures came about."""
    (about,) = [dict(key[1:]) for key in samples(exposed(metrics)) if key[0] == "streamproc_build_info"]
    assert about["version"]
    assert about["profile"] == ASSISTANTS.name
    assert about["codec"] == CODEC.name


# Counters move with a confirmed commit


def test_a_commit_of_the_fold_moves_the_counters(metrics):
    tally = counting(
        moves={("", "queued"): 2, ("queued", "in_progress"): 1},
        tokens={"prompt": 70, "completion": 30},
        runs={"succeeded": [700_000], "failed": [1, 2]},
        queue_wait=[1_500],
        action_wait=[3_000, 4_000],
    )
    tally.verdicts.update({Verdict.APPLIED: 3, Verdict.STALE: 1})
    tally.anomalies["future_timestamp"] += 1
    given = {"records": 5, "rejected": Counter({"bad_status": 1}), "duration_s": 0.03, "latency_s": 0.2, "forgotten": 7}
    metrics.committed(report(tally=tally, alerts=Counter({("overdue", "firing"): 4}), **given))
    assert value(metrics, "events_consumed_total") == 5
    assert value(metrics, "events_rejected_total", reason="bad_status") == 1
    assert value(metrics, "event_verdicts_total", verdict="applied") == 3
    assert value(metrics, "run_transitions_total", **{"from": "new", "to": "queued"}) == 2
    assert value(metrics, "run_transitions_total", **{"from": "queued", "to": "in_progress"}) == 1
    assert value(metrics, "run_anomalies_total", kind="future_timestamp") == 1
    assert value(metrics, "run_tokens_total", type="prompt", model="m", assistant="a") == 70
    assert value(metrics, "run_duration_seconds_sum", outcome="succeeded", model="m") == 700
    assert value(metrics, "runs_ended_total", outcome="failed", assistant="a") == 2
    assert value(metrics, "run_queue_wait_seconds_sum") == 1.5
    assert value(metrics, "run_action_wait_seconds_count") == 2
    assert value(metrics, "runs_forgotten_total") == 7
    assert value(metrics, "commit_duration_seconds_sum") == 0.03
    assert value(metrics, "end_to_end_latency_seconds_sum") == 0.2
    assert value(metrics, "alerts_total", kind="overdue", state="firing") == 4
    assert value(metrics, "last_event_timestamp_seconds") == START_MS / 1000


def test_a_commit_of_the_windows_moves_the_counters(metrics):
    unjudged = {"failure_rate": 7}
    alerts = Counter({("failure_rate", "firing"): 2, ("stream_silent", "resolved"): 1})
    metrics.committed(
        window_report(closed=5, revised=4, late=3, dropped={"late": 2, "old": 6}, alerts=alerts, unjudged=unjudged)
    )
    assert value(metrics, "windows_closed_total") == 5
    assert value(metrics, "window_revisions_total") == 4
    assert value(metrics, "window_late_total") == 3
    assert value(metrics, "window_dropped_total", reason="late") == 2
    assert value(metrics, "window_dropped_total", reason="old") == 6
    assert value(metrics, "windows_unjudged_total", kind="failure_rate") == 7
    assert value(metrics, "alerts_total", kind="failure_rate", state="firing") == 2
    assert value(metrics, "alerts_total", kind="stream_silent", state="resolved") == 1


def test_the_windows_consume_no_events_and_are_not_timed_since_they_wait_on_purpose(metrics):
    metrics.committed(window_report(records=9, duration_s=1.0, latency_s=1.0))
    assert value(metrics, "events_consumed_total") == 0
    assert value(metrics, "commit_duration_seconds_count") == 0
    assert value(metrics, "end_to_end_latency_seconds_count") == 0
    assert value(metrics, "last_event_timestamp_seconds") == 0


def test_rejected_records_of_either_stage_are_counted_as_the_dead_letter_topic_holds_them(metrics):
    metrics.committed(report(rejected=Counter({"undecodable": 1})))
    metrics.committed(window_report(rejected=Counter({"undecodable": 1})))
    assert value(metrics, "events_rejected_total", reason="undecodable") == 2


def test_commits_add_up_over_partitions_and_groups(metrics):
    for partition in range(2):
        metrics.committed(report(partition, ended([1_000, 2_000]), records=2))
        metrics.committed(report(partition, ended([4_000], assistant="b"), records=3))
    assert value(metrics, "events_consumed_total") == 10
    assert value(metrics, "run_duration_seconds_sum", outcome="succeeded", model="m") == 14
    assert value(metrics, "runs_ended_total", outcome="succeeded", assistant="a") == 4
    assert value(metrics, "runs_ended_total", outcome="succeeded", assistant="b") == 2


def test_nothing_but_a_commit_moves_an_event_counter(metrics):
    """rules.md 24: not a failed transaction, whose events come again."""
    before = samples(exposed(metrics))
    for task in (source(), measured()):
        metrics.task_state(task, TaskState.RUNNING)
        metrics.transaction_failed([task], "ProducerFenced")
        metrics.lag(task, 10, 5.0)
        metrics.restoring(task, 3)
    metrics.progress()
    now = samples(exposed(metrics))
    moved = {key[0] for key, count in now.items() if before.get(key, 0) != count and key[0].endswith("_total")}
    assert {name for name in moved if name.startswith("streamproc_")} == {"streamproc_transactions_failed_total"}


def test_a_commit_without_records_has_no_latency_and_saw_no_event(metrics):
    metrics.committed(report(records=0, duration_s=0.1, seen_at=0))
    assert value(metrics, "commit_duration_seconds_count") == 1
    assert value(metrics, "end_to_end_latency_seconds_count") == 0
    assert value(metrics, "last_event_timestamp_seconds") == 0


def test_the_last_event_is_that_of_all_partitions(metrics):
    for partition, seen_at in ((0, START_MS), (1, START_MS + 5_000), (2, START_MS + 1_000), (1, 0)):
        metrics.committed(report(partition, seen_at=seen_at))
    assert value(metrics, "last_event_timestamp_seconds") == START_MS / 1000 + 5


def test_failures_and_rebalances_are_counted(metrics):
    metrics.transaction_failed([source(0)], "ProducerFenced")
    metrics.transaction_failed([measured(1)], "ProducerFenced")
    metrics.rebalanced(frozenset({source(0), measured(1)}))
    assert value(metrics, "transactions_failed_total", cause="ProducerFenced") == 2
    assert value(metrics, "rebalances_total") == 1


def test_two_observers_share_nothing():
    one, two = watched_metrics(ASSISTANTS), watched_metrics(ASSISTANTS)
    one.committed(report(records=1))
    assert value(two, "events_consumed_total") == 0


# Durations


def test_buckets_are_those_of_the_windows_in_seconds_and_hold_what_is_at_most_their_bound(metrics):
    waits = [0, 500, 501, 600_000, 600_001, 4_000_000]
    metrics.committed(report(tally=counting(queue_wait=waits)))
    for bound in BOUNDS_MS:
        expected = sum(wait <= bound for wait in waits)
        assert value(metrics, "run_queue_wait_seconds_bucket", le=str(bound / 1000)) == expected
    assert value(metrics, "run_queue_wait_seconds_bucket", le="+Inf") == len(waits)


def test_a_run_that_took_exactly_a_bound_is_within_it(metrics):
    metrics.committed(report(tally=ended([600_000], "expired")))
    labels = {"outcome": "expired", "model": "m"}
    assert value(metrics, "run_duration_seconds_bucket", le="600.0", **labels) == 1
    assert value(metrics, "run_duration_seconds_bucket", le="300.0", **labels) == 0


def test_a_report_is_left_as_it_was(metrics):
    """The commit's tally is sent to the windows as well."""
    tally = ended([1_000])
    metrics.committed(report(tally=tally))
    metrics.committed(report(tally=ended([2_000])))
    fresh = ended([1_000])
    assert (tally.cells, tally.models, tally.ended) == (fresh.cells, fresh.models, fresh.ended)


# The registry


def test_requests_to_the_registry_are_counted(metrics):
    for result in (RequestResult.FOUND, RequestResult.FOUND, RequestResult.NOT_FOUND):
        metrics.registry.requested(result)
    values = [value(metrics, "registry_requests_total", result=result.value) for result in RequestResult]
    assert values == [2, 1, 0]


# The push


def test_what_receivers_say_is_counted(metrics):
    metrics.push.sent(Receiver.ALERTMANAGER, DeliveryResult.DELIVERED, 64)
    metrics.push.sent(Receiver.ALERTMANAGER, DeliveryResult.DELIVERED, 1)
    metrics.push.sent(Receiver.WEBHOOK, DeliveryResult.FAILED, 3)
    metrics.push.waiting(Receiver.WEBHOOK, 17)
    assert value(metrics, "push_sent_total", receiver="alertmanager", result="delivered") == 65
    assert value(metrics, "push_sent_total", receiver="webhook", result="failed") == 3
    assert value(metrics, "push_sent_total", receiver="webhook", result="delivered") == 0
    assert value(metrics, "push_waiting", receiver="webhook") == 17
    assert value(metrics, "push_waiting", receiver="alertmanager") == 0


def test_only_a_delivery_is_a_success():
    push = PushMetrics(lambda: 1_717_200_000.5)
    for result in DeliveryResult:
        push.sent(Receiver.WEBHOOK, result, 1)
        last = {sample.labels["receiver"]: sample.value for sample in list(push.families())[-1].samples}
        assert last == {"alertmanager": 0, "webhook": 1_717_200_000.5}, result
