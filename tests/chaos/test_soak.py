"""An hour of a steady stream with a fault every ten seconds: nothing lost, nothing doubled, and memory stands still.

Two instances and any broker are killed, frozen and stopped. The third instance goes through all of it and is the one
whose memory is measured: runs are forgotten soon after their end, so that its state does not grow.
"""

import asyncio
import os
import re
import statistics
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from random import Random

import pytest

from streamproc.local import node
from streamproc.local.kafka import local_kafka
from streamproc.local.simulate import simulate
from tests.support.chaos import BROKER_FAULTS, INSTANCE_FAULTS, SESSION_MS, Chaos, Fault
from tests.support.live import LiveSource
from tests.support.oracle import replay, written
from tests.support.service import Fleet, Worker, fleet
from tests.support.waiting import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(14_400)]

MINUTES = "STREAMPROC_TEST_SOAK_MINUTES"
EVERY_S = 10.0
SAMPLE_S = 5.0
SAMPLES_TOLD = 60
PER_SECOND = 200
WARM_UP = 1 / 3
MAX_SLOPE = 0.01
"""Of the memory, an hour."""
TELLING_MINUTES = 60
"""Over a shorter time the slope is mostly noise."""
RETENTION_S = 120
OPEN_S = 900
"""The simulated runs that expire do so 600 s after their last event: before that none may be forgotten, or the replay
that their outputs are held against would know more than the service."""
CATCH_UP_S = 600


async def test_memory_stands_still_and_nothing_is_lost_in_an_hour_of_faults(
    unique: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STREAMPROC_TEST_SOAK_MINUTES=5 for a shorter one, which only prints the slope."""
    minutes, seed = float(os.environ.get(MINUTES, TELLING_MINUTES)), 1
    print(f"seed {seed}, {minutes:g} minutes")
    # Beside other work a broker's start takes long, and here it is a fault's end, not what is tested.
    monkeypatch.setattr(node, "START_DEADLINE_S", 900.0)
    async with local_kafka(brokers=3) as kafka, fleet(kafka.bootstrap_servers, unique("soak"), tmp_path) as it:
        settings = {
            "KAFKA__SESSION_TIMEOUT_MS": SESSION_MS,
            "RETENTION__TERMINAL_S": RETENTION_S,
            "RETENTION__OPEN_S": OPEN_S,
        }
        chaos = Chaos(kafka, it, {name: {**settings, "KAFKA__GROUP_INSTANCE_ID": name} for name in "abc"})
        chaos.start_instances()
        for worker in it.workers:
            await eventually(worker.is_ready)
        events = simulate(seed=seed, rate_per_s=PER_SECOND, start_ms=int(time.time() * 1000), schema_version="mixed")
        source = LiveSource(kafka.bootstrap_servers, it.topics.events, events, PER_SECOND)
        sending = asyncio.create_task(source.run())
        memory = asyncio.create_task(_sampled(it.workers[2], minutes * 60))
        await _befall(chaos, Random(seed), minutes * 60)
        source.end()
        await sending
        await eventually(it.is_done, CATCH_UP_S)
        slope = _slope(await memory)
        assert chaos.stop_instances() == dict.fromkeys("abc", 0)
        assert chaos.ended == []
        assert await _check(it) >= source.sent
        await chaos.nothing_open()
        assert minutes < TELLING_MINUTES or slope <= MAX_SLOPE


async def _befall(chaos: Chaos, random: Random, seconds: float) -> None:
    """Have something happen every ten seconds: to a broker and to an instance in turn."""
    until = time.monotonic() + seconds
    kinds = cycle([*zip(BROKER_FAULTS, cycle(INSTANCE_FAULTS), strict=False)])
    spans = {**BROKER_FAULTS, **INSTANCE_FAULTS}
    for broker_kind, instance_kind in kinds:
        if time.monotonic() > until:
            return
        broker = Fault(EVERY_S, broker_kind, random.choice("123"), random.uniform(*spans[broker_kind]))
        instances = [Fault(EVERY_S, instance_kind, random.choice("ab"), 1.0) for _ in range(2)]
        await chaos.run([broker], instances)


async def _sampled(worker: Worker, seconds: float) -> list[tuple[float, int]]:
    """Return (seconds since the start, resident bytes) of a process, again and again."""
    began, found = time.monotonic(), []
    while (now := time.monotonic() - began) < seconds:
        status = Path(f"/proc/{worker.process.pid}/status").read_text()
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert resident is not None
        found.append((now, int(resident[1]) * 1024))
        if len(found) % SAMPLES_TOLD == 0:
            print(f"after {now:.0f} s: {found[-1][1] / 1e6:.0f} MB")
        await asyncio.sleep(SAMPLE_S)
    return found


def _slope(samples: list[tuple[float, int]]) -> float:
    """Print and return how much memory grows after the warm-up, as a share of it an hour."""
    kept = samples[int(len(samples) * WARM_UP) :]
    fitted = statistics.linear_regression([at for at, _ in kept], [size for _, size in kept])
    mean = statistics.fmean(size for _, size in kept)
    share = fitted.slope * 3600 / mean
    print(f"memory: {mean / 1e6:.0f} MB in the mean of {len(kept)} samples after the warm-up, {share:+.2%} an hour")
    return share


async def _check(fleet: Fleet) -> int:
    """Hold what became of the events against a plain replay; which states are forgotten by now depends on the clock."""
    total, topics = 0, fleet.topics
    for partition in range(fleet.partitions):
        records = await fleet.read(topics.events, partition)
        total += len(records)
        names = (topics.transitions, topics.verdicts, topics.state, topics.dead_letters)
        found = written(*[await fleet.read(name, partition) for name in names])
        expected = replay(records, int(time.time() * 1000), None)
        assert found.transitions == expected.transitions, f"transitions of partition {partition}"
        assert found.verdicts == expected.verdicts, f"verdicts of partition {partition}"
        assert found.dead_letters == expected.dead_letters, f"dead letters of partition {partition}"
    return total
