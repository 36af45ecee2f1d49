"""Settings from the environment and the TOML file: what counts, and what is said where one is wrong."""

import json
from pathlib import Path

import pytest

from streamproc.core.costs import MILLION, CostRules
from streamproc.errors import ConfigError
from streamproc.settings.describe import describe_all
from streamproc.settings.loading import load_settings
from streamproc.settings.profiles import book_of

FIELDS = [{"name": name, "type": "string"} for name in ("id", "status")]
JOBS = """
profile = "jobs"
[profiles.jobs]
initial = "PENDING"
queued = ["PENDING"]
documented = { PENDING = ["DONE"] }
outcomes = { DONE = "succeeded" }
schemas = ["job.avsc"]
[profiles.jobs.paths]
id = "id"
status = "status"
"""


def _toml(directory: Path, text: str) -> Path:
    path = directory / "streamproc.toml"
    path.write_text(text)
    return path


def test_a_schema_file_is_looked_for_beside_the_file_that_names_it(tmp_path: Path) -> None:
    """Wherever the service is started; with a byte order mark, as editors on Windows write it."""
    text = json.dumps({"type": "record", "name": "Job", "fields": FIELDS})
    (tmp_path / "job.avsc").write_text(text, encoding="utf-8-sig")
    [schema] = book_of(load_settings(_toml(tmp_path, JOBS)).life_cycle)
    assert schema.document["name"] == "Job"


def test_a_schema_file_that_is_not_there_is_named_in_full(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}/job.avsc is no file"):
        book_of(load_settings(_toml(tmp_path, JOBS)).life_cycle)


def test_a_limit_from_the_environment_finds_its_status_in_any_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of environment variables come without case."""
    monkeypatch.setenv("STREAMPROC_DEADLINES__LIMITS_S__PENDING", "30")
    assert load_settings(_toml(tmp_path, JOBS)).rules().deadlines.limits == {"PENDING": 30_000}


def test_json_input_has_one_name_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `describe` prints is what may be set; the environment goes over the file."""
    path = _toml(tmp_path, "[input]\njson = false")
    assert describe_all(load_settings(path))["settings"]["input"]["json"] is False
    monkeypatch.setenv("STREAMPROC_INPUT__JSON", "true")
    assert load_settings(path).input.takes_json


ANY = "[alerts]\ncost_budget = 10\n[alerts.cost_prices.'*']\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[alerts]\ncost_budget = 10", r"cost_budget needs prices: set alerts.cost_prices .* under `\*`"),
        ("[alerts]\ncost_budget = 0", "alerts.cost_budget .*greater than 0"),
        ("[alerts]\ncost_budget = 1e-7", "alerts.cost_budget .*no more than 6 decimal places"),
        ("[alerts]\ncost_window_s = 5", "alerts.cost_window_s must be one of windows.sizes_s: 60"),
        (ANY + "prompt = -0.01\ncompletion = 1", r"alerts.cost_prices.\*.prompt .*greater than or equal to 0"),
        (ANY + "prompt = nan\ncompletion = 1", r"alerts.cost_prices.\*.prompt .*a finite number"),
        (ANY + "prompt = 1", r"alerts.cost_prices.\*.completion .*required"),
        (ANY + "prompt = 1\ncompletion = 1\noutput = 1", r"alerts.cost_prices.\*.output .*there is no such setting"),
    ],
)
def test_what_is_wrong_with_prices_and_budgets_is_said(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_settings(_toml(tmp_path, text))


def test_prices_are_whole_numbers_of_millionths(tmp_path: Path) -> None:
    """rules.md 29: what a file says as a decimal fraction is exactly that. Without a budget nothing is asked for."""
    prices = "prompt = 0.15\ncompletion = 0.000001"
    (_, costs) = load_settings(_toml(tmp_path, f"{ANY}{prices}")).window_rules().conditions
    assert costs == CostRules(budget=10 * MILLION, prices={"*": {"prompt": 150_000, "completion": 1}})
    (failures,) = load_settings(_toml(tmp_path, f"[alerts.cost_prices.'*']\n{prices}")).window_rules().conditions
    assert failures.kind == "failure_rate"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kafka = [", "streamproc.toml cannot be read, it is no TOML"),
        ("[kafka]\nbootstrap_server = 'x'", "kafka.bootstrap_server .*there is no such setting: bootstrap_servers?"),
        ("[kafak]", "kafak .*there is no such setting: kafka?"),
        (JOBS.replace('queued = ["PENDING"]', 'queued = "PENDING"'), "profiles.jobs.queued .*should be a list"),
        (JOBS.replace('initial = "PENDING"', ""), "profile jobs: initial is missing: name the statuses [^;]*$"),
        ("[topics]\nprefix = 'bad prefix/'", "topics.prefix .*a topic's name is made of letters"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_settings(_toml(tmp_path, text))


def test_a_file_cannot_choose_the_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is chosen before one is read; the file may repeat what the environment says."""
    path = _toml(tmp_path, "native = 'off'")
    monkeypatch.delenv("STREAMPROC_NATIVE", raising=False)
    with pytest.raises(ConfigError, match="only STREAMPROC_NATIVE can say so"):
        load_settings(path)
    monkeypatch.setenv("STREAMPROC_NATIVE", "off")
    assert load_settings(path).native == "off"


def test_a_variable_that_should_be_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMPROC_DEAD_LETTERS__MAX_PER_MINUTE_OF", "undecodable=60")
    with pytest.raises(ConfigError, match=r"STREAMPROC_DEAD_LETTERS.*is to be JSON"):
        load_settings()


def test_reports_of_the_instance_may_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nobody needs their topic; its name is a setting like the others."""
    monkeypatch.setenv("STREAMPROC_TOPICS__INSTANCES", "mine")
    assert load_settings().topic_names.by_role()["instances"] == "mine"
    assert describe_all(load_settings())["topics"]["instances"]["config"]["cleanup.policy"] == "compact,delete"
    monkeypatch.setenv("STREAMPROC_INSTANCES__ENABLED", "false")
    assert "instances" not in load_settings().topic_names.by_role()
    assert "instances" not in describe_all(load_settings())["topics"]


@pytest.mark.parametrize("interval", ["0.5", "61"])
def test_reports_come_at_a_sane_pace(monkeypatch: pytest.MonkeyPatch, interval: str) -> None:
    """Every second at most, every minute at least."""
    monkeypatch.setenv("STREAMPROC_INSTANCES__INTERVAL_S", interval)
    with pytest.raises(ConfigError, match="STREAMPROC_INSTANCES__INTERVAL_S"):
        load_settings()
