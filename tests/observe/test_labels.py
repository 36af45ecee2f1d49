"""Labels are closed or limited: nobody can make too many series, or one that breaks the exposition."""

import random
from collections import Counter

import pytest
from pydantic import ValidationError

from streamproc.core.model import Moment
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.tally import Tally
from streamproc.observe.config import MetricsSettings
from streamproc.runtime.config import CommitSettings, TopicSettings
from streamproc.runtime.fold import FoldSettings, FoldStage
from streamproc.runtime.position import Position
from streamproc.runtime.taskstates import TaskState
from tests.observe.reading import PARSERS, exposed, label_values, value
from tests.observe.reports import ended, report, source, tokens, window_report
from tests.support.books import bundled_book
from tests.support.events import RULES
from tests.support.runobjects import START_MS, Arrived, framed, run_object
from tests.support.watched import watched_metrics

MAX_SAMPLES = 2_400
"""With the default limits of 20 models and 20 assistants, 22 label values each, `unknown` and `other` among them; and
of 100 pairs, of which these tests fill 21."""


@pytest.fixture
def metrics():
    return watched_metrics(ASSISTANTS)


def test_words_outside_the_closed_sets_are_other(metrics):
    tally = ended([1_000], "won")
    tally.transitions["x", "y"] += 1
    tally.anomalies["odd"] += 1
    alerts = Counter({("sneaky", "glowing"): 1})
    metrics.committed(report(tally=tally, rejected=Counter({"sneaky": 1}), alerts=alerts))
    metrics.push.sent("pigeon", "eaten", 1)
    metrics.push.waiting("pigeon", 1)
    assert value(metrics, "run_transitions_total", **{"from": "other", "to": "other"}) == 1
    assert value(metrics, "run_anomalies_total", kind="other") == 1
    assert value(metrics, "run_duration_seconds_count", outcome="other", model="m") == 1
    assert value(metrics, "events_rejected_total", reason="other") == 1
    assert value(metrics, "alerts_total", kind="other", state="other") == 1
    assert value(metrics, "push_sent_total", receiver="other", result="other") == 1
    assert value(metrics, "push_waiting", receiver="other") == 1


@pytest.mark.parametrize("name", [None, "", "unknown"])
def test_a_run_without_a_model_or_an_assistant_is_unknown(metrics, name):
    metrics.committed(report(tally=tokens(name)))
    metrics.committed(report(tally=ended([1], assistant=name)))
    assert value(metrics, "run_tokens_total", type="prompt", model="unknown", assistant="a") == 1
    assert value(metrics, "runs_ended_total", outcome="succeeded", assistant="unknown") == 1


@pytest.mark.parametrize(
    "model",
    ["gpt-4o", "ft:gpt-3.5-turbo-0125:org:name:8h3j", "meta-llama/Llama-3-70b", "anthropic.claude-3-v1:0", "My Model"],
)
def test_a_model_as_they_are_called_has_a_series(metrics, model):
    metrics.committed(report(tally=tokens(model)))
    assert value(metrics, "run_tokens_total", type="prompt", model=model, assistant="a") == 1


def test_models_beyond_the_limit_are_other():
    metrics = watched_metrics(ASSISTANTS, MetricsSettings(max_models=2))
    for model in ("a", "b", "c", "d", "a"):
        metrics.committed(report(tally=ended([1_000], "failed", model)))
    counts = {m: value(metrics, "run_duration_seconds_count", outcome="failed", model=m) for m in ("a", "b", "other")}
    assert counts == {"a": 2, "b": 1, "other": 2}
    assert label_values(metrics, "run_duration_seconds_count", "model") == {"a", "b", "other", "unknown"}


def test_assistants_beyond_the_limit_are_other():
    metrics = watched_metrics(ASSISTANTS, MetricsSettings(max_assistants=2))
    for assistant in ("a", "b", "c", "d", "a"):
        metrics.committed(report(tally=ended([1_000], "failed", assistant=assistant)))
    counts = {a: value(metrics, "runs_ended_total", outcome="failed", assistant=a) for a in ("a", "b", "other")}
    assert counts == {"a": 2, "b": 1, "other": 2}
    assert label_values(metrics, "runs_ended_total", "assistant") == {"a", "b", "other", "unknown"}


def test_with_an_allow_list_every_other_name_is_other_whatever_the_limit():
    settings = MetricsSettings(models=("gpt-4o", 'odd "name"'), assistants=("asst_1",), max_models=40)
    metrics = watched_metrics(ASSISTANTS, settings)
    for model in ("gpt-4o", 'odd "name"', "gpt-3.5"):
        metrics.committed(report(tally=ended([1_000], "failed", model, "asst_2")))
    found = label_values(metrics, "run_duration_seconds_count", "model")
    assert found == {"gpt-4o", 'odd "name"', "other", "unknown"}
    assert value(metrics, "run_duration_seconds_count", outcome="failed", model='odd "name"') == 1
    assert label_values(metrics, "runs_ended_total", "assistant") == {"asst_1", "other", "unknown"}


def test_a_limit_of_0_is_one_series_for_all():
    metrics = watched_metrics(ASSISTANTS, MetricsSettings(max_models=0))
    metrics.committed(report(tally=tokens("gpt-4o")))
    assert label_values(metrics, "run_tokens_total", "model") == {"unknown", "other"}


def test_tokens_are_told_apart_by_assistant_too_in_so_many_pairs():
    """Rule: a model keeps its sum, whoever spent it; of pairs beyond the limit the assistant is `other`."""
    metrics = watched_metrics(ASSISTANTS, MetricsSettings(max_pairs=2))
    for model, assistant in (("m", "a"), ("n", "a"), ("m", "b"), ("o", None), ("m", "a"), ("n", "b")):
        metrics.committed(report(tally=tokens(model, assistant=assistant)))
    pairs = {("m", "a"): 2, ("n", "a"): 1, ("m", "other"): 1, ("n", "other"): 1, ("o", "other"): 1}
    assert pairs == {
        (model, assistant): value(metrics, "run_tokens_total", type="prompt", model=model, assistant=assistant)
        for model, assistant in pairs
    }
    assert {"unknown", "b"}.isdisjoint(label_values(metrics, "run_tokens_total", "assistant"))


def test_the_number_of_token_series_has_a_bound(metrics):
    """Two types of the default 100 pairs, and of 22 models with `other`; not of 22 models times 22 assistants."""
    names = [f"name-{number}" for number in range(50)]
    for assistant in names:
        metrics.committed(report(tally=tokens(*names, assistant=assistant)))
    accept, parse = PARSERS[0]
    samples = [sample for family in parse(exposed(metrics, accept)) for sample in family.samples]
    found = [sample for sample in samples if sample.name == "streamproc_run_tokens_total"]
    assert len(found) == 2 * (100 + 22)
    assert sum(sample.value for sample in found) == 50 * 50


@pytest.mark.parametrize(
    "wrong",
    [{"models": ("",)}, {"models": ["m"] * 51}, {"max_models": -1}, {"max_assistants": 51}, {"max_pairs": 1_001}],
    ids=str,
)
def test_a_setting_that_would_hold_the_loop_up_or_say_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        MetricsSettings(**wrong)


def test_a_model_exists_with_every_outcome_once_it_was_seen(metrics):
    """So that its first failure is an increase from 0, which an alert can see."""
    metrics.committed(report(tally=ended([1_000])))
    assert value(metrics, "run_duration_seconds_count", outcome="failed", model="m") == 0
    assert value(metrics, "run_tokens_total", type="completion", model="m", assistant="other") == 0
    assert value(metrics, "runs_ended_total", outcome="failed", assistant="a") == 0


@pytest.mark.parametrize("hostile", ['a"b', "a\nb", "ü", "x" * 101, "other", "\ud800"])
def test_hostile_names_do_not_take_the_room_of_real_ones(hostile):
    metrics = watched_metrics(ASSISTANTS, MetricsSettings(max_models=1))
    metrics.committed(report(tally=tokens(hostile)))
    metrics.committed(report(tally=tokens("gpt-4o")))
    assert label_values(metrics, "run_tokens_total", "model") == {"gpt-4o", "unknown", "other"}


# Ten thousand of them

FIXED = ["# EOF", '"} 1\nstreamproc_runs{status="queued"} 99', "x" * 1_000, " ", "\t", "a\n", "unknown", "other"]
PARTS = ['"', "\\", "\n", "\r", "\x00", "\x1b[2J", "{", "}", " # EOF", ",le=", "\u202e", "ü", "a", "=", "\u2028", "🦀"]


def hostile_names(count):
    """Return names: long, with control characters, quotes, all of Unicode; every tenth looks like a real one."""
    rng = random.Random(7)
    for number in range(count):
        if number < len(FIXED):
            yield FIXED[number]
        elif number % 10 == 0:
            yield f"gpt-{number}"
        else:
            yield ("".join(rng.choices(PARTS, k=rng.randint(1, 12))) * rng.choice((1, 1, 1, 30)))[:1_000] + str(number)


def folded(names):
    """Return the reports of a fold stage that gets a run of each name, from its beginning to its end."""
    stage = FoldStage(FoldSettings("app", TopicSettings(), RULES, bundled_book(), CommitSettings(), lambda *_: 0), 1)
    kept, position = stage.fresh(0, 0), Position(0, 0, 0, 0, 1, "assistants")
    at = Moment(START_MS + 60_000, caught_up=True)
    for start in range(0, len(names), 1_000):
        batch = kept.begin(position, None)
        records = list(_lives(names[start : start + 1_000], position.offset))
        batch.absorb(records, stage.decode({0: records})[0], at)
        pending = batch.close(at)
        pending.apply()
        position = pending.position
        yield kept.state, pending.report(0.01, 0.02)


def _lives(names, offset):
    for number, name in enumerate(names):
        usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
        for place, status in enumerate(("queued", "failed")):
            fields = {"id": f"run_{offset + 2 * number}", "model": name, "assistant_id": name, "usage": usage}
            value = framed("v2_1", run_object(status=status, **fields))
            yield Arrived(offset + 2 * number + place, value, START_MS + 2 * number + place)


@pytest.mark.parametrize(("accept", "parse"), PARSERS)
def test_ten_thousand_hostile_names_neither_multiply_series_nor_break_the_exposition(metrics, accept, parse):
    names = list(hostile_names(10_000))
    metrics.task_state(source(), TaskState.RUNNING)
    for state, commit in folded(names):
        metrics.running(source(), state)
        metrics.committed(commit)
    found = [sample for family in parse(exposed(metrics, accept)) for sample in family.samples]
    assert len(found) < MAX_SAMPLES
    for label in ("model", "assistant"):
        assert len({sample.labels[label] for sample in found if label in sample.labels}) == 22
    ended_runs = [sample.value for sample in found if sample.name == "streamproc_runs_ended_total"]
    assert sum(ended_runs) == len(names), "every run is counted, under whatever name"


def test_ten_thousand_hostile_words_where_the_code_chooses_them_make_no_series_either(metrics):
    """What should never come does no harm."""
    words = list(hostile_names(10_000))
    odd = Tally(transitions=Counter((word, word) for word in words), anomalies=Counter(words))
    alerts = Counter((word, word) for word in words)
    metrics.committed(report(tally=odd, rejected=Counter(words), alerts=alerts))
    metrics.committed(window_report(rejected=Counter(words), alerts=alerts))
    for word in words:
        metrics.transaction_failed([source()], word)
        metrics.push.sent(word, word, 1)
        metrics.registry.requested(word)
    for accept, parse in PARSERS:
        assert sum(len(family.samples) for family in parse(exposed(metrics, accept))) < MAX_SAMPLES
