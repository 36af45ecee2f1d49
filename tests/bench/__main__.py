"""How fast, and what it costs: `make bench`, or `make bench ARGS="restore --runs 100000"`.

Figures are of this machine at this moment, with the broker on it; compare them within one run only.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from streamproc.local.kafka import local_kafka
from tests.bench import killers, recovering, restoring, stages, throughput
from tests.support.service import fleet

cli = typer.Typer(add_completion=False, invoke_without_command=True)
Events = Annotated[int, typer.Option(min=1_000, help="How many events.")]
Setting = Annotated[list[str], typer.Option(help="A setting of the service, e.g. KAFKA__COMPRESSION=zstd.")]
Runs = Annotated[int, typer.Option(min=1_000, help="How many runs in run-state.")]


@cli.callback()
def everything(context: typer.Context) -> None:
    """Run all of them."""
    if context.invoked_subcommand is None:
        throughput_(500_000)
        throughput_(200_000, bad_ratio=0.01)
        restore(1_000_000)
        recover()
        stages_(50_000)
        killers_()


@cli.command("throughput")
def throughput_(events: Events = 500_000, bad_ratio: float = 0.0, setting: Setting = []) -> None:  # noqa: B006
    """Events per second and CPU-seconds per million events, exactly once, with the state topic."""
    settings = dict(each.split("=", 1) for each in setting)
    asyncio.run(_on_kafka(throughput.measure, events, bad_ratio=bad_ratio, settings=settings))


@cli.command("bad")
def bad_(events: Events = 200_000, bad_ratio: float = 0.01, rounds: int = 2) -> None:
    """Throughput with bad records, as a share of that without, in turn."""
    rates: dict[float, list[float]] = {0.0: [], bad_ratio: []}
    for _ in range(rounds):
        for ratio, found in rates.items():
            found.append(asyncio.run(_on_kafka(throughput.measure, events, bad_ratio=ratio, settings={})))
    shares = [bad / good for good, bad in zip(rates[0.0], rates[bad_ratio], strict=True)]
    print(f"throughput at {bad_ratio:.1%} bad: {', '.join(f'{share:.2f}' for share in shares)} of that at 0 %")


@cli.command()
def restore(runs: Runs = 1_000_000) -> None:
    """Time to restore, and resident memory per run."""
    asyncio.run(_on_kafka(restoring.measure, runs))


@cli.command()
def recover(rounds: int = 3, standstills: int = 1) -> None:
    """Time until a killed worker commits again, and the longest standstill for each fault on three brokers."""
    for static in (True, False) if rounds else ():
        asyncio.run(_on_kafka(recovering.measure, rounds, static=static))
    asyncio.run(recovering.standstills(standstills))


@cli.command("stages")
def stages_(events: Events = 50_000) -> None:
    """Where the CPU time goes, stage by stage, without a broker."""
    stages.measure(events)


@cli.command("killers")
def killers_() -> None:
    """Memory and time that hostile payloads take."""
    killers.measure()


async def _on_kafka(measure: Callable[..., Awaitable[Any]], count: int, **options: Any) -> Any:
    with tempfile.TemporaryDirectory(prefix="streamproc-bench-") as logs:
        async with local_kafka() as kafka, fleet(kafka.bootstrap_servers, "bench", Path(logs)) as it:
            return await measure(it, count, **options)


cli()
