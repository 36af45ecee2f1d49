"""Workers that come and go over many partitions of a real Kafka: each rebalance moves a third of them in mid-commit."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamproc.local.simulate import simulate
from tests.support.service import Fleet, Worker, fleet
from tests.support.waiting import eventually

SESSION_MS = 6_000


async def _come_and_go(it: Fleet, events: int, rounds: int) -> None:
    """Send `events` while a third worker joins, is killed or stopped, and another takes its place."""
    workers: list[Worker] = [it.start(KAFKA__SESSION_TIMEOUT_MS=SESSION_MS) for _ in range(2)]
    stream = simulate(seed=3, events=events, start_ms=int(time.time() * 1000), schema_version="mixed", bad_ratio=0.005)
    source = asyncio.create_task(it.send(stream, per_second=max(1_000, events // (4 * rounds))))
    for number in range(rounds):
        workers.append(it.start(KAFKA__SESSION_TIMEOUT_MS=SESSION_MS))
        await eventually(lambda newest=workers[-1]: bool(newest.events("assigned")))
        before = await it.progress()
        await eventually(lambda before=before: source.done() or it.moved(before))
        leaving = workers.pop(0)
        if number % 2:
            leaving.kill()
        else:
            assert await asyncio.to_thread(leaving.stop) == 0
    await source
    await eventually(it.is_done)


@pytest.mark.timeout(400)
async def test_three_workers_come_and_go_over_64_partitions(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    """rules.md 5 and 7: nothing is lost, nothing is doubled."""
    async with fleet(kafka_bootstrap, unique("many"), tmp_path, partitions=64) as it:
        await _come_and_go(it, 10_000, rounds=2)
        assert await it.check() == 10_000


@pytest.mark.slow
@pytest.mark.timeout(1_800)
async def test_three_workers_come_and_go_long_form(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    """The same, longer: 20 rebalances."""
    async with fleet(kafka_bootstrap, unique("many"), tmp_path, partitions=64) as it:
        await _come_and_go(it, 100_000, rounds=10)
        assert await it.check() == 100_000
