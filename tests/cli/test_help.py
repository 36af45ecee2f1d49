"""`--help`: light, of every command; and every command that has a result has it as JSON, too."""

import subprocess
import sys
from collections.abc import Iterator

import typer

from streamproc.cli.main import cli
from streamproc.dlq.limits import MAX_ATTEMPTS
from tests.support.clirun import environment

HEAVY = {
    "aiohttp",
    "aiokafka",
    "fastavro",
    "prometheus_client",
    "pyarrow",
    "pydantic",
    "starlette",
    "structlog",
    "uvloop",
}
NO_JSON = {
    "run": "its log is JSON",
    "console": "it serves",
    "describe": "it is JSON as it is",
}
EACH_HELP = """
import io, sys
from contextlib import redirect_stdout
from streamproc.cli.main import cli
from streamproc.cli.shell import set_up
set_up()
for command in sys.argv[1:]:
    with redirect_stdout(io.StringIO()) as said:
        try:
            cli([*command.split(), "--help"], prog_name="streamproc")
        except SystemExit as ended:
            assert ended.code == 0
    assert "Usage: streamproc" in said.getvalue()
print(*{module.partition(".")[0] for module in sys.modules})
"""


def commands() -> Iterator[tuple[str, typer.models.CommandFunctionType]]:
    """Yield each command and group by its words."""

    def below(words, command):
        yield " ".join(words), command
        for name, each in getattr(command, "commands", {}).items():
            yield from below((*words, name), each)

    return below((), typer.main.get_command(cli))


def test_help_loads_nothing_that_only_the_commands_need():
    """Of each command and group: whoever asks for help has to wait for typer and rich, and for nothing else."""
    names = [name for name, _ in commands()]
    assert {"", "dlq", "dlq replay", "console token", "run"} <= {*names}
    script = [sys.executable, "-c", EACH_HELP, *names]
    result = subprocess.run(script, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert HEAVY & {*result.stdout.split()} == set()


def test_every_command_with_a_result_has_it_as_json():
    """`--json`, by the same name everywhere."""
    lacking = set()
    for name, command in commands():
        is_command = not hasattr(command, "commands") or command.invoke_without_command
        if is_command and not any("--json" in option.opts for option in command.params):
            lacking.add(name)
    assert lacking == NO_JSON.keys()


def test_help_tells_the_default_that_is_in_force():
    """It is written there: to have it from where it is needed would load the service."""
    replay = dict(commands())["dlq replay"]
    [option] = [option for option in replay.params if "--max-attempts" in option.opts]
    assert f"; {MAX_ATTEMPTS} times by default" in option.help
