"""Both stages as processes on a real Kafka: what they sum and tell equals one pass over the same events.

All of it is written before a worker starts, its times lie in the past hour and its disorder within the grace: so the
result is determined, whatever the number of partitions and workers, and whoever is ahead.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamproc.local.simulate import SimulatedEvent, simulate
from tests.support.second_stage import Setup, check, close, expected, settled
from tests.support.service import fleet

SETUP = Setup()
PAST_S = 3_000
EVENTS = 3_000
LAST_S = 1_200
"""How long ago the last events are: late enough for all deadlines, and for a backlog."""


def _stream(seed: int) -> list[SimulatedEvent]:
    """Events of ten minutes that ended more than half an hour ago, so that every deadline of theirs has passed."""
    start_ms = int(time.time() - PAST_S) * 1000
    ratios = {"late_ratio": 0.01, "illegal_ratio": 0.003, "bad_ratio": 0.01}
    return list(simulate(seed=seed, events=EVENTS, schema_version="mixed", rate_per_s=5, start_ms=start_ms, **ratios))


async def _one_case(bootstrap: str, name: str, logs: Path, *, partitions: int, workers: int, seed: int) -> None:
    where = f"{partitions} partitions, {workers} workers, seed {seed}"
    async with fleet(bootstrap, name, logs, partitions) as it:
        await it.send(_stream(seed))
        await close(it, int(time.time() - LAST_S) * 1000)
        wanted = await expected(it, SETUP)
        print(f"{where}: {wanted}")
        started = [it.start(**SETUP.settings) for _ in range(workers)]
        at = await settled(it, wanted)
        check(at, wanted)
        assert await it.check() == EVENTS + partitions
        assert [worker.stop() for worker in started] == [0] * workers
        assert min(len(wanted.windows), len(wanted.runs), len(wanted.rates)) > 10, where


@pytest.mark.parametrize(("partitions", "workers", "seed"), [(1, 1, 1), (3, 2, 2), (6, 2, 3)])
async def test_metrics_and_alerts_are_those_of_one_pass(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path, partitions: int, workers: int, seed: int
) -> None:
    """The short form."""
    await _one_case(kafka_bootstrap, unique("sums"), tmp_path, partitions=partitions, workers=workers, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 15))
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("partitions", [1, 3, 6])
async def test_metrics_and_alerts_are_those_of_one_pass_long_form(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path, partitions: int, workers: int, seed: int
) -> None:
    """The same, with more seeds."""
    await _one_case(kafka_bootstrap, unique("sums"), tmp_path, partitions=partitions, workers=workers, seed=seed)
