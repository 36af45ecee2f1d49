"""`streamproc demo`, `kafka` and `simulate`, what it is tried out with: parses, calls, reports."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from streamproc.cli.shell import AsJson, Config, err, out, run_async, settings_of
from streamproc.exitcodes import ExitCode
from streamproc.printing import print_json, print_line

if TYPE_CHECKING:
    from streamproc.local.kafka import LocalKafka

Seed = Annotated[int | None, typer.Option(help="The same seed gives the same runs; a new one by default.")]
Version = Literal["v1", "v1_5", "v2", "v2_1", "mixed"]


def demo(
    rate: Annotated[float, typer.Option(min=0.1, help="Events per second.")] = 200,
    events: Annotated[int | None, typer.Option(min=1, help="Stop after this many events.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after this many seconds; else Ctrl-C.")] = None,
    seed: Seed = None,
    no_tty: Annotated[bool, typer.Option("--no-tty", help="Plain lines, as where stdout is no terminal.")] = False,
    prometheus: Annotated[
        bool,
        typer.Option("--prometheus", help="Also run the Prometheus that is installed here, with the shipped rules."),
    ] = False,
    console: Annotated[bool, typer.Option("--console/--no-console", help="Also run the console, beside it.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="The figures at the end as one JSON object; all else goes to stderr.")
    ] = False,
    config: Config = None,
) -> None:
    """Run everything on this machine: Kafka, the service, its console and simulated events.

    At the end every event must be accounted for. If STREAMPROC_KAFKA__BOOTSTRAP_SERVERS is set, that broker is used:
    topics demo-… are created on it and stay there.
    """
    from streamproc.demo.command import run_demo
    from streamproc.demo.session import DemoPlan
    from streamproc.demo.source import new_load

    plan = DemoPlan(new_load(seed, events, rate, opening=True), seconds, no_tty, prometheus, console, config)
    summary = run_async(run_demo(settings_of(config), plan, err if as_json else out, err))
    if as_json:
        print_json(out, summary.document())
    if not summary.adds_up:
        raise typer.Exit(ExitCode.FAILED)


def kafka(
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_535,
            help="Port of the first broker; further brokers use the next ports. Default: any free port.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Directory that keeps the topics; without it they are deleted at the end."),
    ] = None,
    brokers: Annotated[
        int,
        typer.Option(
            min=1, max=9, help="Number of brokers. With 3 or more each topic has 3 replicas, at least 2 in sync."
        ),
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="The addresses as one JSON object.")] = False,
) -> None:
    """Run an Apache Kafka on this machine until interrupted; nothing has to be installed for it."""
    from streamproc.demo.broker import keep_broker
    from streamproc.local.kafka import LocalKafka
    from streamproc.observe.logs import configure as configure_logs

    cluster = LocalKafka(brokers=brokers, port=port, data_dir=data_dir)
    configure_logs("WARNING", "console")
    run_async(keep_broker(cluster, lambda text: print_line(err, text), lambda: _print_brokers(cluster, as_json)))


def _print_brokers(cluster: "LocalKafka", as_json: bool) -> None:
    address, nodes = cluster.bootstrap_servers, cluster.nodes
    if as_json:
        brokers = [{"number": node.number, "address": node.address, "pid": node.pid} for node in nodes]
        print_json(out, {"bootstrap_servers": address, "brokers": brokers})
        return
    for node in nodes if len(nodes) > 1 else ():
        print_line(out, f"broker {node.number}: {node.address}, process {node.pid}")
    print_line(out, f"bootstrap servers: {address}")
    print_line(out, f"export STREAMPROC_KAFKA__BOOTSTRAP_SERVERS={address}")


def simulate(
    events: Annotated[int | None, typer.Option(min=1, help="How many to send; else until Ctrl-C.")] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0, help="Events per second; 0: as fast as possible. Default: 0 with --events, else 200."),
    ] = None,
    seed: Seed = None,
    schema_version: Annotated[Version, typer.Option(help="Version of the RunObject.")] = "mixed",
    bad_ratio: Annotated[float, typer.Option(min=0, max=0.4, help="Share of records that cannot be used.")] = 0.002,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Send realistic run status events to the input topic, at this moment's time."""
    from streamproc.demo.source import new_load, send_until_signal
    from streamproc.observe.logs import configure as configure_logs

    settings, load = settings_of(config), new_load(seed, events, rate, schema_version, bad_ratio)
    configure_logs("WARNING", "console")

    def on_start() -> None:
        if events is None:
            print_line(err, "sending until Ctrl-C")

    sent = run_async(send_until_signal(settings, load, on_start))
    if as_json:
        print_json(out, sent.document())
        return
    for line in sent.lines():
        print_line(out, line)
