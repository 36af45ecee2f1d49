"""How fast, and what it costs: `make bench`, or `make bench ARGS="restore --runs 100000"`.

Figures are of this machine at this moment, with the broker on it; compare them within one run only.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from streamproc.local.kafka import local_kafka
from tests.bench import restoring, stages, throughput
from tests.support.service import fleet

cli = typer.Typer(add_completion=False, invoke_without_command=True)
Events = Annotated[int, typer.Option(min=1_000, help="How many events.")]
Runs = Annotated[int, typer.Option(min=1_000, help="How many runs in run-state.")]


@cli.callback()
def everything(context: typer.Context) -> None:
    """Run all of them."""
    if context.invoked_subcommand is None:
        throughput_(500_000)
        restore(1_000_000)
        stages_(50_000)


@cli.command("throughput")
def throughput_(events: Events = 500_000, compression: str = "none") -> None:
    """Events per second and CPU-seconds per million events, exactly once, with the state topic."""
    asyncio.run(_on_kafka(throughput.measure, events, KAFKA__COMPRESSION=compression))


@cli.command()
def restore(runs: Runs = 1_000_000) -> None:
    """Time to restore, and resident memory per run."""
    asyncio.run(_on_kafka(restoring.measure, runs))


@cli.command("stages")
def stages_(events: Events = 50_000) -> None:
    """Where the CPU time goes, stage by stage, without a broker."""
    stages.measure(events)


async def _on_kafka(measure: object, count: int, **settings: str) -> None:
    with tempfile.TemporaryDirectory(prefix="streamproc-bench-") as logs:
        async with local_kafka() as kafka, fleet(kafka.bootstrap_servers, "bench", Path(logs)) as it:
            await measure(it, count, **settings)  # type: ignore[operator]


cli()
