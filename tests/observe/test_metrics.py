"""What Prometheus reads: which series exist from the start, what moves them, and that nobody can make too many."""

import ast
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import streamproc
from streamproc.core.lifecycle import ASSISTANTS
from streamproc.core.model import Verdict
from streamproc.core.tally import Tally
from streamproc.observe import names
from streamproc.observe.counters import ANOMALIES, REASONS, RUN_BOUNDS_S
from streamproc.observe.metrics import MetricsObserver
from streamproc.runtime.observer import TaskState
from tests.observe.reports import report

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PACKAGE = Path(streamproc.__file__).parent


@pytest.fixture
def metrics():
    return MetricsObserver(ASSISTANTS)


def samples(metrics):
    """Every sample as (name, labels) → value, as a Prometheus server reads it."""
    body, _ = metrics.exposition("")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse_text(body.decode())
        for sample in family.samples
    }


def value(metrics, name, **labels):
    return samples(metrics).get((f"streamproc_{name}", *sorted(labels.items())))


def label_values(metrics, name, label):
    return {dict(key[1:])[label] for key in samples(metrics) if key[0] == f"streamproc_{name}"}


# What exists before anything happened


@pytest.mark.parametrize("status", [*ASSISTANTS.statuses, "other"])
def test_every_status_is_0_from_the_start(metrics, status):
    assert value(metrics, "runs", status=status) == 0


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_0_from_the_start(metrics, reason):
    assert value(metrics, "events_rejected_total", reason=reason) == 0


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_is_0_from_the_start(metrics, verdict):
    assert value(metrics, "event_verdicts_total", verdict=verdict.value) == 0


@pytest.mark.parametrize("kind", ANOMALIES)
def test_every_anomaly_is_0_from_the_start(metrics, kind):
    assert value(metrics, "run_anomalies_total", kind=kind) == 0


@pytest.mark.parametrize("outcome", sorted(set(ASSISTANTS.outcomes.values())))
@pytest.mark.parametrize("model", ["unknown", "other"])
def test_every_outcome_is_0_from_the_start(metrics, outcome, model):
    assert value(metrics, "run_duration_seconds_count", outcome=outcome, model=model) == 0


def test_every_change_that_the_life_cycle_applies_is_0_from_the_start_and_no_other_exists(metrics):
    applied = {
        (start or "new", to)
        for start in (None, *ASSISTANTS.statuses)
        for to in ASSISTANTS.statuses
        if start != to and ASSISTANTS.judge(start, to).verdict is Verdict.APPLIED
    }
    found = {key: count for key, count in samples(metrics).items() if key[0] == "streamproc_run_transitions_total"}
    assert {(dict(key[1:])["from"], dict(key[1:])["to"]) for key in found} == applied
    assert set(found.values()) == {0}


@pytest.mark.parametrize("state", ["created", "fenced", "restoring", "running", "suspended"])
def test_every_state_of_a_task_is_0_from_the_start(metrics, state):
    assert value(metrics, "task_state", state=state) == 0


@pytest.mark.parametrize(
    "name",
    [
        "events_consumed_total",
        "rebalances_total",
        "runs_forgotten_total",
        "restore_remaining_records",
        "commit_duration_seconds_count",
        "end_to_end_latency_seconds_count",
        "run_queue_wait_seconds_count",
        "run_action_wait_seconds_count",
    ],
)
def test_what_has_no_labels_is_0_from_the_start(metrics, name):
    assert value(metrics, name) == 0


def test_exactly_the_metrics_of_the_table_of_names_are_exported(metrics):
    table = {metric.name.removesuffix("_total") for metric in vars(names).values() if isinstance(metric, names.Metric)}
    assert {family.name for family in metrics.collect()} == table


def test_the_build_is_named(metrics):
    assert any(key[0] == "streamproc_build_info" and dict(key[1:])["version"] for key in samples(metrics))


# The closed sets are those of the code that fills them


def literals(call_or_key):
    """First arguments of `RecordRejected(...)`, and keys of `...anomalies[...]`, wherever the package has them."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            found = call_or_key(node)
            if isinstance(found, ast.Constant):
                yield found.value


def test_the_reasons_are_those_that_the_code_raises():
    def reason(node):
        is_raised = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "RecordRejected"
        return node.args[0] if is_raised and node.args else None

    assert set(literals(reason)) == set(REASONS)


def test_the_anomalies_are_those_that_the_code_counts():
    def kind(node):
        is_counter = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute)
        return node.slice if is_counter and node.value.attr == "anomalies" else None

    by_verdict = {Verdict.STALE.value, Verdict.ILLEGAL.value}
    assert set(literals(kind)) | by_verdict == set(ANOMALIES)


# Counters move with a confirmed commit


def test_a_commit_moves_the_counters(metrics):
    tally = Tally(
        verdicts=Counter({Verdict.APPLIED: 3, Verdict.STALE: 1}),
        transitions=Counter({("", "queued"): 2, ("queued", "in_progress"): 1}),
        anomalies=Counter({"stale": 1}),
        tokens=Counter({("prompt", "gpt-4o"): 70, ("completion", "gpt-4o"): 30}),
        run_durations=[("succeeded", "gpt-4o", 700.0)],
        queue_waits=[1.5],
        action_waits=[3.0, 4.0],
    )
    given = {"records": 5, "rejected": Counter({"bad_time": 1}), "duration_s": 0.03, "latency_s": 0.2, "forgotten": 7}
    metrics.committed(report(tally=tally, **given))
    assert value(metrics, "events_consumed_total") == 5
    assert value(metrics, "events_rejected_total", reason="bad_time") == 1
    assert value(metrics, "event_verdicts_total", verdict="applied") == 3
    assert value(metrics, "run_transitions_total", **{"from": "new", "to": "queued"}) == 2
    assert value(metrics, "run_transitions_total", **{"from": "queued", "to": "in_progress"}) == 1
    assert value(metrics, "run_anomalies_total", kind="stale") == 1
    assert value(metrics, "run_tokens_total", type="prompt", model="gpt-4o") == 70
    assert value(metrics, "run_duration_seconds_sum", outcome="succeeded", model="gpt-4o") == 700
    assert value(metrics, "run_queue_wait_seconds_sum") == 1.5
    assert value(metrics, "run_action_wait_seconds_count") == 2
    assert value(metrics, "runs_forgotten_total") == 7
    assert value(metrics, "commit_duration_seconds_sum") == 0.03
    assert value(metrics, "end_to_end_latency_seconds_sum") == 0.2


def test_commits_add_up_over_partitions(metrics):
    metrics.committed(report(0, records=2))
    metrics.committed(report(1, records=3))
    assert value(metrics, "events_consumed_total") == 5


def test_nothing_but_a_commit_moves_an_event_counter(metrics):
    """rules.md 24: not a failed transaction, whose events come again."""
    before = samples(metrics)
    metrics.task_state(0, TaskState.RUNNING)
    metrics.transaction_failed(0, "ProducerFenced")
    metrics.lag(0, 10, 5.0)
    metrics.restoring(0, 3)
    metrics.progress()
    moved = {key[0] for key, now in samples(metrics).items() if before.get(key, 0) != now and key[0].endswith("_total")}
    assert {name for name in moved if name.startswith("streamproc_")} == {"streamproc_transactions_failed_total"}


def test_a_commit_without_records_has_no_latency(metrics):
    metrics.committed(report(records=0, duration_s=0.1))
    assert value(metrics, "commit_duration_seconds_count") == 1
    assert value(metrics, "end_to_end_latency_seconds_count") == 0


def test_failures_and_rebalances_are_counted(metrics):
    metrics.transaction_failed(0, "ProducerFenced")
    metrics.transaction_failed(1, "ProducerFenced")
    metrics.rebalanced(frozenset({0, 1}))
    assert value(metrics, "transactions_failed_total", cause="ProducerFenced") == 2
    assert value(metrics, "rebalances_total") == 1


def test_a_negative_token_count_does_not_turn_a_counter_back(metrics):
    metrics.committed(report(tally=Tally(tokens=Counter({("prompt", "m"): 5}))))
    metrics.committed(report(tally=Tally(tokens=Counter({("prompt", "m"): -3}))))
    assert value(metrics, "run_tokens_total", type="prompt", model="m") == 5


def test_buckets_hold_what_is_at_most_their_bound(metrics):
    waits = [0.0, 0.5, 0.6, 600.0, 600.1, 4000.0]
    metrics.committed(report(tally=Tally(queue_waits=waits)))
    for bound in RUN_BOUNDS_S:
        expected = sum(wait <= bound for wait in waits)
        assert value(metrics, "run_queue_wait_seconds_bucket", le=str(float(bound))) == expected
    assert value(metrics, "run_queue_wait_seconds_bucket", le="+Inf") == len(waits)


def test_a_run_that_took_exactly_a_bound_is_within_it(metrics):
    metrics.committed(report(tally=Tally(run_durations=[("expired", "m", 600.0)])))
    labels = {"outcome": "expired", "model": "m"}
    assert value(metrics, "run_duration_seconds_bucket", le="600.0", **labels) == 1
    assert value(metrics, "run_duration_seconds_bucket", le="300.0", **labels) == 0


def test_buckets_go_past_the_600_s_after_which_a_run_expires():
    assert max(RUN_BOUNDS_S) > 600


# Labels are closed or limited


def test_unknown_statuses_are_one_series(metrics):
    metrics.task_state(0, TaskState.RUNNING)
    metrics.committed(report(runs_by_status=Counter({"queued": 2, "paused": 3, "\x1b[2J": 4})))
    assert value(metrics, "runs", status="queued") == 2
    assert value(metrics, "runs", status="other") == 7


def test_words_outside_the_closed_sets_are_other(metrics):
    tally = Tally(
        transitions=Counter({("x", "y"): 1}), anomalies=Counter({"odd": 1}), run_durations=[("won", "m", 1.0)]
    )
    metrics.committed(report(tally=tally, rejected=Counter({"sneaky": 1})))
    assert value(metrics, "run_transitions_total", **{"from": "other", "to": "other"}) == 1
    assert value(metrics, "run_anomalies_total", kind="other") == 1
    assert value(metrics, "run_duration_seconds_count", outcome="other", model="m") == 1
    assert value(metrics, "events_rejected_total", reason="other") == 1


@pytest.mark.parametrize("model", [None, "", "unknown"])
def test_a_run_without_a_model_is_unknown(metrics, model):
    metrics.committed(report(tally=Tally(tokens=Counter({("prompt", model): 1}))))
    assert value(metrics, "run_tokens_total", type="prompt", model="unknown") == 1


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "ft:gpt-3.5-turbo-0125:org:name:8h3j", "meta-llama/Llama-3-70b", "anthropic.claude-3-v1:0", "My Model"],
)
def test_a_model_as_they_are_called_has_a_series(metrics, model):
    metrics.committed(report(tally=Tally(tokens=Counter({("prompt", model): 1}))))
    assert value(metrics, "run_tokens_total", type="prompt", model=model) == 1


def test_models_beyond_the_limit_are_other():
    metrics = MetricsObserver(ASSISTANTS, max_models=2)
    durations = [("failed", model, 1.0) for model in ("a", "b", "c", "d", "a")]
    metrics.committed(report(tally=Tally(run_durations=durations)))
    counts = {m: value(metrics, "run_duration_seconds_count", outcome="failed", model=m) for m in ("a", "b", "other")}
    assert counts == {"a": 2, "b": 1, "other": 2}
    assert label_values(metrics, "run_duration_seconds_count", "model") == {"a", "b", "other", "unknown"}


def test_a_model_exists_with_every_outcome_once_it_was_seen(metrics):
    """So that its first failure is an increase from 0, which an alert can see."""
    metrics.committed(report(tally=Tally(run_durations=[("succeeded", "gpt-4o", 1.0)])))
    assert value(metrics, "run_duration_seconds_count", outcome="failed", model="gpt-4o") == 0
    assert value(metrics, "run_tokens_total", type="completion", model="gpt-4o") == 0


def hostile_names(count):
    parts = [
        '"',
        "\\",
        "\n",
        "\r",
        "\x00",
        "\x1b[2J",
        "{",
        "}",
        " # EOF",
        ",le=",
        "\ud800",
        "\u202e",
        "ü",
        "a",
        "=",
        "\u2028",
    ]
    rng = random.Random(7)
    fixed = ["# EOF", '"} 1\nstreamproc_runs{status="queued"} 99', "x" * 100_000, " ", "\t", "a\n", "\ud800"]
    return fixed + ["".join(rng.choices(parts, k=rng.randint(1, 12))) + str(number) for number in range(count)]


@pytest.mark.parametrize(("accept", "parse"), [("", parse_text), (OPENMETRICS, parse_openmetrics)])
def test_ten_thousand_hostile_names_neither_multiply_series_nor_break_the_exposition(metrics, accept, parse):
    hostile = hostile_names(10_000)
    tally = Tally(
        tokens=Counter({(kind, name): 1 for name in hostile for kind in ("prompt", name)}),
        run_durations=[("failed", name, 1.0) for name in hostile],
        transitions=Counter({(name, name): 1 for name in hostile}),
        anomalies=Counter(dict.fromkeys(hostile, 1)),
    )
    metrics.task_state(0, TaskState.RUNNING)
    metrics.committed(report(tally=tally, rejected=Counter(dict.fromkeys(hostile, 1)), runs_by_status=Counter(hostile)))
    for name in hostile:
        metrics.transaction_failed(0, name)
    body, _ = metrics.exposition(accept)
    found = [sample for family in parse(body.decode()) for sample in family.samples]
    assert len(found) < 3_000
    models = {sample.labels["model"] for sample in found if "model" in sample.labels}
    assert len(models) <= 22
    failed = [sample.value for sample in found if sample.name == "streamproc_run_duration_seconds_count"]
    assert sum(failed) == len(hostile), "every run is counted, under whatever name"


def test_hostile_names_do_not_take_the_room_of_real_ones(metrics):
    metrics.committed(
        report(tally=Tally(tokens=Counter({("prompt", name): 1 for name in ['a"b', "a\nb", "ü", "x" * 101]})))
    )
    assert label_values(metrics, "run_tokens_total", "model") == {"unknown", "other"}


# Gauges: running tasks only


def running(metrics, *partitions):
    for partition in partitions:
        metrics.task_state(partition, TaskState.RUNNING)
        metrics.lag(partition, 10, 2.5)
        metrics.committed(report(partition, runs_by_status=Counter({"queued": 3})))


def test_a_running_task_shows_its_lag_and_runs(metrics):
    running(metrics, 0, 1)
    assert value(metrics, "consumer_lag_records", partition="1") == 10
    assert value(metrics, "consumer_lag_seconds", partition="1") == 2.5
    assert value(metrics, "runs", status="queued") == 6
    assert value(metrics, "task_state", state="running") == 2


@pytest.mark.parametrize("state", [TaskState.SUSPENDED, TaskState.FENCED, TaskState.RESTORING, TaskState.CLOSED])
def test_a_task_that_no_longer_runs_takes_its_gauges_along(metrics, state):
    running(metrics, 0, 1)
    metrics.task_state(1, state)
    assert label_values(metrics, "consumer_lag_records", "partition") == {"0"}
    assert label_values(metrics, "consumer_lag_seconds", "partition") == {"0"}
    assert value(metrics, "runs", status="queued") == 3


def test_a_task_that_runs_again_does_not_show_what_it_reported_before(metrics):
    running(metrics, 0)
    metrics.task_state(0, TaskState.SUSPENDED)
    metrics.task_state(0, TaskState.RUNNING)
    assert value(metrics, "consumer_lag_records", partition="0") is None


def test_late_reports_of_a_suspended_task_are_not_shown(metrics):
    running(metrics, 0)
    metrics.task_state(0, TaskState.SUSPENDED)
    metrics.lag(0, 4, 1.0)
    metrics.committed(report(0, runs_by_status=Counter({"queued": 3})))
    assert value(metrics, "runs", status="queued") == 0
    assert value(metrics, "consumer_lag_records", partition="0") is None


def test_reports_of_a_closed_task_are_counted_but_not_shown(metrics):
    running(metrics, 0)
    metrics.task_state(0, TaskState.CLOSED)
    metrics.lag(0, 4, 1.0)
    metrics.restoring(0, 9)
    metrics.committed(report(0, records=2, runs_by_status=Counter({"queued": 3})))
    assert value(metrics, "runs", status="queued") == 0
    assert value(metrics, "consumer_lag_records", partition="0") is None
    assert value(metrics, "restore_remaining_records") == 0
    assert value(metrics, "events_consumed_total") == 2


def test_a_closed_task_is_in_no_state(metrics):
    metrics.task_state(0, TaskState.CLOSED)
    assert sum(samples(metrics)["streamproc_task_state", ("state", state.value)] for state in list(TaskState)[:-1]) == 0


def test_lag_is_0_once_caught_up(metrics):
    running(metrics, 0)
    metrics.caught_up(0)
    assert value(metrics, "consumer_lag_records", partition="0") == 0
    assert value(metrics, "consumer_lag_seconds", partition="0") == 0


def test_nothing_unread_is_0_seconds_however_old_the_last_record_is(metrics):
    metrics.task_state(0, TaskState.RUNNING)
    metrics.lag(0, 0, 172_800.0)
    assert value(metrics, "consumer_lag_seconds", partition="0") == 0


def test_restores_add_up_until_they_are_over(metrics):
    for partition, remaining in ((0, 100), (1, 20)):
        metrics.task_state(partition, TaskState.RESTORING)
        metrics.restoring(partition, remaining)
    assert value(metrics, "restore_remaining_records") == 120
    metrics.restoring(0, 0)
    metrics.task_state(1, TaskState.RUNNING)
    assert value(metrics, "restore_remaining_records") == 0


# Formats


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", "text/plain", parse_text),
        ("text/html, */*", "text/plain", parse_text),
        (OPENMETRICS, "application/openmetrics-text", parse_openmetrics),
        ("application/openmetrics-text", "application/openmetrics-text", parse_openmetrics),
        ("application/openmetrics-text; version=x.y", "text/plain", parse_text),
        ("text/plain; version=;;;=,,", "text/plain", parse_text),
    ],
)
def test_the_accept_header_chooses_the_format(metrics, accept, content_type, parse):
    running(metrics, 0)
    body, answered = metrics.exposition(accept)
    assert answered.startswith(content_type)
    assert sum(len(family.samples) for family in parse(body.decode())) > 100


def test_two_observers_share_nothing():
    one, two = MetricsObserver(ASSISTANTS), MetricsObserver(ASSISTANTS)
    one.committed(report(records=1))
    assert value(two, "events_consumed_total") == 0


# Speed


def test_a_big_commit_is_added_in_time(metrics):
    """Measured: 0.27 µs a run that ended, 0.13 µs a wait; the bound leaves room for a slow, busy machine."""
    rng = random.Random(1)
    outcomes = sorted(set(ASSISTANTS.outcomes.values()))
    durations = [(rng.choice(outcomes), f"model-{rng.randint(0, 30)}", rng.random() * 700) for _ in range(10_000)]
    big = report(records=10_000, tally=Tally(run_durations=durations, queue_waits=[1.0] * 10_000))
    best_s = min(_timed(metrics.committed, big) for _ in range(20))
    print(f"{best_s / 20_000 * 1e6:.2f} µs a duration")
    assert best_s / 20_000 < 3e-6


def _timed(call, *arguments):
    began = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - began


def test_runs_of_an_idle_partition_show_as_soon_as_it_runs() -> None:
    """A restored state is exported before the first commit."""
    observer = MetricsObserver(ASSISTANTS)
    observer.task_state(0, TaskState.RUNNING)
    observer.restored(0, Counter({"queued": 3}))
    assert 'streamproc_runs{status="queued"} 3.0' in observer.exposition("")[0].decode()
