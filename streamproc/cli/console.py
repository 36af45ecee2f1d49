"""`streamproc console`: parses, calls, reports."""

from typing import Annotated

import typer

from streamproc.cli.shell import AsJson, Config, err, out, run_async, settings_of, wrong_usage
from streamproc.printing import print_json, print_line

console_cli = typer.Typer(invoke_without_command=True)


@console_cli.callback()
def console(context: typer.Context, config: Config = None) -> None:
    """Serve pages and an API about the runs: where each one is and why, what waits, what failed.

    Without a command it serves the console. It reads the output topics into a file of its own, which it can always
    rebuild. It writes nothing to Kafka unless STREAMPROC_CONSOLE__ACTIONS lets operators send dead letters back. It
    needs Kafka and these topics, not the service.
    """
    if context.invoked_subcommand is not None:
        return
    from streamproc.console.command import run_console
    from streamproc.console.tokenfile import WrongAccess
    from streamproc.observe.logs import configure

    settings = settings_of(config)
    configure(settings.log.level, settings.log.format)
    with wrong_usage(WrongAccess):
        run_async(run_console(settings, lambda url: print_line(out, f"the console is at {url}")))


@console_cli.command()
def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the token's owner, as the log shows it.")],
    operator: Annotated[bool, typer.Option("--operator", help="May send dead letters back.")] = False,
    payloads: Annotated[bool, typer.Option("--payloads", help="May see what events hold.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a token, and the line to add to the file that STREAMPROC_CONSOLE__TOKENS_FILE names."""
    from streamproc.console.tokenfile import OPERATOR, PAYLOADS, VIEWER, WrongAccess, new_token

    rights = [VIEWER, *([OPERATOR] if operator else []), *([PAYLOADS] if payloads else [])]
    with wrong_usage(WrongAccess):
        secret, line = new_token(name, rights)
    if as_json:
        print_json(out, {"token": secret, "line": line})
        return
    print_line(err, "the token, which is shown only now, and the line for the file of tokens:")
    print_line(out, secret)
    print_line(out, line)
