"""The command line. Parses, calls, reports; decides nothing else."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from streamproc.cli.console import console_cli
from streamproc.cli.dlq import dlq_cli
from streamproc.cli.local import demo, kafka, simulate
from streamproc.cli.offsets import offsets_cli
from streamproc.cli.records import runs_cli, send, tail
from streamproc.cli.rights import rights
from streamproc.cli.schema import schema_cli
from streamproc.cli.shell import (
    NO_COLOR,
    AsJson,
    Config,
    WrongUsage,
    err,
    interruptible,
    out,
    run_async,
    set_up,
    settings_of,
)
from streamproc.cli.topics import topics_cli
from streamproc.errors import ConfigError, StreamprocError
from streamproc.escaping import escaped_lines
from streamproc.exitcodes import ExitCode
from streamproc.printing import ReaderGone, counted, figures, print_json, print_line

cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"color": False if NO_COLOR else None},
    help="Turns the status events of runs into latest states, transitions, metrics and alerts, exactly once, on Apache "
    "Kafka.",
)
for name, group in {
    "topics": topics_cli,
    "dlq": dlq_cli,
    "offsets": offsets_cli,
    "schema": schema_cli,
    "runs": runs_cli,
    "console": console_cli,
}.items():
    cli.add_typer(group, name=name)


def main() -> None:
    """Entry point; every failure on purpose is a message and an exit code, never a traceback."""
    try:
        if not __debug__:
            message = (
                "streamproc cannot run under `python -O` (PYTHONOPTIMIZE): it removes checks that streamproc and "
                "aiokafka need. Run it without that option"
            )
            raise ConfigError(message)
        set_up()
        cli(prog_name="streamproc")
    except ReaderGone:
        sys.exit(ExitCode.READER_GONE)
    except StreamprocError as error:
        err.print(f"[bold red]streamproc:[/] {escape(escaped_lines(str(error)))}", highlight=False, soft_wrap=True)
        sys.exit(_code_of(error))


def _code_of(error: StreamprocError) -> ExitCode:
    from streamproc.interrupts import Interrupted

    if isinstance(error, Interrupted):
        return ExitCode.INTERRUPTED
    return ExitCode.WRONG_USAGE if isinstance(error, WrongUsage) else ExitCode.FAILED


def _show_version(wanted: bool) -> None:
    if wanted:
        from streamproc.version import installed

        print_line(out, f"streamproc {installed()}")
        raise typer.Exit


@cli.callback()
def _of_all_commands(
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """What goes before any command."""


@cli.command()
def run(config: Config = None) -> None:
    """Run the service until SIGTERM or Ctrl-C."""
    from streamproc.app import serve_until_signal
    from streamproc.observe.logs import configure as configure_logs

    settings = settings_of(config)
    configure_logs(settings.log.level, settings.log.format)
    run_async(serve_until_signal(settings))


@cli.command()
def describe(config: Config = None) -> None:
    """Print the effective settings without secrets, the topics, the schemas and the life-cycle table, as JSON."""
    from streamproc.settings.describe import describe_all

    print_json(out, describe_all(settings_of(config)), indent=2)


@cli.command()
def replay(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Avro object container files of RunObjects, in their order."),
    ],
    results: Annotated[Path, typer.Option("--out", help="The directory for the results.")] = Path("replay-out"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the results of an earlier replay.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Fold files of RunObjects as the service folds a topic, without Kafka; the results are files, too.

    Event time is the latest of each RunObject's own times, and never goes back.
    """
    import time

    from streamproc.replay import FileReplayTerms
    from streamproc.replay import replay as replay_files

    settings = settings_of(config)
    terms = FileReplayTerms(settings.application_id, settings.rules(), now_ms=time.time_ns() // 1_000_000)
    interruptible()
    summary = replay_files(files, results, terms, force=force)
    if as_json:
        print_json(out, summary.document(results))
        return
    out.print(figures(summary.rows()))
    for name, count in summary.written.items():
        print_line(out, f"{results / name}: {counted(count, 'record')}")


for command in (demo, kafka, simulate, tail, send, rights):
    cli.command()(command)
