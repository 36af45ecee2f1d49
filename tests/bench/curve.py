"""What an event costs beside few runs and beside many: the same events to workers with states of several sizes.

In turn, and as medians of several rounds: so what else the machine does meanwhile meets all of them alike.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

from streamproc.local.kafka import LocalKafka
from streamproc.local.simulate import SimulatedEvent, simulate
from tests.bench import restoring
from tests.bench.plot import Point
from tests.bench.process import MIB, cpu_seconds, resident_bytes
from tests.support.service import Fleet, Worker, fleet
from tests.support.waiting import eventually

RESTORE_S = 900
REST_SHARE = 0.03
"""Of a core, at most, for a worker that has nothing to do: one with an empty state takes 0.01."""
LOOK_S = 1.0
UNLIMITED = json.dumps({"in_progress": 10**6})
"""Else runs that are open would be told about: the more there are, the longer it takes to write them."""


async def measure(kafka: LocalKafka, logs: Path, counts: Sequence[int], events: int, rounds: int) -> list[Point]:
    """Return of each count of runs the CPU-seconds per million events of a worker that has so many in its state.

    Prints these, their spread, and what share of the first one's they are: all of them are medians of the rounds.
    """
    async with AsyncExitStack() as stack:
        beside = []
        for count in counts:
            name = f"bench-{count}"
            logs.joinpath(name).mkdir()
            it = await stack.enter_async_context(fleet(kafka.bootstrap_servers, name, logs / name))
            beside.append((it, await _started(it, count)))
        costs: list[list[float]] = [[] for _ in counts]
        for number in range(rounds + 1):  # The first one is not counted: code and caches are cold.
            stream = _stream(number, events)
            order = range(len(counts))
            for at in order if number % 2 else reversed(order):
                cost = await _cost(*beside[at], stream)
                costs[at] += [cost] if number else []
        residents = [resident_bytes(worker.process.pid) for _, worker in beside]
    return _told(counts, costs, residents)


async def _started(it: Fleet, count: int) -> Worker:
    print(f"writing the state of {count:,} runs ...", flush=True)
    await restoring.write_states(it, count)
    worker = it.start(DEADLINES__LIMITS_S=UNLIMITED)
    await eventually(lambda: len(worker.running()) == 2 * it.partitions, RESTORE_S)
    before, at = cpu_seconds(worker.process.pid), time.monotonic()
    while True:
        await asyncio.sleep(LOOK_S)
        now, then = cpu_seconds(worker.process.pid), time.monotonic()
        if now - before < REST_SHARE * (then - at):
            return worker
        before, at = now, then


def _stream(seed: int, events: int) -> list[SimulatedEvent]:
    start_ms = int(time.time() * 1000) - 600_000
    return list(simulate(seed=seed, events=events, rate_per_s=1_000, start_ms=start_ms))


async def _cost(it: Fleet, worker: Worker, stream: Sequence[SimulatedEvent]) -> float:
    began = cpu_seconds(worker.process.pid)
    await it.send(stream)
    await it.drained()
    return (cpu_seconds(worker.process.pid) - began) / len(stream) * 1e6


def _told(counts: Sequence[int], costs: Sequence[Sequence[float]], residents: Sequence[int]) -> list[Point]:
    for count, found, resident in zip(counts, costs, residents, strict=True):
        share = median(cost / first for cost, first in zip(found, costs[0], strict=True))
        print(
            f"  {count:>12,} runs {median(found):>6.1f} CPU-seconds per million events ({min(found):.1f} to "
            f"{max(found):.1f}), {share:.2f} times the first one's, {resident / MIB:,.0f} MiB resident",
            flush=True,
        )
    return [(count, median(found)) for count, found in zip(counts, costs, strict=True)]
