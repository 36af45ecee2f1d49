"""The service under SIGKILL and SIGSTOP on a real Kafka: the outputs of both stages equal one pass over the input.

The events are a few minutes ahead of the clock, as far as is still believed: so what fires and closes does so by their
time alone, and is determined, however long a killed worker is away.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from streamproc.local.simulate import SimulatedEvent, simulate
from tests.support.metrics_oracle import Limits
from tests.support.second_stage import LAST, Outputs, Setup, check, close, expected, settled
from tests.support.service import Fleet, Worker, fleet
from tests.support.waiting import eventually

SESSION_MS, LONG_SESSION_MS = 6_000, 300_000
AHEAD_S, SPAN_S, QUIET_S = 60, 100, 60
"""The events begin so far ahead of the clock, last so long by their own times, and nothing follows for so long."""
SETUP = Setup(
    sizes_s=(5, 20),
    grace_s=35,
    limits=Limits(1, stuck_s={"queued": 1, "in_progress": 2, "requires_action": 4, "cancelling": 1}),
    min_ended=5,
)


async def _kill_at_random(fleet: Fleet, events: int, kills: int, seed: int) -> int:
    """Send `events` while two workers with stable names are killed `kills` times; return the records compared."""
    random = Random(seed)
    print(f"seed {seed}")
    names = ["a", "b"]
    workers: dict[str, Worker] = {}

    def start(name: str) -> None:
        membership = {"KAFKA__GROUP_INSTANCE_ID": name, "KAFKA__SESSION_TIMEOUT_MS": SESSION_MS}
        workers[name] = fleet.start(**membership, **SETUP.settings)

    for name in names:
        start(name)
    start_ms = int(time.time() + AHEAD_S) * 1000
    options = {"rate_per_s": events / SPAN_S, "schema_version": "mixed", "bad_ratio": 0.005, "illegal_ratio": 0.002}
    stream = simulate(seed=seed, events=events, start_ms=start_ms, **options)
    # The stream lasts as long as the kills do: each one hits a worker in mid-stream.
    source = asyncio.create_task(fleet.send(stream, per_second=max(1_000, events // (kills * 2))))
    for number in range(kills):
        before = await fleet.progress()
        await eventually(lambda before=before: source.done() or fleet.moved(before))
        await asyncio.sleep(random.uniform(0.0, 1.5))
        victim = random.choice(names)
        workers[victim].kill()
        print(f"kill {number + 1}: worker {victim} at {await fleet.progress()} records")
        start(victim)
    await source
    await close(fleet, start_ms + (SPAN_S + 30 + QUIET_S) * 1000)
    await _check_second_stage(fleet)
    for worker in workers.values():
        assert worker.stop() == 0
    return await fleet.check() - fleet.partitions


async def _check_second_stage(fleet: Fleet) -> None:
    wanted = _without_last(await expected(fleet, SETUP))
    at = _without_last(await settled(fleet, wanted))
    print(f"compared: {wanted}; {sum(alert.state == 'resolved' for alert in wanted.runs)} resolved")
    check(at, wanted)


def _without_last(found: Outputs) -> Outputs:
    """Leave out the windows of the last events: these close a long time after the test."""
    kept = {window: totals for window, totals in found.windows.items() if window.assistant_id != LAST}
    return Outputs(kept, found.runs, found.rates)


def _stream(seed: int, events: int, **options: Any) -> Iterator[SimulatedEvent]:
    """Events of now: an open run of long ago would be forgotten as soon as a worker has caught up (rules.md 17)."""
    return simulate(seed=seed, events=events, start_ms=int(time.time() * 1000), **options)


async def test_killed_workers_lose_and_double_nothing(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    """The short form: 20,000 events, 5 kills."""
    async with fleet(kafka_bootstrap, unique("kill"), tmp_path) as it:
        assert await _kill_at_random(it, 20_000, 5, seed=11) == 20_000


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_workers_long_form(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path, seed: int
) -> None:
    """100,000 events, 24 kills."""
    async with fleet(kafka_bootstrap, unique("kill"), tmp_path) as it:
        assert await _kill_at_random(it, 100_000, 24, seed) == 100_000


@pytest.mark.parametrize(
    "settings",
    [
        {"KAFKA__GROUP_INSTANCE_ID": "only", "KAFKA__SESSION_TIMEOUT_MS": LONG_SESSION_MS},
        {"KAFKA__SESSION_TIMEOUT_MS": SESSION_MS},
    ],
    ids=["static", "dynamic"],
)
async def test_the_only_worker_killed_processes_again(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path, settings: dict[str, Any]
) -> None:
    """With static membership without waiting for the end of the session. `make bench ARGS=recover` tells how soon."""
    async with fleet(kafka_bootstrap, unique("recover"), tmp_path) as it:
        worker = it.start(**settings)
        await it.send(_stream(5, 2_000))
        await eventually(it.is_done)
        await it.send(_stream(6, 2_000))
        worker.kill()
        before = await it.progress()
        await it.send(_stream(7, 500))
        it.start(**settings)
        await eventually(lambda: it.moved(before))
        await eventually(it.is_done)
        assert await it.check() == 4_500


async def test_a_zombie_commits_nothing(kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path) -> None:
    """SIGSTOP past the session, partitions taken over, SIGCONT: the stale owner is fenced."""
    async with fleet(kafka_bootstrap, unique("zombie"), tmp_path) as it:
        zombie = it.start(KAFKA__SESSION_TIMEOUT_MS=SESSION_MS)
        source = asyncio.create_task(it.send(_stream(9, 20_000), per_second=1_500))
        before = await it.progress()
        await eventually(lambda: it.moved(before))
        zombie.signal(signal.SIGSTOP)
        owner = it.start(KAFKA__SESSION_TIMEOUT_MS=SESSION_MS)
        await eventually(lambda: _running(owner) == {0, 1, 2, 3})
        taken_over = await it.progress()
        await eventually(lambda: it.moved(taken_over))
        rebalances = len(owner.events("assigned"))
        zombie.signal(signal.SIGCONT)
        # It comes back as a new member: the owner sees one more rebalance, and the two share.
        await eventually(lambda: len(owner.events("assigned")) > rebalances)
        await source
        await eventually(it.is_done)
        assert zombie.stop() == 0
        assert owner.stop() == 0
        assert await it.check() == 20_000


def _running(worker: Worker) -> set[int]:
    return {line["partition"] for line in worker.events("task") if line["state"] == "running"}
