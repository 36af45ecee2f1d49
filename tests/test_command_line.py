"""Wrong settings and wrong surroundings: a message that says what to do, exit code 1 or 2, never a traceback."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from errno import EACCES
from pathlib import Path

import pytest

from streamproc.__main__ import INTERRUPTED, TERMINATED
from streamproc.errors import ConfigError
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import NewTopic
from streamproc.settings.loading import load_settings

SECRET = "hunter2-is-a-secret"
NOWHERE = "127.0.0.1:9"
ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
INTERRUPT = """
import os, signal, sys

NUMBER, MODULE = int(sys.argv.pop(1)), sys.argv.pop(1)
# As in a terminal: a shell's background job, which the tests may be, starts with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupts:
    def find_spec(self, name, *_):
        if name == MODULE:
            os.kill(os.getpid(), NUMBER)

sys.meta_path.insert(0, Interrupts())
from streamproc.__main__ import main
main()
"""
"""Runs a command, and interrupts it where it imports a module."""


def streamproc(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STREAMPROC_")}
    environment |= {f"STREAMPROC_{key}": value for key, value in settings.items()} | {"COLUMNS": "300"}
    command = [sys.executable, "-m", "streamproc", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def refused(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    said = result.stdout + result.stderr
    assert result.returncode == code, said
    assert "Traceback" not in said
    assert SECRET not in said
    for word in words:
        assert word in said


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"KAFKA__SESION_TIMEOUT_MS": "1"},
            ["STREAMPROC_KAFKA__SESION_TIMEOUT_MS", "there is no such setting: session_timeout_ms?"],
        ),
        ({"KAFFKA__X": "1"}, ["STREAMPROC_KAFFKA__X.", "unknown"]),
        (
            {"KAFKA_BOOTSTRAP_SERVERS": "kafka-1:9092"},
            ["STREAMPROC_KAFKA_BOOTSTRAP_SERVERS (did you mean STREAMPROC_KAFKA__BOOTSTRAP_SERVERS?)"],
        ),
        ({"APLICATION_ID": "x"}, ["STREAMPROC_APLICATION_ID (did you mean STREAMPROC_APPLICATION_ID?)"]),
        ({"KAFKA__SESSION_TIMEOUT_MS": "soon"}, ["STREAMPROC_KAFKA__SESSION_TIMEOUT_MS", "integer"]),
        ({"HTTP__PORT": "70000"}, ["STREAMPROC_HTTP__PORT"]),
        ({"PROFILE": "nobody"}, ["STREAMPROC_PROFILE", "assistants"]),
        ({"APPLICATION_ID": "a b"}, ["STREAMPROC_APPLICATION_ID"]),
        ({"TOPICS__STATE": "run-events"}, ["two topics have the same name"]),
        ({"KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "KAFKA__SASL_PASSWORD": SECRET}, ["sasl_username"]),
        ({"KAFKA__SASL_PASSWORD": SECRET, "RETENTION__TERMINAL_S": "0"}, ["STREAMPROC_RETENTION__TERMINAL_S"]),
        ({"KAFKA__SASL_PASSWORD": SECRET}, ["PLAINTEXT", "set STREAMPROC_KAFKA__SECURITY_PROTOCOL to SASL_SSL"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_wrong_settings_are_named(settings: dict[str, str], words: list[str]) -> None:
    """Exit code 2."""
    refused(streamproc("run", **settings), 2, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kafka = [", ["cannot be read"]),
        ("[kafka]\nbootstrap = 'x'", ["STREAMPROC_KAFKA__BOOTSTRAP"]),
        (None, ["no such file"]),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str | None, words: list[str]) -> None:
    """Bad TOML, an unknown key, no file: exit code 2."""
    file = tmp_path / "streamproc.toml"
    if text is not None:
        file.write_text(text)
    refused(streamproc("run", "--config", str(file)), 2, *words)


def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    """Contract: settings from both."""
    file = tmp_path / "streamproc.toml"
    file.write_text('application_id = "file"\n[retention]\nterminal_s = 7\n')
    found = json.loads(streamproc("describe", "--config", str(file), APPLICATION_ID="environment").stdout)
    assert found["settings"]["application_id"] == "environment"
    assert found["settings"]["retention"]["terminal_s"] == 7


def test_describe_shows_no_secrets() -> None:
    """Settings, topics, schemas, life cycle, as JSON."""
    login = {"KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "KAFKA__SASL_USERNAME": "worker", "KAFKA__SASL_PASSWORD": SECRET}
    result = streamproc("describe", **login, TOPICS__PREFIX="p-")
    refused(result, 0, "p-run-events", "crc64:", "requires_action")
    assert set(json.loads(result.stdout)) == {"settings", "codec", "topics", "schemas", "life_cycle"}


@pytest.mark.parametrize("value", ["of", "OFF", "0"])
def test_a_native_codec_is_switched_off_by_one_word_only(value: str) -> None:
    """Contract: a misspelt one is refused, rather than overlooked."""
    refused(streamproc("describe", NATIVE=value), 2, "STREAMPROC_NATIVE", "'auto' or 'off'")


def test_describe_tells_which_codec_works_and_why() -> None:
    """Codec: pure where the environment says so."""
    found = json.loads(streamproc("describe", NATIVE="off").stdout)
    assert found["codec"] == {"name": "pure", "reason": "STREAMPROC_NATIVE is off"}
    assert found["settings"]["native"] == "off"


def test_no_broker_is_said_with_what_to_check() -> None:
    """Exit code 1."""
    refused(streamproc("run", KAFKA__BOOTSTRAP_SERVERS=NOWHERE, HTTP__PORT="0"), 1, NOWHERE, "BOOTSTRAP_SERVERS")


@pytest.mark.parametrize("command", ["run", "demo", "kafka", "simulate", "topics", "replay", "describe", "dlq"])
def test_each_command_explains_itself(command: str) -> None:
    """--help, exit code 0."""
    refused(streamproc(command, "--help"), 0, "Usage")


@pytest.mark.parametrize("command", ["list", "show", "replay"])
def test_each_command_about_dead_letters_explains_itself(command: str) -> None:
    """--help, exit code 0; `replay` says what its exit codes mean."""
    refused(streamproc("dlq", command, "--help"), 0, "Usage", *(["130"] if command == "replay" else []))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list", "--since", "yesterday"], ["--since", "90m", "2026-"]),
        (["list", "--schema", "x"], ["--schema", "id:17", "crc64:"]),
        (["list", "--reason", "\x1b[31m"], ["--reason", "unknown_schema"]),
        (["list", "17"], ["0:17"]),
        (["list", "--partition", "-1"], ["--partition"]),
        (["list", "--limit", "-1"], ["--limit"]),
        (["show", "first"], ["0:17"]),
        (["replay", "--max-attempts", "0"], ["--max-attempts"]),
        (["replay", "--until", "12"], ["--until"]),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused(arguments: list[str], words: list[str]) -> None:
    """Exit code 2, with what is accepted, before a broker is asked for."""
    result = streamproc("dlq", *arguments)
    refused(result, 2, *words)
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("arguments", [["list"], ["show", "0:17"], ["replay"], ["replay", "--dry-run"]])
def test_dead_letters_without_a_broker_say_what_to_check(arguments: list[str]) -> None:
    """Exit code 1."""
    refused(streamproc("dlq", *arguments, KAFKA__BOOTSTRAP_SERVERS=NOWHERE), 1, NOWHERE, "BOOTSTRAP_SERVERS")


@pytest.mark.parametrize("arguments", [["list"], ["show", "0:17"], ["replay"], ["replay", "--dry-run"]])
def test_a_missing_dead_letter_topic_is_named(kafka_bootstrap: str, unique: Callable[[str], str], arguments) -> None:
    """Exit code 1, with the remedy."""
    settings = {"KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap, "TOPICS__PREFIX": f"{unique('none')}-"}
    refused(streamproc("dlq", *arguments, **settings), 1, "run-events-dlq does not exist", "streamproc topics create")


def test_an_age_that_is_none_is_wrong_usage() -> None:
    """Before anybody is asked."""
    refused(streamproc("runs", "list", "--older", "soon"), 2, "--older 'soon'", "90m, 2h or 3d")


def test_an_unknown_command_is_wrong_usage() -> None:
    """Exit code 2."""
    refused(streamproc("flyy"), 2)


async def test_missing_and_unequal_topics_are_named(kafka_bootstrap: str, unique: Callable[[str], str]) -> None:
    """Exit code 1, with the fix; `topics create` puts the first right, `topics check` says so."""
    prefix = unique("topics") + "-"
    settings = {"KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap, "TOPICS__PREFIX": prefix, "HTTP__PORT": "0"}
    refused(streamproc("run", **settings), 1, f"{prefix}run-events does not exist", "streamproc topics create")
    too_many = streamproc("topics", "create", "--replication-factor", "99", **settings)
    refused(too_many, 1, "could not be created", "InvalidReplicationFactor", "how many brokers")
    refused(
        streamproc("topics", "create", "--partitions", "3", "--replication-factor", "1", **settings),
        0,
        f"created {prefix}run-state",
    )
    refused(streamproc("topics", "check", **settings), 0, "3 partitions")
    refused(streamproc("topics", "create", **settings), 0, "all topics exist")
    assert json.loads(streamproc("topics", "create", "--json", **settings).stdout) == {"created": []}
    found = json.loads(streamproc("topics", "check", "--json", **settings).stdout)
    assert found == {"partitions": 3, "rights_checked": True}
    again = streamproc("topics", "create", "--partitions", "12", **settings)
    refused(again, 1, "3 partitions", f"{prefix}run-state", "left as they are", "STREAMPROC_APPLICATION_ID")
    kafka = AioKafka(KafkaSettings(bootstrap_servers=kafka_bootstrap), prefix)
    await kafka.create([NewTopic(f"{prefix}wrong", 2, {"cleanup.policy": "compact"})])
    await kafka.close()
    wrong = {**settings, "TOPICS__TRANSITIONS": "wrong"}
    refused(streamproc("run", **wrong), 1, f"{prefix}wrong has 2 partitions, {prefix}run-events has 3")


def test_what_is_simulated_is_refused_under_a_profile_that_cannot_read_it():
    for command in (("simulate", "--events", "5"), ("demo", "--events", "5")):
        refused(streamproc(*command, PROFILE="langgraph"), 1, "STREAMPROC_PROFILE=assistants")


def test_a_schema_is_checked_with_an_exit_code_for_ci(tmp_path):
    bad = tmp_path / "bad.avsc"
    bad.write_text('{"type": "record", "name": "X", "fields": [{"name": "id", "type": "boolean"}]}')
    good = ROOT / "schemas" / "run_object_v2_1.avsc"
    assert streamproc("schema", "check", str(good)).returncode == 0
    words = "id is boolean: it must be string", "status is missing"
    refused(streamproc("schema", "check", str(good), str(bad)), 1, *words)
    absent = tmp_path / "none.avsc"
    lines = streamproc("schema", "check", str(good), str(bad), str(absent), "--json").stdout.splitlines()
    usable, unusable, unchecked = map(json.loads, lines)
    assert (usable["usable"], usable["found"]["status"]) == (True, "status (string)")
    assert (unusable["usable"], len(unusable["faults"])) == (False, 2)
    assert (unchecked["checked"], unchecked["error"]) == (False, f"{absent} is no file")
    refused(streamproc("schema", "check", "nobody-value"), 2, "STREAMPROC_REGISTRY__URL")
    refused(streamproc("schema", "check", "x", "--version", "zwei", REGISTRY__URL="http://127.0.0.1:9"), 2, "--version")
    refused(streamproc("schema", "check", "x", REGISTRY__URL="http://127.0.0.1:9"), 2, "127.0.0.1:9")


NOBODY = {"REGISTRY__URL": "http://127.0.0.1:9"}
LONG = "x" * 300


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        ([LONG], {}, ["is no file"]),
        (["--config", LONG, "x.avsc"], {}, ["--config", "File name too long"]),
        (["x.avsc", "--version", "nonsense"], {}, ["--version nonsense"]),
        (["x", "--version", "0"], NOBODY, ["--version 0", "from 1 on"]),
        (["x", "--reference", "usage.avsc"], NOBODY, ["--reference is for files"]),
        (["x"], {**NOBODY, "REGISTRY__CA_FILE": "/nonexistent"}, ["ca_file (/nonexistent): there is no such file"]),
    ],
)
def test_wrong_usage_of_schema_check_is_told_from_a_wrong_schema(
    arguments: list[str], settings: dict[str, str], words: list[str]
) -> None:
    """Contract: exit code 2 for wrong usage, never a traceback."""
    refused(streamproc("schema", "check", *arguments, **settings), 2, *words)


def test_a_subject_may_be_named_as_a_directory_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run-events-value").mkdir()
    refused(streamproc("schema", "check", "run-events-value", **NOBODY), 2, "127.0.0.1:9")


def test_a_subject_that_is_no_unicode_is_none() -> None:
    """An argument may be any bytes."""
    refused(streamproc("schema", "check", "ab\udcff", **NOBODY), 2, "the registry knows no ab\\udcff")


def test_schema_check_takes_the_files_that_a_schema_refers_to(tmp_path: Path) -> None:
    """docs/sending.md: the same is said before deployment."""
    fields = [{"name": name, "type": "string"} for name in ("id", "status")]
    main = {"type": "record", "name": "x.Run", "fields": [*fields, {"name": "usage", "type": "x.Usage"}]}
    usage = {"type": "record", "name": "x.Usage", "fields": [{"name": "total_tokens", "type": "boolean"}]}
    for name, schema in (("main", main), ("usage", usage)):
        (tmp_path / f"{name}.avsc").write_text(json.dumps(schema))
    command = ["schema", "check", str(tmp_path / "main.avsc"), "--reference", str(tmp_path / "usage.avsc")]
    refused(streamproc(*command), 0, "usage.total_tokens is boolean", "flagged")
    refused(streamproc(*command[:-1], str(tmp_path / "none.avsc")), 2, "none.avsc is no file")


def test_a_config_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2; the one who runs the tests may read everything."""
    file = tmp_path / "streamproc.toml"
    file.write_text('application_id = "file"\n')

    def denied(*_: object) -> None:
        raise PermissionError(EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ConfigError, match=r"streamproc\.toml cannot be read: Permission denied"):
        load_settings(file)


def test_the_version_is_told():
    """The public contract: exit code 0, and nothing but the version."""
    result = streamproc("--version")
    refused(result, 0)
    assert re.fullmatch(r"streamproc \d+\.\d+\.\d+\S*\n", result.stdout)


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["dlq", "replay", "--help"]])
def test_a_flag_is_explained_without_a_type(arguments):
    """--help: what takes no value has none to name; what takes one says which."""
    said = streamproc(*arguments).stdout
    assert "bool" not in said
    assert arguments == ["--help"] or "int" in said


def test_the_top_line_of_the_help_says_all_that_comes_out():
    """--help: whoever reads nothing else knows of metrics and alerts."""
    said = streamproc("--help").stdout
    for word in ("states", "transitions", "metrics", "alerts", "exactly once"):
        assert word in said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
@pytest.mark.parametrize(
    "module", ["streamproc.cli.main", "streamproc_native", "streamproc.cli.shell", "streamproc.demo.broker"]
)
def test_a_signal_while_a_command_is_loaded_ends_it_in_silence(module, number, code):
    """Exit code 130 or 143 and not a word, whatever is being imported; the last one by the command itself.

    By handlers of its own: of what has none, the first process of a container does not die.
    """
    command = [sys.executable, "-c", INTERRUPT, str(int(number)), module, "kafka"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (code, "", "")


def test_the_entry_point_is_light():
    """What is imported before Ctrl-C is caught: nothing of a library's, and nothing more of streamproc."""
    source = "import sys; before = set(sys.modules); import streamproc.__main__; print(*set(sys.modules) - before)"
    result = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert set(result.stdout.split()) - sys.stdlib_module_names == {"streamproc", "streamproc.__main__"}
    assert PROJECT["project"]["scripts"] == {"streamproc": "streamproc.__main__:main"}
