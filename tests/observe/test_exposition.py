"""The formats: text and OpenMetrics, exemplars, and what promtool and the parsers say to them."""

import asyncio
from collections import Counter

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from streamproc.core.measure import BOUNDS_MS
from streamproc.core.model import MAX_AHEAD_MS, Verdict
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.tally import Exemplar
from streamproc.core.windowstate import WindowRules, WindowState
from streamproc.notify.observer import DeliveryResult, Receiver
from streamproc.registry.observer import RequestResult
from streamproc.runtime.config import StateSettings
from streamproc.runtime.observer import Pause
from streamproc.runtime.taskstates import TaskState
from tests.observe.reading import OPENMETRICS, exposed
from tests.observe.reports import ended, measured, report, source, window_report
from tests.support.events import START_MS, event, fold, new_state
from tests.support.prometheus import run
from tests.support.watched import watched_metrics


@pytest.fixture
def metrics():
    return watched_metrics(ASSISTANTS, requests={"Fetch": 3}, state=StateSettings(directory="/state"))


@pytest.fixture
def fed(metrics):
    """All series, every histogram with values and exemplars."""
    state = new_state()
    outcome = fold(
        state,
        event("queued", run="run_1"),
        event("in_progress", run="run_1", at=1_500, started_at=START_MS // 1000 + 1),
        event("requires_action", run="run_1", at=2_000),
        event("queued", run="run_1", at=9_000),
        event("failed", run="run_1", at=10_000, usage=(7, 2, 9), failed_at=START_MS // 1000 + 10),
        event("completed", run="run_1", at=11_000),
        event("queued", run="run_2", at=12_000),
    )
    state.snapshot_ms = START_MS
    alerts = Counter({("illegal", "firing"): 1})
    given = {"records": 7, "rejected": Counter({"bad_status": 1}), "duration_s": 0.03, "latency_s": 0.2, "forgotten": 1}
    metrics.committed(report(tally=outcome.tally, alerts=alerts, seen_at=START_MS + 12_000, **given))
    metrics.committed(
        window_report(closed=5, revised=4, late=3, dropped={"late": 2, "old": 1}, unjudged={"failure_rate": 1})
    )
    metrics.rebalanced(frozenset({source(), source(1), measured()}))
    for task, held in ((source(), state), (measured(), WindowState(WindowRules(1, "run-events"), START_MS))):
        metrics.task_state(task, TaskState.RUNNING)
        metrics.running(task, held)
        metrics.lag(task, 5, 1.5)
    metrics.paused(source(), Pause.REGISTRY, "away")
    metrics.task_state(source(1), TaskState.RESTORING)
    metrics.restoring(source(1), 99)
    metrics.transacted(2, 0.03)
    metrics.transaction_failed([source()], "ProducerFenced")
    metrics.push.sent(Receiver.ALERTMANAGER, DeliveryResult.DELIVERED, 2)
    metrics.push.waiting(Receiver.WEBHOOK, 3)
    metrics.registry.requested(RequestResult.FOUND)
    return metrics


def test_the_fixture_feeds_every_family(fed):
    silent = {
        family.name
        for family in parse_text(exposed(fed))
        if family.name.startswith("streamproc_") and not any(sample.value for sample in family.samples)
    }
    assert silent == {"streamproc_runs_overdue"}, "of which a test of the gauges shows more"


def test_promtool_has_no_complaints(fed):
    assert run("promtool", "check", "metrics", stdin=exposed(fed).encode()) == (0, "")


def test_promtool_has_no_complaints_about_a_service_that_has_just_started(metrics):
    assert run("promtool", "check", "metrics", stdin=exposed(metrics).encode()) == (0, "")


@pytest.mark.parametrize(
    ("accept", "content_type", "parse"),
    [
        ("", "text/plain", parse_text),
        ("text/html, */*", "text/plain", parse_text),
        (OPENMETRICS, "application/openmetrics-text", parse_openmetrics),
        ("application/openmetrics-text", "application/openmetrics-text", parse_openmetrics),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2",
            "application/openmetrics-text",
            parse_openmetrics,
        ),
        ("application/openmetrics-text; version=x.y", "text/plain", parse_text),
        ("text/plain; version=;;;=,,", "text/plain", parse_text),
    ],
)
def test_the_accept_header_chooses_the_format(fed, accept, content_type, parse):
    body, answered = asyncio.run(fed.exposition(accept))
    assert answered.startswith(content_type)
    assert sum(len(family.samples) for family in parse(body.decode())) > 100


def test_both_formats_hold_the_same_figures(fed):
    def figures(families):
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
            if sample.name.startswith("streamproc_")
        }

    text, openmetrics = parse_text(exposed(fed)), parse_openmetrics(exposed(fed, OPENMETRICS))
    assert figures(text) == figures(openmetrics)


# Exemplars


def exemplars(metrics):
    """Return (outcome, model, bucket) → (labels, value, timestamp), as a parser reads them."""
    return {
        (sample.labels["outcome"], sample.labels["model"], sample.labels["le"]): tuple(sample.exemplar)
        for family in parse_openmetrics(exposed(metrics, OPENMETRICS))
        for sample in family.samples
        if sample.exemplar is not None
    }


def commit(metrics, exemplar, model="m", **given):
    tally = ended([exemplar.duration_ms], model=model)
    tally.exemplars = {("succeeded", model): exemplar}
    metrics.committed(report(tally=tally, **given))


def test_an_exemplar_names_a_run_with_its_duration_and_the_time_of_its_end(metrics):
    commit(metrics, Exemplar("run_abc123", 700_250, START_MS - 1))
    ((place, (labels, duration_s, at_s)),) = exemplars(metrics).items()
    assert place == ("succeeded", "m", "900.0")
    assert (labels, duration_s) == ({"run_id": "run_abc123"}, 700.25)
    assert float(at_s) == (START_MS - 1) / 1000


def test_exemplars_come_from_the_fold_itself(fed):
    ((place, (labels, duration_s, at_s)),) = exemplars(fed).items()
    assert place == ("failed", "gpt-4o", "10.0")
    assert (labels, duration_s, float(at_s)) == ({"run_id": "run_1"}, 10.0, START_MS / 1000 + 10)


@pytest.mark.parametrize("duration_ms", [0, 1, *BOUNDS_MS, *(bound + 1 for bound in BOUNDS_MS)])
def test_an_exemplar_stands_at_the_bucket_that_counts_it(metrics, duration_ms):
    commit(metrics, Exemplar("run_1", duration_ms, START_MS))
    ((place, _),) = exemplars(metrics).items()
    buckets = {
        sample.labels["le"]: sample.value
        for family in parse_openmetrics(exposed(metrics, OPENMETRICS))
        for sample in family.samples
        if sample.name.endswith("run_duration_seconds_bucket")
        and sample.labels["outcome"] == "succeeded"
        and sample.labels["model"] == "m"
    }
    assert next(bound for bound, count in buckets.items() if count) == place[2]


def test_the_text_format_has_none(fed):
    assert "# {" in exposed(fed, OPENMETRICS)
    assert "# {" not in exposed(fed)


def test_each_bucket_shows_its_latest(metrics):
    commit(metrics, Exemplar("old", 1_000, START_MS))
    commit(metrics, Exemplar("new", 1_000, START_MS + 1))
    commit(metrics, Exemplar("long", 700_000, START_MS))
    assert {labels["run_id"] for labels, *_ in exemplars(metrics).values()} == {"new", "long"}


def test_an_exemplar_never_goes_back_in_time(metrics):
    """Another partition may be behind; Prometheus takes none that is older than the one before."""
    commit(metrics, Exemplar("new", 1_000, START_MS))
    commit(metrics, Exemplar("old", 1_000, START_MS - 1), seen_at=START_MS + 1)
    assert {labels["run_id"] for labels, *_ in exemplars(metrics).values()} == {"new"}


@pytest.mark.parametrize("ended_at", [-1, 0, START_MS + MAX_AHEAD_MS + 1, 2**62])
def test_an_impossible_time_is_left_out(metrics, ended_at):
    commit(metrics, Exemplar("run_1", 1_000, ended_at))
    assert exemplars(metrics) == {}
    commit(metrics, Exemplar("run_2", 1_000, START_MS))
    assert len(exemplars(metrics)) == 1


@pytest.mark.parametrize(("length", "shown"), [(122, 1), (123, 0), (256, 0)])
def test_a_run_id_too_long_for_openmetrics_is_left_out(metrics, length, shown):
    """128 characters for the names and values of all labels of an exemplar."""
    commit(metrics, Exemplar("r" * length, 1_000, START_MS))
    assert len(exemplars(metrics)) == shown


@pytest.mark.parametrize("run_id", ["a\nb", 'a"b', "a\\", "\x00", "\x1b[2J", "\u202e", "\u2028", "\ud800", "\r"])
def test_a_run_id_that_would_have_to_be_escaped_is_left_out(metrics, run_id):
    commit(metrics, Exemplar(run_id, 1_000, START_MS))
    assert exemplars(metrics) == {}


@pytest.mark.parametrize("run_id", ["run_1", "日本", "# {} 1", "a,b=c", "}", "# EOF", " "])
def test_any_other_run_id_comes_through(metrics, run_id):
    commit(metrics, Exemplar(run_id, 1_000, START_MS))
    assert [labels["run_id"] for labels, *_ in exemplars(metrics).values()] == [run_id]


def test_models_beyond_the_limit_share_the_exemplars_of_other(metrics):
    for number in range(25):
        commit(metrics, Exemplar(f"run_{number}", 1_000, START_MS + number), model=f"model-{number}")
    found = exemplars(metrics)
    assert len(found) == 21
    assert found["succeeded", "other", "1.0"][0] == {"run_id": "run_24"}


def test_verdicts_are_told_by_their_values(fed):
    assert all(f'verdict="{verdict.value}"' in exposed(fed) for verdict in Verdict)
