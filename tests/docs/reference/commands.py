"""docs/reference/commands.md: every command with its arguments and options."""

import re
from collections.abc import Iterator
from typing import Any

import typer

from streamproc.cli.main import cli
from streamproc.exitcodes import MEANINGS, ExitCode
from tests.docs.reference.markdown import code, codes, page, table

INTRODUCTION = """\
`streamproc COMMAND --help` prints the same. What each command may do in Kafka: [Rights](../rights.md). Completion in a
shell, colours: [Operating](../operating.md#in-a-shell). With `--json` stdout has nothing but JSON; what goes wrong is
said on stderr, and by the exit code."""

KINDS = {
    "str": "text",
    "list[str]": "texts",
    "int": "integer",
    "int range": "integer",
    "list[int]": "integers",
    "float range": "number",
    "path": "file",
    "list[Path]": "files",
    "dir": "directory",
}


def text() -> str:
    """Return the page."""
    return page("Commands", "the command line's own help", INTRODUCTION, _exit_codes(), *map(_command, commands()))


def _exit_codes() -> str:
    rows = [(code(int(each)), MEANINGS[each]) for each in ExitCode]
    return "## Exit codes\n\n" + table(("code", "means"), rows)


def commands() -> Iterator[typer.Context]:
    """Yield each command that does something, by its context."""
    root: Any = typer.main.get_command(cli)
    yield from _below(typer.Context(root, info_name="streamproc"))


def _below(at: typer.Context) -> Iterator[typer.Context]:
    group: Any = at.command
    for name in sorted(group.commands):
        context = typer.Context(group.commands[name], info_name=name, parent=at)
        if not hasattr(context.command, "commands") or context.command.invoke_without_command:
            yield context
        if hasattr(context.command, "commands"):
            yield from _below(context)


def _command(context: typer.Context) -> str:
    usage = " ".join(context.get_usage().split()).removeprefix("Usage: ")
    rows = [_row(*record) for record in _parameters(context)]
    about = " ".join((context.command.help or "").split())
    assert about, f"{context.command_path} says nothing of itself"
    return f"## {context.command_path}\n\n{about}\n\n{code(usage)}\n\n" + (
        table(("argument or option", "value", ""), rows) if rows else ""
    )


def _parameters(context: typer.Context) -> Iterator[tuple[str, str]]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and parameter.name != "help":
            yield record


def _row(name: str, about: str) -> tuple[str, str, str]:
    """Return a line; `name` as in `--limit <int range>`, or `what <one|other>`."""
    found = re.fullmatch(r"(.+?) <(.+)>", name)
    shown, kind = (found[1], _value(found[2])) if found else (name, "")
    return code(shown.replace("|", " or ")), kind, about


def _value(kind: str) -> str:
    return codes(kind.split("|")) if "|" in kind else KINDS[kind]
