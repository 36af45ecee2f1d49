"""The command line. Parses, calls, reports; decides nothing else."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from streamproc import app as service
from streamproc.cli.console import console_cli
from streamproc.cli.dlq import dlq_cli
from streamproc.cli.offsets import offsets_cli
from streamproc.cli.records import runs_cli, send, tail
from streamproc.cli.rights import rights
from streamproc.cli.schema import schema_cli
from streamproc.cli.shell import (
    FAILURE,
    USAGE,
    Config,
    WrongUsage,
    err,
    never_unprintable,
    out,
    run_async,
    settings_of,
    untyped_flags,
)
from streamproc.errors import ConfigError, StreamprocError
from streamproc.escaping import escaped_lines
from streamproc.observe.logs import configure as configure_logs
from streamproc.printing import counted
from streamproc.settings.describe import describe_all
from streamproc.version import installed

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run status events in; latest states, transitions, metrics and alerts out, exactly once, on Apache Kafka.",
)
topics_cli = typer.Typer(no_args_is_help=True, help="Create or check the topics.")
cli.add_typer(topics_cli, name="topics")
cli.add_typer(dlq_cli, name="dlq")
cli.add_typer(offsets_cli, name="offsets")
cli.add_typer(schema_cli, name="schema")
cli.add_typer(runs_cli, name="runs")
cli.add_typer(console_cli, name="console")
cli.command()(tail)
cli.command()(send)
cli.command()(rights)

Seed = Annotated[int | None, typer.Option(help="The same seed gives the same runs; a new one by default.")]
Version = Literal["v1", "v1_5", "v2", "v2_1", "mixed"]


def main() -> None:
    """Entry point; every failure on purpose is a message and an exit code, never a traceback."""
    try:
        if not __debug__:
            message = "python -O takes out checks that streamproc and aiokafka rely on: run without it"
            raise ConfigError(message)
        never_unprintable()
        untyped_flags()
        cli()
    except StreamprocError as error:
        err.print(f"[bold red]streamproc:[/] {escape(escaped_lines(str(error)))}", highlight=False, soft_wrap=True)
        sys.exit(USAGE if isinstance(error, WrongUsage) else FAILURE)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"streamproc {installed()}", highlight=False)
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
    settings = settings_of(config)
    configure_logs(settings.log.level, settings.log.format)
    run_async(service.serve_until_signal(settings))


@topics_cli.command()
def create(
    partitions: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Of a new input topic; 4 by default, and never changed later.")
    ] = None,
    replication_factor: Annotated[
        int | None,
        typer.Option(
            min=1, max=100, help="Copies of each new topic; the broker's default by default. 3 in production."
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Create the topics that are missing, each with the partitions, clean-up policy and retention it needs."""
    configure_logs("ERROR", "console")
    names = run_async(service.create(settings_of(config), partitions, replication_factor))
    for name in names:
        out.print(f"created {name}", highlight=False)
    if not names:
        out.print("all topics exist: `streamproc topics check` tells whether they are as they must be", highlight=False)


@topics_cli.command()
def check(
    rights: Annotated[
        bool, typer.Option("--rights/--no-rights", help="Also whether this user may do all that the service does.")
    ] = True,
    config: Config = None,
) -> None:
    """Check that the topics exist and fit together, and that this user has the rights that the service needs."""
    configure_logs("ERROR", "console")
    count = run_async(service.check(settings_of(config), rights=rights))
    out.print(f"the topics are as they must be, with {counted(count, 'partition')}", highlight=False)


@cli.command()
def describe(config: Config = None) -> None:
    """Print the effective settings without secrets, the topics, the schemas and the life-cycle table, as JSON."""
    out.print_json(json.dumps(describe_all(settings_of(config))))


@cli.command()
def demo(
    rate: Annotated[float, typer.Option(min=0.1, help="Events per second.")] = 200,
    events: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after so long; else Ctrl-C.")] = None,
    seed: Seed = None,
    no_tty: Annotated[bool, typer.Option("--no-tty", help="Plain lines, as where stdout is no terminal.")] = False,
    prometheus: Annotated[
        bool,
        typer.Option("--prometheus", help="Also run the Prometheus that is installed here, with the shipped rules."),
    ] = False,
    console: Annotated[bool, typer.Option("--console/--no-console", help="Also run the console, beside it.")] = True,
    config: Config = None,
) -> None:
    """Show everything on this machine: a Kafka, the service, its console, simulated events, figures that must add up.

    Uses the broker that STREAMPROC_KAFKA__BOOTSTRAP_SERVERS names, where it is set: it creates topics demo-… there.
    """
    from streamproc.demo.command import run_demo
    from streamproc.demo.session import DemoPlan
    from streamproc.demo.source import new_load

    plan = DemoPlan(new_load(seed, events, rate, opening=True), seconds, no_tty, prometheus, console, config)
    if not run_async(run_demo(settings_of(config), plan, out, err)):
        raise typer.Exit(FAILURE)


@cli.command()
def kafka(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="Any free one by default; more brokers have the ports behind it."),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(file_okay=False, help="Keeps the topics; else they go.")] = None,
    brokers: Annotated[
        int, typer.Option(min=1, max=9, help="From 3 on: each partition on three, two of them in sync.")
    ] = 1,
) -> None:
    """Run an Apache Kafka on this machine until interrupted; nothing has to be installed for it."""
    from streamproc.demo.broker import keep_broker
    from streamproc.local.kafka import LocalKafka

    cluster = LocalKafka(brokers=brokers, port=port, data_dir=data_dir)

    def on_up() -> None:
        address = cluster.bootstrap_servers
        for node in cluster.nodes if brokers > 1 else ():
            out.print(f"broker {node.number}: {node.address}, process {node.pid}", highlight=False)
        out.print(f"bootstrap servers: {address}", highlight=False, soft_wrap=True)
        out.print(f"export STREAMPROC_KAFKA__BOOTSTRAP_SERVERS={address}", highlight=False, soft_wrap=True)

    configure_logs("WARNING", "console")
    run_async(keep_broker(cluster, lambda text: err.print(text, highlight=False), on_up))


@cli.command()
def simulate(
    events: Annotated[int | None, typer.Option(min=1, help="How many; else until Ctrl-C.")] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0, help="Events per second; 0: as fast as possible. Default: 0 with --events, else 200."),
    ] = None,
    seed: Seed = None,
    schema_version: Annotated[Version, typer.Option(help="Of the RunObject.")] = "mixed",
    bad_ratio: Annotated[float, typer.Option(min=0, max=0.4, help="Share of records that cannot be used.")] = 0.002,
    config: Config = None,
) -> None:
    """Send realistic run status events to the input topic, at this moment's time."""
    from streamproc.demo.source import new_load, send_until_signal

    configure_logs("WARNING", "console")
    load = new_load(seed, events, rate, schema_version, bad_ratio)
    if events is None:
        err.print("sending until Ctrl-C")
    for line in run_async(send_until_signal(settings_of(config), load)):
        out.print(line, highlight=False)


@cli.command()
def replay(
    files: Annotated[list[Path], typer.Argument(help="Avro object container files of RunObjects, in their order.")],
    results: Annotated[Path, typer.Option("--out", help="The directory for the results.")] = Path("replay-out"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the results of an earlier replay.")] = False,
    config: Config = None,
) -> None:
    """Fold files of RunObjects as the service folds a topic, without Kafka; the results are files, too.

    Event time is the latest of each RunObject's own times, and never goes back.
    """
    import time

    from rich.table import Table

    from streamproc.replay import FileReplayTerms
    from streamproc.replay import replay as replay_files

    settings = settings_of(config)
    terms = FileReplayTerms(settings.application_id, settings.rules(), now_ms=time.time_ns() // 1_000_000)
    summary = replay_files(files, results, terms, force=force)
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    for label, count in summary.rows():
        table.add_row(label, f"{count:,}")
    out.print(table)
    for name, count in summary.written.items():
        out.print(f"{results / name}: {counted(count, 'record')}", highlight=False, soft_wrap=True)
