"""Profiles of one's own: checked when they are loaded, and then as good as the built-in ones."""

import json
from dataclasses import replace

import pytest

from streamproc.codec.decode import decode
from streamproc.core.model import Verdict
from streamproc.core.profiles import PROFILES
from streamproc.errors import ConfigError
from streamproc.settings.describe import describe_all
from streamproc.settings.loading import load_settings
from streamproc.settings.profiles import ProfileSettings, book_of, flaws, made
from tests.support.runobjects import arrivals

JOBS = {
    "initial": "PENDING",
    "queued": ["PENDING"],
    "running": ["RUNNING"],
    "waiting": ["BLOCKED"],
    "documented": {"PENDING": ["RUNNING"], "RUNNING": ["BLOCKED", "DONE", "FAILED"], "BLOCKED": ["RUNNING"]},
    "accepted": {"PENDING": ["DONE", "FAILED"]},
    "outcomes": {"DONE": "succeeded", "FAILED": "failed"},
    "ended_by": {"DONE": "completed_at"},
    "limits_s": {"PENDING": 60},
    "statuses": {"ok": "DONE"},
    "time_unit": "ms",
    "paths": {
        "id": "job.id",
        "status": ["state", "job.state"],
        "created_at": "job.created",
        "completed_at": "job.ended",
        "prompt_tokens": "cost.in",
        "required_tools": "job.needs[].name",
    },
}


def _refused(**changes):
    with pytest.raises(ValueError, match="profile jobs") as caught:
        made("jobs", ProfileSettings(**{**JOBS, **changes}))
    return str(caught.value)


@pytest.mark.parametrize("name", PROFILES)
def test_the_built_in_profiles_pass_the_same_checks(name):
    assert list(flaws(PROFILES[name])) == []


def test_a_profile_is_data_for_both_the_rules_and_the_decoders():
    profile = made("jobs", ProfileSettings(**JOBS))
    book = book_of(profile)
    first = {"job": {"id": "j1", "created": 1_717_200_000_999, "needs": [{"name": "gpu"}]}, "state": "PENDING"}
    last = {"job": {"id": "j1", "state": "ok", "ended": 1_717_200_060_000}, "cost": {"in": 7}}
    events = decode(arrivals(json.dumps(first).encode(), json.dumps(last).encode()), book).events
    assert [(event.run_id, event.status) for event in events] == [("j1", "PENDING"), ("j1", "DONE")]
    assert (events[0].created_at, events[0].required_tools) == (1_717_200_000, ("gpu",))
    assert (events[1].completed_at, events[1].usage) == (1_717_200_060, (7, 0, 7))
    assert profile.judge("PENDING", "DONE").expected is False
    assert profile.judge(None, "PENDING").expected is True


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"documented": {**JOBS["documented"], "LOST": ["RUNNING"]}}, "LOST cannot be reached from PENDING"),
        ({"outcomes": {**JOBS["outcomes"], "EXPIRED": "expired"}}, "EXPIRED cannot be reached"),
        ({"documented": {**JOBS["documented"], "DONE": ["RUNNING"]}}, "DONE is terminal and has exits"),
        ({"accepted": {"DONE": ["RUNNING"]}}, "DONE is terminal and has exits"),
        ({"documented": {**JOBS["documented"], "RUNNING": ["NOWHERE"]}}, "NOWHERE follows another status"),
        ({"initial": "DONE"}, "initial names DONE, which is no open status"),
        ({"initial": None}, "initial is missing"),
        ({"outcomes": {}}, "no status is terminal"),
        ({"outcomes": {"DONE": "great", "FAILED": "failed"}}, "great, which is no class: succeeded, failed"),
        ({"queued": ["WAITING"]}, "queued names WAITING"),
        ({"limits_s": {"DONE": 1}}, "limits_s names DONE"),
        ({"ended_by": {"RUNNING": "completed_at"}}, "ended_by names RUNNING"),
        ({"ended_by": {"DONE": "finished"}}, "ended_by.DONE is finished: it must be one of created_at"),
        ({"ended_by": {"DONE": "failed_at"}}, "there is no path: add paths.failed_at"),
        ({"statuses": {"x": "UNKNOWN"}}, "statuses names UNKNOWN"),
        ({"paths": {"status": "state"}}, "paths.id is missing"),
        ({"paths": {"id": "id"}}, "paths.status is missing"),
        ({"paths": {**JOBS["paths"], "colour": "c"}}, "paths names colour, which is no target"),
        ({"paths": {**JOBS["paths"], "model": "a..b"}}, "paths.model is 'a..b': write names with dots"),
        ({"paths": {**JOBS["paths"], "model": "a[].b"}}, "[] stands once in required_tools"),
        ({"paths": {**JOBS["paths"], "required_tools": "a.b"}}, "[] stands once in required_tools"),
        ({"paths": {**JOBS["paths"], "model": "job"}}, "other paths lead through it"),
        ({"paths": {**JOBS["paths"], "model": "job.created"}}, "serves a target of another kind"),
        ({"queued": ["PENDING"], "waiting": ["PENDING"]}, "PENDING is in more than one of queued, running, waiting"),
        ({"statuses": {"RUNNING": "DONE"}}, "RUNNING is a status itself"),
        ({"statuses": {"": "DONE"}}, "maps an empty text to DONE"),
        ({"paths": {**JOBS["paths"], "model": ["a", "a"]}}, "paths.model names a place twice"),
        ({"schemas": ["run_metrics"]}, "schemas names 'run_metrics': write a file that ends in .avsc, or one of run_o"),
        ({"documented": {"new": ["DONE", "FAILED"]}, "initial": "new"}, "'new' is no name for a status"),
        ({"reopened": {"RUNNING": ["PENDING"]}}, "reopened names RUNNING, which is no terminal status"),
        ({"reopened": {"LOST": ["PENDING"]}}, "reopened names LOST, which is no terminal status"),
        ({"reopened": {"FAILED": ["RETRYING"]}}, "reopened.FAILED names RETRYING, which is no status of this profile"),
        ({"reopened": {"FAILED": ["PENDING", "FAILED"]}}, "reopened.FAILED names itself"),
        ({"documented": {"a:b": ["DONE", "FAILED"]}, "initial": "a:b"}, "'a:b' is no name for a status"),
    ],
)
def test_what_is_wrong_with_a_profile_is_said_when_it_is_loaded(changes, words):
    assert words in _refused(**changes)


def test_ends_may_be_left_for_a_new_attempt():
    """rules.md 13: a status that a run comes to only then is reached all the same."""
    again = {"FAILED": ["RETRYING"]}
    documented = {**JOBS["documented"], "RETRYING": ["RUNNING"]}
    profile = made("jobs", ProfileSettings(**{**JOBS, "documented": documented, "reopened": again}))
    assert profile.judge("FAILED", "RETRYING") == profile.judge(None, "PENDING")
    assert profile.judge("FAILED", "PENDING").verdict is Verdict.STALE
    assert made("mine", ProfileSettings(extends="assistants", reopened={"failed": ["queued"]})).reopened


def test_a_profile_may_extend_a_built_in_one():
    profile = made("mine", ProfileSettings(extends="assistants", paths={"thread_id": "session.id"}))
    assistants = PROFILES["assistants"]
    assert (profile.documented, profile.outcomes) == (assistants.documented, assistants.outcomes)
    assert profile.shape.paths == {**assistants.shape.paths, "thread_id": ("session.id",)}
    assert profile.schemas == assistants.schemas


def test_bundled_schemas_that_no_longer_fit_are_not_inherited():
    """A run whose id stands elsewhere is in none of them; one whose thread does is in all."""
    profile = made("mine", ProfileSettings(extends="assistants", paths={"id": "job.id"}))
    assert profile.schemas == ()
    assert list(book_of(profile)) == []
    with pytest.raises(ConfigError, match=r"profile mine: the schema run_object_v1: .*job\.id is missing"):
        book_of(replace(profile, schemas=("run_object_v1",)))


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "x" * 65])
def test_a_profile_has_a_name_that_can_be_committed_with_every_offset(name):
    with pytest.raises(ValueError, match="its name is committed with every offset"):
        made(name, ProfileSettings(**JOBS))


def test_names_that_only_json_has_may_be_read():
    profile = made("jobs", ProfileSettings(**{**JOBS, "ended_by": {}, "paths": {"id": "run-id", "status": "@state"}}))
    [event] = decode(arrivals(b'{"run-id": "j1", "@state": "PENDING"}'), book_of(profile)).events
    assert (event.run_id, event.status) == ("j1", "PENDING")


@pytest.mark.parametrize(("name", "extends"), [("assistants", None), ("mine", "nobody")])
def test_a_built_in_name_is_taken_and_only_built_in_profiles_are_extended(name, extends):
    with pytest.raises(ValueError, match=r"built in|extends nobody"):
        made(name, ProfileSettings(extends=extends))


# From the settings


def _toml(tmp_path, text):
    path = tmp_path / "streamproc.toml"
    path.write_text(text)
    return path


TOML = """
profile = "mine"

[profiles.mine]
extends = "assistants"
schemas = ["{schema}"]

[profiles.mine.paths]
thread_id = "session"
"""


def test_a_profile_from_the_toml_file_is_in_force_with_its_schema_files(tmp_path):
    schema = tmp_path / "mine.avsc"
    fields = [{"name": name, "type": "string"} for name in ("id", "status", "session")]
    schema.write_text(json.dumps({"type": "record", "name": "Mine", "fields": fields}))
    settings = load_settings(_toml(tmp_path, TOML.format(schema=schema)))
    assert settings.life_cycle.name == settings.rules().profile.name == "mine"
    [written] = book_of(settings.life_cycle)
    assert written.plan.fields["thread_id"][0].path == ("session",)


def test_a_schema_file_may_hold_a_union_and_names_of_any_letters(tmp_path):
    """A path leads to the field by the writer's name; `describe` shows the schema without a doc by its own."""
    schema = tmp_path / "mine.avsc"
    fields = [{"name": name, "type": "string"} for name in ("id", "status", "größe")]
    schema.write_text(json.dumps(["null", {"type": "record", "name": "Läufe", "fields": fields}]))
    settings = load_settings(_toml(tmp_path, TOML.format(schema=schema).replace('"session"', '"größe"')))
    book = book_of(settings.life_cycle)
    [written] = book
    [event] = decode(arrivals(written.header + b"\x02\x02r\x0cqueued\x04xl"), book).events
    assert (event.run_id, event.thread_id) == ("r", "xl")
    assert describe_all(settings)["schemas"]["input"] == {written.label: "[null, Läufe]"}


@pytest.mark.parametrize("content", [None, "{", '{"type": "record"}', '{"type": "string"}', "[" * 100_000])
def test_a_schema_file_that_cannot_be_used_is_named(tmp_path, content):
    schema = tmp_path / "mine.avsc"
    if content is not None:
        schema.write_text(content)
    settings = load_settings(_toml(tmp_path, TOML.format(schema=schema)))
    with pytest.raises(ConfigError, match=r"profile mine: the schema .*mine\.avsc"):
        book_of(settings.life_cycle)


def test_a_flaw_in_a_profile_is_a_wrong_setting(tmp_path):
    text = TOML.format(schema="x.avsc").replace('thread_id = "session"', 'id = "a b"')
    with pytest.raises(ConfigError, match=r"PROFILES.*profile mine: paths\.id is 'a b'"):
        load_settings(_toml(tmp_path, text))


def test_json_input_can_be_switched_off(monkeypatch):
    assert load_settings().input.takes_json
    monkeypatch.setenv("STREAMPROC_INPUT__JSON", "false")
    assert not load_settings().input.takes_json
