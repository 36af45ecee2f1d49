"""The public `streamproc.testing`: the pipeline in memory does what the service does."""

from datetime import timedelta
from pathlib import Path

import pytest

from streamproc.events import AvroEncoder
from streamproc.local.simulate import simulate
from streamproc.testing import START, ConfigError, Pipeline
from tests.support.oracle import replay
from tests.support.runobjects import Arrived, run_object

STUCK = {"deadlines": {"limits_s": {"queued": 60}, "allowance_s": 0}}


def _run(status: str, **fields: object) -> dict[str, object]:
    return {"id": "run_1", "status": status, "assistant_id": "triage", "model": "large", **fields}


def test_a_run_goes_its_way() -> None:
    """Transitions in order with how long the run was where it was; the latest state by id."""
    pipeline = Pipeline()
    pipeline.send(_run("queued"))
    pipeline.advance(2)
    pipeline.send(_run("in_progress"))
    pipeline.advance(3)
    pipeline.send(_run("completed"))
    assert [(each.from_status, each.to_status, each.in_from_ms) for each in pipeline.transitions] == [
        (None, "queued", None),
        ("queued", "in_progress", 2_000),
        ("in_progress", "completed", 3_000),
    ]
    assert pipeline.transitions[-1].outcome == "succeeded"
    assert pipeline.states["run_1"].status == "completed"


def test_what_changes_nothing_has_a_verdict_and_what_cannot_be_used_a_reason() -> None:
    pipeline = Pipeline()
    for event in (_run("completed"), _run("queued"), b"garbage", {"status": "queued"}):
        pipeline.send(event)
    assert [(each.verdict, each.reason) for each in pipeline.verdicts] == [("stale", "ended")]
    assert [each.reason for each in pipeline.dead_letters] == ["bad_framing", "bad_run_id"]
    assert len(pipeline.transitions) == 1


def test_a_deadline_fires_as_time_passes_and_resolves() -> None:
    """Nothing fires before its time."""
    pipeline = Pipeline(STUCK)
    pipeline.send(_run("queued"))
    pipeline.advance(59)
    assert pipeline.firing == []
    pipeline.advance(2)
    assert [(alert.kind, alert.run_id) for alert in pipeline.firing] == [("stuck_queued", "run_1")]
    pipeline.send(_run("in_progress"))
    assert pipeline.firing == []
    assert [alert.state for alert in pipeline.alerts] == ["firing", "resolved"]


def test_windows_close_and_failure_rates_fire() -> None:
    """A window's counts, and the alert that its failures make."""
    pipeline = Pipeline({"alerts": {"failure_rate_min_ended": 2}})
    for number in range(4):
        status = "failed" if number % 2 else "completed"
        pipeline.send({**_run(status), "id": f"run_{number}", "last_error": {"code": "rate_limit_exceeded"}})
    pipeline.advance(600)
    (window,) = pipeline.windows
    assert (window.window_end - window.window_start, window.created) == (60_000, 4)
    assert window.ended == {"succeeded": 2, "failed": 2}
    assert {alert.kind for alert in pipeline.alerts} >= {"failure_rate"}


def test_a_budget_is_told_of_and_resolves() -> None:
    """rules.md 29: tokens of runs that ended, by prices in any spelling of a number; through to run-alerts."""
    prices = {"large": {"prompt": 2.5, "completion": "10"}, "*": {"prompt": 0, "completion": 0}}
    pipeline = Pipeline({"alerts": {"cost_budget": 12.49, "cost_prices": prices}})
    tokens = {"prompt_tokens": 1_000_000, "completion_tokens": 500_000, "total_tokens": 1_500_000}
    for number, model in enumerate(("large", "large", "small")):
        pipeline.send({**_run("completed", usage=tokens, model=model), "id": f"run_{number}"})
    pipeline.advance(91)
    assert [(alert.kind, alert.severity, alert.state, alert.run_id) for alert in pipeline.alerts] == [
        ("cost_over_budget", "warning", "firing", None)
    ]
    (alert,) = pipeline.firing
    assert (alert.assistant_id, alert.model, alert.since) == ("triage", "large", int(START.timestamp() * 1000))
    assert alert.summary == (
        "assistant triage spent 15.00 on large in the 60 s from 2024-06-01T00:00:00Z (the budget is 12.49)"
    )
    pipeline.advance(60)
    assert pipeline.firing == []
    assert [alert.state for alert in pipeline.alerts] == ["firing", "resolved"]


def test_runs_are_forgotten() -> None:
    """As retention says."""
    pipeline = Pipeline({"retention": {"terminal_s": 60}})
    pipeline.send(_run("completed"))
    pipeline.advance(3_600)
    assert pipeline.states == {}


def test_a_configuration_is_taken_from_its_file_and_not_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given comes before the file."""
    monkeypatch.setenv("STREAMPROC_PROFILE", "responses")
    file = tmp_path / "streamproc.toml"
    file.write_text(
        '[deadlines]\nlimits_s = {queued = 5}\nallowance_s = 100\n[input]\nstatuses = {done = "completed"}\n'
    )
    pipeline = Pipeline({"deadlines": {"limits_s": {"queued": 5}, "allowance_s": 0}}, config=file)
    pipeline.send(_run("queued"))
    pipeline.advance(6)
    assert [alert.kind for alert in pipeline.firing] == ["stuck_queued"]
    pipeline.send(_run("done"))
    assert pipeline.states["run_1"].status == "completed"


@pytest.mark.parametrize("settings", [{"deadlines": {"limits_s": {"nowhere": 5}}}, {"nothing": 1}])
def test_a_setting_that_is_wrong_is_told(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"nowhere|no such setting"):
        Pipeline(settings)


def test_events_may_be_late_and_in_avro() -> None:
    """`at`: the record's timestamp."""
    pipeline = Pipeline()
    pipeline.send(AvroEncoder()(run_object(id="run_9")), at=START - timedelta(seconds=10))
    assert pipeline.transitions[0].occurred_at == int(START.timestamp() * 1000) - 10_000


@pytest.mark.parametrize("seed", range(3))
def test_it_says_what_a_plain_replay_says(seed: int) -> None:
    """The same transitions, verdicts and dead letters as the oracle, on a mixed stream."""
    print(f"seed {seed}")
    events = list(simulate(seed=seed, events=400, bad_ratio=0.03, illegal_ratio=0.02, late_ratio=0.02))
    pipeline = Pipeline(start=START + timedelta(days=0.5))
    for event in events:
        if event.value:
            pipeline.send(event.value, at=START + timedelta(milliseconds=event.timestamp_ms - 1_717_200_000_000))
    records = [
        Arrived(number, event.value, event.timestamp_ms) for number, event in enumerate(filter(_has_value, events))
    ]
    expected = replay(records, int(pipeline.now.timestamp() * 1000))
    found = [(each.run_id, each.from_status, each.to_status, each.source_offset) for each in pipeline.transitions]
    assert found == expected.transitions
    assert [each.source_offset for each in pipeline.verdicts] == [verdict[-1] for verdict in expected.verdicts]
    assert len(pipeline.dead_letters) == len(expected.dead_letters)


def _has_value(event: object) -> bool:
    return bool(getattr(event, "value", None))


def test_an_alert_that_ends_by_itself_fires_no_longer_than_that() -> None:
    """Of an occurrence nothing resolves."""
    pipeline = Pipeline()
    pipeline.send(_run("completed"))
    pipeline.send(_run("failed"))
    assert [alert.kind for alert in pipeline.firing] == ["illegal"]
    pipeline.advance(300)
    assert pipeline.firing == []


@pytest.mark.parametrize("variable", ["STREAMPROC_NATIVE", "STREAMPROC_SECRETS_DIR", "STREAMPROC_PROFILE"])
def test_the_environment_changes_nothing(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "off")
    pipeline = Pipeline()
    pipeline.send(_run("queued"))
    assert pipeline.states["run_1"].status == "queued"


def test_a_run_is_the_same_in_either_framing() -> None:
    """Also where its producer gives no total of the tokens."""
    run = _run("completed", usage={"prompt_tokens": 1, "completion_tokens": 2})
    states = []
    for value in (run, AvroEncoder()(run)):
        pipeline = Pipeline()
        pipeline.send(value)
        states.append(pipeline.states["run_1"])
    assert states[0] == states[1]
    assert states[0].usage is not None
    assert states[0].usage["total_tokens"] == 3
