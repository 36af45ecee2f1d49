"""Wrong settings and wrong surroundings: a message that says what to do, exit code 1 or 2, never a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import NewTopic

SECRET = "hunter2-is-a-secret"
NOWHERE = "127.0.0.1:9"


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
        ({"KAFKA__SESION_TIMEOUT_MS": "1"}, ["STREAMPROC_KAFKA__SESION_TIMEOUT_MS", "unknown setting"]),
        ({"KAFFKA__X": "1"}, ["STREAMPROC_KAFFKA__X", "unknown"]),
        ({"KAFKA__SESSION_TIMEOUT_MS": "soon"}, ["STREAMPROC_KAFKA__SESSION_TIMEOUT_MS", "integer"]),
        ({"HTTP__PORT": "70000"}, ["STREAMPROC_HTTP__PORT"]),
        ({"PROFILE": "nobody"}, ["STREAMPROC_PROFILE", "assistants"]),
        ({"APPLICATION_ID": "a b"}, ["STREAMPROC_APPLICATION_ID"]),
        ({"TOPICS__STATE": "run-events"}, ["two topics have the same name"]),
        ({"KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "KAFKA__SASL_PASSWORD": SECRET}, ["sasl_username"]),
        ({"KAFKA__SASL_PASSWORD": SECRET, "RETENTION__TERMINAL_S": "0"}, ["STREAMPROC_RETENTION__TERMINAL_S"]),
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
    result = streamproc("describe", KAFKA__SASL_PASSWORD=SECRET, TOPICS__PREFIX="p-")
    refused(result, 0, "p-run-events", "crc64:", "requires_action")
    assert set(json.loads(result.stdout)) == {"settings", "topics", "schemas", "life_cycle"}


def test_no_broker_is_said_with_what_to_check() -> None:
    """Exit code 1."""
    refused(streamproc("run", KAFKA__BOOTSTRAP_SERVERS=NOWHERE, HTTP__PORT="0"), 1, NOWHERE, "BOOTSTRAP_SERVERS")


@pytest.mark.parametrize("command", ["run", "demo", "kafka", "simulate", "topics", "replay", "describe"])
def test_each_command_explains_itself(command: str) -> None:
    """--help, exit code 0."""
    refused(streamproc(command, "--help"), 0, "Usage")


def test_an_unknown_command_is_wrong_usage() -> None:
    """Exit code 2."""
    refused(streamproc("flyy"), 2)


async def test_missing_and_unequal_topics_are_named(kafka_bootstrap: str, unique: Callable[[str], str]) -> None:
    """Exit code 1, with the fix; `topics create` puts the first right, `topics check` says so."""
    prefix = unique("topics") + "-"
    settings = {"KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap, "TOPICS__PREFIX": prefix, "HTTP__PORT": "0"}
    refused(streamproc("run", **settings), 1, f"{prefix}run-events does not exist", "streamproc topics create")
    refused(streamproc("topics", "create", "--partitions", "3", **settings), 0, f"created {prefix}run-state")
    refused(streamproc("topics", "check", **settings), 0, "3 partitions")
    kafka = AioKafka(KafkaSettings(bootstrap_servers=kafka_bootstrap), prefix)
    await kafka.create([NewTopic(f"{prefix}wrong", 2, {"cleanup.policy": "compact"})])
    await kafka.close()
    wrong = {**settings, "TOPICS__TRANSITIONS": "wrong"}
    refused(streamproc("run", **wrong), 1, f"{prefix}wrong has 2 partitions, {prefix}run-events has 3")
