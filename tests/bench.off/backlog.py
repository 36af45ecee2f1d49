"""The service on a backlog: events per second, and CPU from the start of its process until all is done.

The whole holds the start of a process and what is done only once. The steady state is the difference between two
backlogs of different length, divided by the events that one has more: so a JVM that warms up can be put beside it.
"""

import asyncio
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from streamproc.local.kafka import LocalKafka
from tests.bench.floor import floor_cpu_seconds
from tests.bench.process import MIB, cpu_seconds
from tests.bench.tables import table
from tests.bench.writing import backlog, write
from tests.support.service import fleet
from tests.support.waiting import eventually

POLL_S = 0.1
START_S = 120
SHORT = 4
"""The short backlog is a part of the long one: one in so many."""

HEADS = ("backlog", "events/s", "CPU-s per million, whole", "steady state", "of the plain loop", "MiB at most")


class Job(NamedTuple):
    """A backlog, and who works on it."""

    events: int
    partitions: int = 4
    assistants: int = 20
    models_each: int = 1
    compression: str = "none"
    workers: int = 1

    def __str__(self) -> str:
        groups = f"{self.assistants} assistants on {self.models_each} models"
        people = f"{self.workers} worker{'s' * (self.workers > 1)}"
        return f"{self.events:,} events, {self.partitions} partitions, {groups}, {self.compression}, {people}"


class Done(NamedTuple):
    """What it took: events per second once all partitions ran, CPU-seconds of all workers, memory of the largest."""

    rate: float
    cpu: float
    peak_mib: float
    floor: float


async def row(kafka: LocalKafka, logs: Path, job: Job, settings: dict[str, str]) -> list[object]:
    """Return a row of the table."""
    short = await _work(kafka, logs, "short", job._replace(events=job.events // SHORT), settings)
    long = await _work(kafka, logs, "long", job, settings)
    more = job.events - job.events // SHORT
    whole = (long.cpu - job.workers * import_cpu_seconds()) / job.events
    steady = (long.cpu - short.cpu) / more
    figures = [f"{long.rate:,.0f}", f"{whole * 1e6:.1f}", f"{steady * 1e6:.1f}"]
    return [str(job), *figures, f"{steady / long.floor:.2f}", f"{long.peak_mib:.0f}"]


def printed(rows: list[list[object]]) -> str:
    """Return the table."""
    return table(HEADS, rows)


def import_cpu_seconds() -> float:
    """Return the CPU time of a process that imports the service and ends."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import streamproc.app"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def _work(kafka: LocalKafka, logs: Path, name: str, job: Job, settings: dict[str, str]) -> Done:
    async with fleet(kafka.bootstrap_servers, name, logs, job.partitions) as it:
        print(f"{job}: writing ...", flush=True)
        events = backlog(job.events, assistants=job.assistants, models_each=job.models_each)
        await asyncio.to_thread(write, kafka.bootstrap_servers, it.topics.events, events)
        workers = [it.start(KAFKA__COMPRESSION=job.compression, **settings) for _ in range(job.workers)]
        await eventually(lambda: sum(len(worker.running()) for worker in workers) >= 2 * job.partitions, START_S)
        began, done_began = time.monotonic(), await it.progress()
        while (done := await it.progress()) < job.events:
            await asyncio.sleep(POLL_S)
        rate = (done - done_began) / (time.monotonic() - began)
        # The windows have their share in the CPU time, and come a second behind.
        await it.drained()
        cpu = sum(cpu_seconds(worker.process.pid) for worker in workers)
        peak = max(worker.peak_bytes() for worker in workers) / MIB
        for worker in workers:
            worker.stop()
        return Done(rate, cpu, peak, await floor_cpu_seconds(it, min(job.events, 100_000)))
