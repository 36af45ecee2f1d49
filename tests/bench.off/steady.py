"""A steady stream through any processor: how long each event takes to its transition, and what the processor uses.

Two processes of our own write and read (source.py, sink.py). Times are of the machine's monotonic clock: from the call
that writes an event to the moment when a read_committed consumer has its transition.
"""

import asyncio
import os
import sys
import tempfile
import time
from array import array
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.process import MIB, connections, cpu_seconds, resident_bytes

ROOT = Path(__file__).parents[2]
END_S = 120


class Place(NamedTuple):
    """Where a stream goes through: the broker, and the topics of events and transitions with their partitions."""

    bootstrap: str
    events: str
    transitions: str
    partitions: int


class Use(NamedTuple):
    """What the processor used over a stretch, in shares of a core and per second, and what it held at the end."""

    cpu: float
    broker_cpu: float
    own_cpu: float
    requests: float | None
    transactions: float | None
    connections: int
    resident_mib: float


class Steady(NamedTuple):
    """What came of a stream. Latencies in milliseconds, sorted, of the events of the stretch."""

    latencies: Sequence[float]
    events: int
    transitions: int
    doubled: int
    use: Use
    source: str

    def quantile(self, share: float) -> float:
        """Return a quantile of the latencies; 1 is the maximum."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


Counters = Callable[[], Awaitable[tuple[float | None, float | None]]]
"""Requests and transactions so far; None where the processor does not count them."""


async def uncounted() -> tuple[None, None]:
    """Tell of a processor that counts neither."""
    return None, None


async def use_over(
    seconds: float, pid: int, broker_pid: int, port: int, counters: Counters = uncounted, own: Sequence[int] = ()
) -> Use:
    """Measure for so many seconds; `own` are the processes that measure."""
    pids = (pid, broker_pid, *own)
    began, cpu, counted = time.monotonic(), [cpu_seconds(each) for each in pids], await counters()
    await asyncio.sleep(seconds)
    shares = [cpu_seconds(each) - before for each, before in zip(pids, cpu, strict=True)]
    took = time.monotonic() - began
    rates = [
        None if now is None or before is None else (now - before) / took
        for now, before in zip(await counters(), counted, strict=True)
    ]
    service, broker, *rest = [share / took for share in shares]
    return Use(service, broker, sum(rest), *rates, connections(pid, port), resident_bytes(pid) / MIB)


async def steady(
    place: Place, rate: int, warm_up: float, seconds: float, pid: int, broker_pid: int, counters: Counters = uncounted
) -> Steady:
    """Send `rate` events a second through a processor that runs; measure `seconds` of it, after `warm_up`."""
    with tempfile.TemporaryDirectory(prefix="streamproc-bench-") as directory:
        written, seen = Path(directory) / "written", Path(directory) / "seen"
        sink = await _start("sink", place.bootstrap, place.transitions, place.partitions, seen)
        source = await _start("source", place.bootstrap, place.events, rate, warm_up + seconds + 1, written)
        try:
            for process in (sink, source):
                await _line(process)
            assert source.stdin is not None
            source.stdin.write(b"go\n")
            await asyncio.sleep(warm_up)
            began = time.monotonic_ns()
            use = await use_over(seconds, pid, broker_pid, _port(place), counters, (source.pid, sink.pid))
            ended = time.monotonic_ns()
            said = await _line(source)
            await asyncio.wait_for(source.wait(), END_S)
            sink.terminate()
            await asyncio.wait_for(sink.wait(), END_S)
        finally:
            for process in (sink, source):
                if process.returncode is None:
                    process.kill()
        return _matched(_read(written), _read(seen), (began, ended), use, said)


def _matched(
    written: list[tuple[int, int, int]], seen: list[tuple[int, int, int]], stretch: tuple[int, int], use: Use, said: str
) -> Steady:
    first: dict[tuple[int, int], int] = {}
    for partition, offset, at in seen:
        first.setdefault((partition, offset), at)
    began, ended = stretch
    latencies = sorted(
        (first[partition, offset] - at) / 1e6
        for partition, offset, at in written
        if began <= at < ended and (partition, offset) in first
    )
    events = sum(began <= at < ended for _, _, at in written)
    return Steady(latencies, events, len(first), len(seen) - len(first), use, said)


def _port(place: Place) -> int:
    return int(place.bootstrap.rsplit(":", 1)[1])


async def _start(module: str, *arguments: object) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"tests.bench.{module}",
        *map(str, arguments),
        stdin=PIPE,
        stdout=PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


async def _line(process: Process) -> str:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), END_S)
    if not line:
        raise RuntimeError(f"the process that {process} is ended with {await process.wait()}")
    return line.decode().strip()


def _read(path: Path) -> list[tuple[int, int, int]]:
    numbers = array("q", path.read_bytes())
    return list(zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True))
