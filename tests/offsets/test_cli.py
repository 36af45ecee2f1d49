"""The command line of `streamproc offsets`: wrong usage is code 2 before anything is asked of Kafka."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from streamproc.cli.offsets import offsets_cli
from streamproc.cli.shell import WrongUsage


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["skip", "nonsense", "--why", "x"], "not a place"),
        (["skip", "run-events:0:5", "--through", "4", "--why", "x"], "lies before"),
        (["skip", "run-events:0:5", "--why", " "], "--why has 1 characters"),
        (["resume", "run-events"], "not a partition"),
        (["reset", "--to", "yesterday"], "give earliest"),
    ],
)
def test_what_cannot_be_read_is_wrong_usage(arguments, words):
    result = CliRunner().invoke(offsets_cli, arguments)
    assert isinstance(result.exception, WrongUsage)
    assert words in str(result.exception)


@pytest.mark.parametrize("arguments", [["skip", "run-events:0:5"], ["skip"], ["reset"], ["reset", "--to"]])
def test_what_is_missing_is_wrong_usage(arguments):
    """Nobody passes over a record without saying why, or goes back without saying where to."""
    result = CliRunner().invoke(offsets_cli, arguments)
    assert result.exit_code == 2
    assert "Missing" in result.output or "requires" in result.output


@pytest.mark.parametrize("command", ["show", "skip", "resume", "reset"])
def test_each_command_is_explained(command):
    result = CliRunner().invoke(offsets_cli, [command, "--help"])
    assert result.exit_code == 0


def test_a_broker_that_is_not_there_is_a_message():
    environment = {**os.environ, "STREAMPROC_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    command = [sys.executable, "-m", "streamproc", "offsets", "show"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert "cannot connect to Kafka" in result.stderr
    assert "Traceback" not in result.stderr
