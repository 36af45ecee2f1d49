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
from tests.support.chaos import QUIET_S, SESSION_MS, SETUP, memberships
from tests.support.live import LiveSource
from tests.support.second_stage import check_closed, close
from tests.support.service import Fleet, Worker, fleet
from tests.support.waiting import eventually

LONG_SESSION_MS = 300_000
NO_SNAPSHOTS = "no snapshots, the next start reads all of run-state"
AHEAD_S = 120
"""The events are so far ahead of the clock when they are sent."""


async def _kill_at_random(
    fleet: Fleet, events: int, per_second: int, kills: int, seed: int, *, static: bool, stored: bool = False
) -> None:
    """Send `events` while two workers are killed `kills` times, each time in mid-stream; compare with the oracle.

    `stored`: the workers have hardly any memory for payloads, and take a snapshot each second.
    """
    print(f"seed {seed}, {'static' if static else 'dynamic'} membership")
    random = Random(seed)
    settings = memberships("ab", static=static)
    if stored:
        settings = {name: {**each, **_stored(fleet.logs / name)} for name, each in settings.items()}
    workers = {name: fleet.start(**settings[name]) for name in settings}
    ratios = {"schema_version": "mixed", "bad_ratio": 0.005, "illegal_ratio": 0.002}
    start_ms = int((time.time() + AHEAD_S) * 1000)
    stream = simulate(seed=seed, events=events, rate_per_s=per_second, start_ms=start_ms, **ratios)
    source = LiveSource(fleet.settings.bootstrap_servers, fleet.topics.events, stream, per_second)
    sending = asyncio.create_task(source.run())
    for number in range(kills):
        before = await fleet.progress()
        await eventually(lambda before=before: _goes_on(fleet, before, sending))
        await eventually(lambda share=number / kills: source.sent >= share * events)
        await asyncio.sleep(random.uniform(0.0, 1.5))
        victim = random.choice(list(settings))
        workers[victim].kill()
        print(f"kill {number + 1}: worker {victim} at {await fleet.progress()} of {source.sent} records")
        workers[victim] = fleet.start(**settings[victim])
    await sending
    await close(fleet, source.last_ms + QUIET_S * 1000)
    await check_closed(fleet, SETUP)
    for worker in workers.values():
        assert worker.stop() == 0
    assert await fleet.check() == events + fleet.partitions
    assert not [line for worker in fleet.workers for line in worker.events(NO_SNAPSHOTS)]


async def _goes_on(fleet: Fleet, before: int, sending: asyncio.Task[Any]) -> bool:
    """Whether something was committed since. On a slow machine all may be by then: the last kills are at rest."""
    return await fleet.moved(before) or (sending.done() and await fleet.is_done())


def _stored(directory: Path) -> dict[str, Any]:
    return {"STATE__MEMORY_BYTES": 65_536, "STATE__DIRECTORY": directory, "STATE__SNAPSHOT_INTERVAL_S": 1}


def _stream(seed: int, events: int, **options: Any) -> Iterator[SimulatedEvent]:
    """Events of now: an open run of long ago would be forgotten as soon as a worker has caught up (rules.md 17)."""
    return simulate(seed=seed, events=events, start_ms=int(time.time() * 1000), **options)


async def test_killed_workers_lose_and_double_nothing(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    """The short form: 20,000 events, 5 kills."""
    async with fleet(kafka_bootstrap, unique("kill"), tmp_path) as it:
        await _kill_at_random(it, 20_000, 1_000, 5, seed=11, static=True)


async def test_killed_workers_whose_state_is_on_disk_lose_and_double_nothing(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path
) -> None:
    """The same where nearly each payload is written to disk, and each start goes on from a snapshot."""
    async with fleet(kafka_bootstrap, unique("kill"), tmp_path) as it:
        await _kill_at_random(it, 20_000, 1_000, 5, seed=12, static=True, stored=True)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("stored", [False, True], ids=["memory", "disk"])
@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_workers_long_form(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path, seed: int, static: bool, stored: bool
) -> None:
    """200,000 events, 24 kills."""
    async with fleet(kafka_bootstrap, unique("kill"), tmp_path) as it:
        await _kill_at_random(it, 200_000, 1_000, 24, seed, static=static, stored=stored)


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
