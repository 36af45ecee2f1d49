"""The whole service on a backlog: fetch, decode, fold, encode, one transaction after another."""

import asyncio
import time
from collections.abc import Mapping

from streamproc.local.simulate import simulate
from tests.bench.floor import floor_cpu_seconds
from tests.bench.overdue import overdue as overdue_
from tests.bench.process import MIB, cpu_seconds, resident_bytes
from tests.support.service import Fleet
from tests.support.waiting import eventually

POLL_S = 0.05
NO_SETTINGS: Mapping[str, str] = {}


async def measure(
    fleet: Fleet, events: int, bad_ratio: float, *, overdue: bool = False, settings: Mapping[str, str] = NO_SETTINGS
) -> float:
    """Print the figures of one worker on a backlog of `events`; return events per second.

    `overdue`: nearly every run is; their events are 10 ms apart then, so that runs take as long as in life.
    """
    start_ms = int(time.time() * 1000) - 3_600_000
    print(f"writing {events:,} events ...", flush=True)
    simulated = simulate(
        seed=1,
        events=events,
        rate_per_s=100 if overdue else 1_000,
        start_ms=start_ms,
        bad_ratio=0 if overdue else bad_ratio,
    )
    stream = list(overdue_(simulated) if overdue else simulated)
    size = sum(len(event.value or b"") for event in stream)
    await fleet.send(stream)
    del stream
    worker = fleet.start(**({"DEADLINES__ALLOWANCE_S": "0"} if overdue else {}), **settings)
    await eventually(lambda: len(worker.running()) == 2 * fleet.partitions)
    pid = worker.process.pid
    # Not from the start of the process: importing costs about a CPU-second, once.
    began, cpu_began, done_began = time.monotonic(), cpu_seconds(pid), await fleet.progress()
    while (done := await fleet.progress()) < events:
        await asyncio.sleep(POLL_S)
    took, count = time.monotonic() - began, done - done_began
    # The windows have their share in the CPU time, and come a second behind.
    await fleet.drained()
    cpu = cpu_seconds(pid) - cpu_began
    resident = resident_bytes(pid)
    worker.stop()
    floor = await floor_cpu_seconds(fleet, min(events, 100_000))
    print(
        f"throughput: {fleet.partitions} partitions, {events:,} events of {size / events:.0f} bytes on average, "
        f"{bad_ratio:.1%} bad{', nearly every run overdue' if overdue else ''}"
    )
    print(f"  {count / took:>10,.0f} events/s")
    print(f"  {cpu / count * 1e6:>10.1f} CPU-seconds per million events of the service's process")
    print(f"  {floor * 1e6:>10.1f} CPU-seconds per million events of a loop that only reads and decodes with fastavro")
    print(f"  {cpu / count / floor:>10.2f} times that loop")
    print(f"  {resident / MIB:>10.0f} MiB resident at the end")
    return count / took
