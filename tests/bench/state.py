"""What a state costs: memory by the size of events, starts with and without a snapshot, payloads on disk, many runs."""

import asyncio
import json
import random
import resource
import time
from itertools import islice
from pathlib import Path

from streamproc.local.simulate import simulate
from streamproc.runtime.aio.producer import AioProducer
from tests.bench import restoring
from tests.bench.process import MIB, cpu_seconds, peak_bytes, resident_bytes
from tests.support.service import Fleet, Worker
from tests.support.waiting import eventually

LARGE_BYTES = 20_000
LARGE_MEMORY = 256 << 20
LIMIT = 2 << 30
INTERVAL_S = 2
SETTLED_S = 5.0


async def snapshots(fleet: Fleet, runs: int) -> None:
    """Print how long a start takes from the topic, and from a snapshot."""
    print(f"writing the state of {runs:,} runs ...", flush=True)
    size = await restoring.write_states(fleet, runs)
    directory = fleet.logs / "state"
    settings = {"STATE__DIRECTORY": directory, "STATE__SNAPSHOT_INTERVAL_S": INTERVAL_S}
    rows = []
    for name in ("from the topic", "with a snapshot", "with a snapshot, again"):
        began = time.monotonic()
        worker = await _running(fleet, **settings)
        took = time.monotonic() - began
        cpu = cpu_seconds(worker.process.pid)
        await _settled(directory)
        rows.append((name, took, cpu, resident_bytes(worker.process.pid)))
        worker.stop()
    print(f"start: {runs:,} runs in {fleet.partitions} partitions, events of {size} bytes on average")
    for name, took, cpu, resident in rows:
        print(f"  {took:>8.1f} s to ready, {cpu:>5.1f} CPU-seconds, {resident / MIB:>6.0f} MiB resident: {name}")
    print(f"  {_bytes_in(directory) / MIB:>8.0f} MiB on disk, {_bytes_in(directory) / runs:.0f} bytes a run")


async def large(fleet: Fleet, runs: int) -> None:
    """Print what a run of large events costs in memory, once their payloads are beyond the limit."""
    payloads = large_payloads(LARGE_BYTES)
    print(f"writing the state of {runs:,} runs of {LARGE_BYTES:,} bytes, in two halves ...", flush=True)
    residents = []
    for first in (0, runs // 2):
        await restoring.write_states(fleet, runs // 2, payloads=payloads, first=first, batch=500)
        worker = await _running(fleet, STATE__MEMORY_BYTES=LARGE_MEMORY)
        await asyncio.sleep(SETTLED_S)
        residents.append(resident_bytes(worker.process.pid))
        worker.stop()
    half, whole = residents
    print(f"large events: {LARGE_BYTES:,} bytes, memory_bytes {LARGE_MEMORY // MIB} MiB")
    print(f"  {half / MIB:>8.0f} MiB resident with {runs // 2:,} runs, {whole / MIB:.0f} with {runs:,}")
    print(f"  {(whole - half) / (runs // 2):>8.0f} bytes resident for each further run")


async def flood(fleet: Fleet, runs: int) -> None:
    """Print how a worker of 2 GiB at the most gets on where new runs of large events come as fast as it takes them."""
    print(f"writing {runs:,} runs of {LARGE_BYTES:,} bytes ...", flush=True)
    now, noise = int(time.time() * 1000), random.Random(7)
    async with AioProducer(fleet.settings, fleet.topics.events) as producer:
        for number in range(runs):
            text = noise.randbytes(LARGE_BYTES // 2).hex()
            run = {"id": f"run_{number}", "object": "thread.run", "status": "queued", "instructions": text}
            await producer.send(f"run_{number}".encode(), json.dumps(run).encode(), now)
    worker = fleet.start()
    resource.prlimit(worker.process.pid, resource.RLIMIT_AS, (LIMIT, LIMIT))
    began = time.monotonic()
    await eventually(fleet.is_done, deadline_s=900)
    print(f"flood: {runs:,} runs of {LARGE_BYTES:,} bytes through in {time.monotonic() - began:.0f} s")
    print(f"  {peak_bytes(worker.process.pid) / MIB:>8.0f} MiB resident at most, limit {LIMIT // MIB} MiB of addresses")
    print(f"  {len(worker.events('task'))} steps of tasks, stopped with {worker.stop()}")


def large_payloads(size: int) -> list[bytes]:
    """Return payloads of so many bytes: half of it as events are, half of it such as shrinks to a half."""
    noise = random.Random(7)
    events = [event.value[10:] for event in islice(simulate(seed=3, bad_ratio=0), 400) if event.value]
    halves = [b"".join(noise.sample(events, 40))[: size // 2] for _ in range(400)]
    return [half + noise.randbytes((size - len(half)) // 2).hex().encode() for half in halves]


async def _running(fleet: Fleet, **settings: object) -> Worker:
    worker = fleet.start(**settings)
    await eventually(lambda: len(worker.running()) == 2 * fleet.partitions, deadline_s=900)
    return worker


async def _settled(directory: Path) -> None:
    """Wait until what is written to disk is written."""
    before, since = -1, time.monotonic()
    while time.monotonic() - since < SETTLED_S:
        if before != (now := _bytes_in(directory)):
            before, since = now, time.monotonic()
        await asyncio.sleep(0.2)


def _bytes_in(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
