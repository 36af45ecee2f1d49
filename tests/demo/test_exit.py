"""What the command's exit code says."""

from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from streamproc.cli.main import cli
from streamproc.demo import command
from streamproc.demo.broker import announcement
from streamproc.printing import counted
from streamproc.runtime.config import KafkaSettings, TopicSettings
from streamproc.settings.service import Settings


@pytest.mark.parametrize(("adds_up", "code"), [(True, 0), (False, 1)])
def test_exit_code_tells_whether_it_adds_up(monkeypatch, adds_up, code):
    async def run_demo(*_):
        return SimpleNamespace(adds_up=adds_up)

    monkeypatch.setattr(command, "run_demo", run_demo)
    assert CliRunner().invoke(cli, ["demo"]).exit_code == code


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
    assert CliRunner().invoke(cli, list(arguments)).exit_code == 2


@pytest.mark.parametrize(
    ("kafka", "said"),
    [
        ({}, ["of its own"]),
        ({"bootstrap_servers": "kafka-1:9092"}, ["kafka-1:9092", "BOOTSTRAP_SERVERS", "mine-demo-", "stay"]),
    ],
)
def test_the_demo_announces_whose_broker_it_uses(kafka, said):
    """Rule: nobody creates topics on a broker that others use without having been told."""
    settings = Settings(kafka=KafkaSettings(**kafka), topics=TopicSettings(prefix="mine-"))
    for word in said:
        assert word in announcement(settings)


def test_one_is_singular():
    """Rule: 1 record, 2 records, 0 records."""
    assert [counted(count, "record") for count in (0, 1, 2_000)] == ["0 records", "1 record", "2,000 records"]
