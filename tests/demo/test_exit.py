"""What the command's exit code says."""

import pytest
from typer.testing import CliRunner

from streamproc import cli
from streamproc.demo import command


@pytest.mark.parametrize(("adds_up", "code"), [(True, 0), (False, 1)])
def test_exit_code_tells_whether_it_adds_up(monkeypatch, adds_up, code):
    async def run_demo(*_):
        return adds_up

    monkeypatch.setattr(command, "run_demo", run_demo)
    assert CliRunner().invoke(cli.cli, ["demo"]).exit_code == code


@pytest.mark.parametrize(
    "arguments",
    [
        ("demo", "--rate", "0"),
        ("demo", "--seconds", "0"),
        ("simulate", "--schema-version", "v9"),
        ("kafka", "--port", "0"),
    ],
)
def test_wrong_usage_is_2(arguments):
    assert CliRunner().invoke(cli.cli, list(arguments)).exit_code == 2
