"""How fast, and what it costs: `make bench`, or `make bench ARGS="restore --runs 100000"`.

Figures are of this machine at this moment, with the broker on it; compare them within one run only.
"""

import asyncio
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from streamproc.local.kafka import local_kafka
from tests.bench import (
    backlog,
    console,
    curve,
    killers,
    latency,
    measuring,
    plot,
    recovering,
    restoring,
    stages,
    state,
    stopping,
    throughput,
)
from tests.bench.peers import comparing
from tests.support.service import fleet

cli = typer.Typer(add_completion=False, invoke_without_command=True)
Events = Annotated[int, typer.Option(min=1_000, help="How many events.")]
Setting = Annotated[list[str], typer.Option(help="A setting of the service, e.g. KAFKA__COMPRESSION=zstd.")]
Overdue = Annotated[bool, typer.Option(help="Nearly every run goes overdue, and is told about twice.")]
Open = Annotated[int, typer.Option(min=0, help="So many other runs are open all the while.")]
Runs = Annotated[int, typer.Option(min=1_000, help="How many runs in run-state.")]

EVENTS_BESIDE = 50_000


@cli.callback()
def everything(context: typer.Context) -> None:
    """Run all of them but `peers`, which fetches things."""
    if context.invoked_subcommand is None:
        throughput_(500_000)
        throughput_(200_000, bad_ratio=0.01)
        restore(1_000_000)
        console_()
        recover()
        latency_()
        backlog_()
        stages_(50_000)
        measuring_()
        killers_()


@cli.command("throughput")
def throughput_(
    events: Events = 500_000,
    bad_ratio: float = 0.0,
    overdue: Overdue = False,
    setting: Setting = [],  # noqa: B006
) -> None:
    """Events per second and CPU-seconds per million events, exactly once, with the state topic."""
    settings = dict(each.split("=", 1) for each in setting)
    options = {"bad_ratio": bad_ratio, "overdue": overdue, "settings": settings}
    asyncio.run(_on_kafka(throughput.measure, events, **options))


@cli.command("latency")
def latency_(
    rate: Annotated[list[int], typer.Option(min=0, help="Events per second; 0: at rest.")] = [],  # noqa: B006
    partitions: Annotated[list[int], typer.Option(min=1, help="One for each --rate.")] = [],  # noqa: B006
    seconds: Annotated[float, typer.Option(min=1, help="How long to measure; at rest twice as long.")] = 15.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds of the stream before that.")] = 5.0,
    rounds: int = 1,
    setting: Setting = [],  # noqa: B006
) -> None:
    """Latency from produce to read_committed, CPU, requests and connections, on a steady stream and at rest."""
    loads = [latency.Load(*each) for each in zip(rate, partitions, strict=True)] or latency.MATRIX
    settings = dict(each.split("=", 1) for each in setting)
    rows = [
        asyncio.run(_on_own_kafka(latency.measure, load, warm_up, seconds if load.rate else 2 * seconds, settings))
        for _ in range(rounds)
        for load in loads
    ]
    print(latency.printed(rows))


@cli.command("backlog")
def backlog_(
    events: Events = 400_000,
    partitions: Annotated[list[int], typer.Option(min=1, help="Repeat it: each with each.")] = [4],  # noqa: B006
    assistants: Annotated[list[int], typer.Option(min=1, help="Each on --models-each; repeat it.")] = [10],  # noqa: B006
    models_each: int = 3,
    compression: str = "lz4",
    *,
    workers: Annotated[list[int], typer.Option(min=1, help="Repeat it.")] = [1],  # noqa: B006
    rounds: int = 1,
    setting: Setting = [],  # noqa: B006
) -> None:
    """Events per second and CPU-seconds per million, whole and steady state, from the start of the process."""
    settings = dict(each.split("=", 1) for each in setting)
    rows = [
        asyncio.run(
            _on_own_kafka(backlog.row, backlog.Job(events, over, staff, models_each, compression, many), settings)
        )
        for _ in range(rounds)
        for over, staff, many in product(partitions, assistants, workers)
    ]
    print(backlog.printed(rows))


@cli.command("peers")
def peers_(
    peer: Annotated[list[str], typer.Option(help="Repeat it; all by default, with streamproc.")] = [],  # noqa: B006
    events: Events = 800_000,
    partitions: int = 4,
    compression: str = "lz4",
    rate: Annotated[int, typer.Option(min=0, help="Events per second of the steady stream; 0: none.")] = 1_000,
    *,
    warm_up: float = 20.0,
    seconds: float = 15.0,
    rounds: int = 1,
    assistants: int = 200,
) -> None:
    """The same job on Kafka Streams, Quix Streams, Faust and Bytewax; fetches them (some 300 MB) into the cache."""
    known = [comparing.OURS, *comparing.PEERS]
    if unknown := sorted({*peer} - {*known}):
        message = f"{', '.join(unknown)}: known are {', '.join(known)}"
        raise typer.BadParameter(message)
    options = comparing.Options(events, partitions, compression, rate, warm_up, seconds, assistants)
    print(comparing.compare(peer or known, options, rounds))


@cli.command("bad")
def bad_(events: Events = 200_000, bad_ratio: float = 0.01, rounds: int = 2) -> None:
    """Throughput with bad records, as a share of that without, in turn."""
    rates: dict[float, list[float]] = {0.0: [], bad_ratio: []}
    for _ in range(rounds):
        for ratio, found in rates.items():
            found.append(asyncio.run(_on_kafka(throughput.measure, events, bad_ratio=ratio)))
    shares = [bad / good for good, bad in zip(rates[0.0], rates[bad_ratio], strict=True)]
    print(f"throughput at {bad_ratio:.1%} bad: {', '.join(f'{share:.2f}' for share in shares)} of that at 0 %")


@cli.command()
def restore(runs: Runs = 1_000_000) -> None:
    """Time to restore, and resident memory per run."""
    asyncio.run(_on_kafka(restoring.measure, runs))


@cli.command("state")
def state_(
    runs: Runs = 1_000_000,
    large_runs: Annotated[int, typer.Option(min=0, help="Of 20 kB; 0: none.")] = 60_000,
    beside: Annotated[list[int], typer.Option("--curve", help="Runs, for the cost of an event beside so many.")] = [],  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1, help="Of that, 50,000 events each.")] = 6,
    events: Events = 200_000,
    picture: Annotated[Path | None, typer.Option(help="Where to draw that.")] = None,
    *,
    only_curve: bool = False,
) -> None:
    """Memory by the size of events, starts with and without a snapshot, payloads on disk, cost beside many runs."""
    if not only_curve:
        _state(runs, large_runs, events)
    if beside:
        points = asyncio.run(_on_own_kafka(curve.measure, beside, EVENTS_BESIDE, rounds))
        if picture is not None:
            plot.draw(points, picture, "runs in the state", "CPU-seconds per million events")


def _state(runs: int, large_runs: int, events: int) -> None:
    asyncio.run(_on_kafka(restoring.measure, runs))
    asyncio.run(_on_kafka(state.snapshots, runs))
    if large_runs:
        asyncio.run(_on_kafka(state.large, large_runs))
        asyncio.run(_on_kafka(state.flood, large_runs))
    rates = [
        asyncio.run(_on_kafka(throughput.measure, events, bad_ratio=0.0, settings={"STATE__MEMORY_BYTES": str(limit)}))
        for limit in (1 << 40, events * 20, 1 << 40, events * 20)
    ]
    shares = [disk / memory for memory, disk in zip(rates[::2], rates[1::2], strict=True)]
    print(f"payloads on disk: {', '.join(f'{share:.2f}' for share in shares)} of the throughput in memory")


@cli.command()
def recover(
    rounds: int = 3,
    standstills: int = 1,
    only: Annotated[str, typer.Option(help="Only faults whose name contains this.")] = "",
) -> None:
    """Time until a killed worker commits again, and the longest standstill for each fault on three brokers."""
    for static in (True, False) if rounds else ():
        asyncio.run(_on_kafka(recovering.measure, rounds, static=static))
    asyncio.run(recovering.standstills(standstills, only))


@cli.command("stops")
def stops_(count: Annotated[int, typer.Option(min=1, help="How many.")] = 100, seed: int = 1) -> None:
    """Seconds from SIGTERM to the end of the process, at random moments of its life under load."""
    asyncio.run(_on_kafka(stopping.measure, count, seed=seed))


@cli.command("console")
def console_(
    runs: Runs = 1_000_000,
    rate: Annotated[int, typer.Option(min=1, help="Events per second while pages are asked for.")] = 1_000,
    seconds: float = 30.0,
) -> None:
    """The console: time to build its read model, pages while more comes, how far behind it is."""
    asyncio.run(_on_kafka(console.measure, runs, rate=rate, seconds=seconds))


@cli.command("stages")
def stages_(events: Events = 50_000, overdue: Overdue = False, open_runs: Open = 0) -> None:
    """Where the CPU time goes, stage by stage, without a broker."""
    stages.measure(events, overdue=overdue, open_runs=open_runs)


@cli.command("measuring")
def measuring_(
    events: Events = 100_000,
    assistants: Annotated[list[int], typer.Option(help="How many assistants, of three models each.")] = [10, 200],  # noqa: B006
    partitions: int = 4,
    size_s: Annotated[list[int], typer.Option(help="Window sizes.")] = [60],  # noqa: B006
) -> None:
    """What measurements and windows cost by the number of groups, and the marks of an idle stream."""
    measuring.measure(events, assistants, partitions, size_s)
    measuring.measure_idle()


@cli.command("killers")
def killers_() -> None:
    """Memory and time that hostile payloads take."""
    killers.measure()


async def _on_kafka(measure: Callable[..., Awaitable[Any]], count: int, **options: Any) -> Any:
    with tempfile.TemporaryDirectory(prefix="streamproc-bench-") as logs:
        async with local_kafka() as kafka, fleet(kafka.bootstrap_servers, "bench", Path(logs)) as it:
            return await measure(it, count, **options)


async def _on_own_kafka(measure: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
    with tempfile.TemporaryDirectory(prefix="streamproc-bench-") as logs:
        async with local_kafka() as kafka:
            return await measure(kafka, Path(logs), *arguments)


# Else SIGTERM would leave what was started running.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
cli()
