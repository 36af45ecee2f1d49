"""The service on a steady stream, and at rest: latency, CPU, requests, connections."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from streamproc.local.kafka import LocalKafka
from streamproc.local.simulate import simulate
from tests.bench.steady import Counters, Place, Steady, Use, steady, use_over
from tests.bench.tables import table
from tests.support.service import Fleet, Worker, fleet
from tests.support.waiting import eventually

REST_EVENTS_PER_PARTITION = 10
REST_WARM_UP_S = 5.0

HEADS = (
    "latency", "p50 ms", "p99 ms", "max ms", "CPU % of a core", "requests/s", "transactions/s", "connections", "MiB",
    "broker CPU %", "load",
)  # fmt: skip


class Load(NamedTuple):
    """Events per second (0: at rest) over so many partitions."""

    rate: int
    partitions: int

    def __str__(self) -> str:
        rate = f"{self.rate:,} events/s" if self.rate else "idle"
        return f"{rate}, {self.partitions} partitions"


MATRIX = (Load(1_000, 4), Load(1_000, 32), Load(5_000, 4), Load(0, 12), Load(0, 64))


async def measure(
    kafka: LocalKafka, logs: Path, load: Load, warm_up: float, seconds: float, settings: Mapping[str, str]
) -> list[object]:
    """Return a row of the table for one worker under `load`."""
    async with fleet(kafka.bootstrap_servers, "bench", logs, load.partitions) as it:
        worker = it.start(**settings)
        await eventually(lambda: len(worker.running()) == 2 * load.partitions)
        if load.rate:
            place = Place(kafka.bootstrap_servers, it.topics.events, it.topics.transitions, load.partitions)
            found = await steady(place, load.rate, warm_up, seconds, worker.process.pid, kafka.pid, counters_of(worker))
            print(f"{load}: {_said(found)}", flush=True)
            row = row_of(str(load), found.use, found)
        else:
            row = row_of(str(load), await _at_rest(it, worker, kafka, seconds))
        worker.stop()
        return row


def row_of(name: str, use: Use, found: Steady | None = None) -> list[object]:
    """Return a row of the table."""
    times = [f"{found.quantile(share):,.0f}" for share in (0.5, 0.99, 1.0)] if found else ["", "", ""]
    counts = ["" if each is None else f"{each:,.1f}" for each in (use.requests, use.transactions)]
    load = f"{os.getloadavg()[0]:.1f}"
    return [
        name, *times, f"{100 * use.cpu:.1f}", *counts, use.connections, f"{use.resident_mib:.0f}",
        f"{100 * use.broker_cpu:.0f}", load,
    ]  # fmt: skip


def printed(rows: list[list[object]]) -> str:
    """Return the table."""
    return table(HEADS, rows)


def counters_of(worker: Worker) -> Counters:
    """Return what asks a worker for the requests and transactions that it counted."""

    async def counters() -> tuple[float | None, float | None]:
        _, text = await worker.get("/metrics")
        return _total(text, "streamproc_kafka_requests_total"), _total(text, "streamproc_transactions_total")

    return counters


def _total(text: str, name: str) -> float | None:
    found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
    return sum(map(float, found)) if found else None


def _said(found: Steady) -> str:
    share = f"{100 * found.use.own_cpu:.0f} % of a core for source and sink"
    return (
        f"{found.source}; {found.transitions:,} transitions, {found.doubled} of them twice; "
        f"{len(found.latencies):,} of {found.events:,} events of the stretch have one; {share}"
    )


async def _at_rest(it: Fleet, worker: Worker, kafka: LocalKafka, seconds: float) -> Use:
    await it.send(simulate(seed=1, events=REST_EVENTS_PER_PARTITION * it.partitions, bad_ratio=0))
    await it.drained()
    await use_over(REST_WARM_UP_S, worker.process.pid, kafka.pid, _port(kafka))
    return await use_over(seconds, worker.process.pid, kafka.pid, _port(kafka), counters_of(worker))


def _port(kafka: LocalKafka) -> int:
    return int(kafka.bootstrap_servers.rsplit(":", 1)[1])
