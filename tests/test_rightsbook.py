"""The one list of rights: it has every command, says nothing twice, and docs/rights.md is made of it."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from streamproc.cli.main import cli
from streamproc.rightsbook import COMMANDS, names, rights_of
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.rights import Operation, Resource, Right, granting, lacked
from tests.support.rightspage import page

ROOT = Path(__file__).parents[1]
ON = names("streamproc", TopicSettings())
WITHOUT = {
    "console serve": "it is `console`",
    "console token": "it asks nobody",
    "demo": "it has topics of its own",
    "describe": "it asks nobody",
    "kafka": "it is the broker",
    "replay": "it reads files",
    "rights": "it asks nobody",
    "schema check": "it asks a registry at most",
    "tail": "it has a right for each topic",
}
WRITE_STATE = Right(Operation.WRITE, Resource.TOPIC, "run-state")


def commands() -> set[str]:
    """Return the names of all commands."""
    found: set[str] = set()
    for name, command in typer.main.get_command(cli).commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        found |= {name} if not below else {f"{name} {each}" for each in below}
    return found


def test_every_command_has_its_rights() -> None:
    """Or does not ask the cluster."""
    listed = {command.partition(":")[0].partition(" --")[0] for command in COMMANDS}
    listed = {"tail" if each.startswith("tail ") else each for each in listed} - {"console", "tail"}
    assert commands() - WITHOUT.keys() == listed


@pytest.mark.parametrize("command", COMMANDS)
def test_no_right_is_one_that_another_includes(command: str) -> None:
    """They are the least: Read and Write include Describe."""
    rights = rights_of(command, ON)
    assert len(set(rights)) == len(rights)
    for right in rights:
        if right.operation is Operation.DESCRIBE and "topics" not in command:
            others = {right._replace(operation=each) for each in (Operation.READ, Operation.WRITE)}
            assert not others & set(rights)


def test_rights_go_by_the_settings() -> None:
    """Names with their prefix; none on a topic that is switched off."""
    topics = TopicSettings(prefix="ours-", verdicts=None, instances=None).named()
    on = names("app", topics)
    found = rights_of("run", on)
    assert Right(Operation.READ, Resource.GROUP, "app") in found
    assert Right(Operation.WRITE, Resource.TRANSACTIONAL_ID, "app:", prefixed=True) in found
    assert {right.name for right in found if right.resource is Resource.TOPIC} == {
        name for role, name in topics.by_role().items() if role != "instances"
    }
    assert rights_of("run: reports on instances", on) == rights_of("tail verdicts", on) == []


def test_commands_grant_what_is_alike_together() -> None:
    """And quote what a shell would take for something else."""
    rights = [WRITE_STATE, WRITE_STATE._replace(operation=Operation.READ), WRITE_STATE._replace(name="other")]
    add = "kafka-acls.sh --bootstrap-server $B --add --allow-principal 'User:CN=a b'"
    assert granting(rights, "User:CN=a b") == [
        f"{add} --operation Read --operation Write --topic run-state",
        f"{add} --operation Write --topic other",
    ]


def test_what_lacks_is_told_with_the_remedy() -> None:
    """One in a line, several in a list."""
    assert lacked([WRITE_STATE]) == (
        "the user lacks the right Write on topic run-state. To grant it: kafka-acls.sh --bootstrap-server $B --add "
        '--allow-principal "$PRINCIPAL" --operation Write --topic run-state'
    )
    several = lacked([WRITE_STATE, WRITE_STATE._replace(name="other")])
    assert several.startswith("the user lacks these rights in Kafka:\n  - Write on topic run-state\n  - Write on topic")
    assert several.endswith("--topic run-state --topic other")


def test_the_page_is_made_of_the_list() -> None:
    """`python -m tests.support.rightspage > docs/rights.md` makes it anew."""
    assert (ROOT / "docs/rights.md").read_text() == page()


def test_the_command_prints_them() -> None:
    """For people, for a shell and as data."""
    result = CliRunner().invoke(cli, ["rights", "run", "dlq replay", "--principal", "User:us"])
    assert result.exit_code == 0
    assert "# run\n" in result.output
    assert "# dlq replay\n" in result.output
    assert "--allow-principal User:us --operation" in result.output
    found = json.loads(CliRunner().invoke(cli, ["rights", "send", "--json"]).output)
    assert found == {"send": [{"operation": "Write", "resource": "topic", "name": "run-events", "pattern": "literal"}]}
    assert CliRunner().invoke(cli, ["rights", "nonsense"]).exit_code != 0
