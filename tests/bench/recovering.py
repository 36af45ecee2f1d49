"""How soon commits go on: after the only worker was killed, and on three brokers after any one thing has gone."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from streamproc.local.kafka import LocalKafka, local_kafka
from streamproc.local.simulate import simulate
from tests.support.cluster import Cluster, markers
from tests.support.live import LiveSource
from tests.support.service import Fleet, Worker, fleet
from tests.support.waiting import eventually

SESSION_MS = 6_000
"""Without static membership the coordinator waits so long for the dead member."""
PER_SECOND = 400
STEADY_S = 5.0
GONE_S, FROZEN_S, AWAY_S = 30.0, 60.0, 20.0
PATIENCE_S = 300.0


async def measure(fleet: Fleet, rounds: int, *, static: bool) -> None:
    """Print the seconds from each restart until the next commit."""
    settings = _membership("only", static=static)
    worker, took = fleet.start(**settings), []
    for seed in range(rounds):
        await _send(fleet, 2 * seed)
        await eventually(fleet.is_done)
        worker.kill()
        await _send(fleet, 2 * seed + 1)
        before, began = await fleet.progress(), time.monotonic()
        worker = fleet.start(**settings)
        await eventually(lambda before=before: fleet.moved(before))
        took.append(time.monotonic() - began)
    worker.stop()
    kind = "static" if static else f"dynamic, session of {SESSION_MS / 1000:g} s"
    print(f"processing again after a kill, {kind}: {', '.join(f'{each:.1f}' for each in took)} s")


async def _send(fleet: Fleet, seed: int) -> None:
    await fleet.send(simulate(seed=seed, events=500, start_ms=int(time.time() * 1000)))


def _membership(name: str, *, static: bool) -> dict[str, object]:
    return {"KAFKA__SESSION_TIMEOUT_MS": SESSION_MS, **({"KAFKA__GROUP_INSTANCE_ID": name} if static else {})}


@dataclass
class Scene:
    """What a fault is done to: workers under a steady load, and the broker that coordinates their group."""

    kafka: LocalKafka
    fleet: Fleet
    static: bool
    coordinator: int = 0
    workers: dict[str, Worker] = field(default_factory=dict)

    def start(self, name: str) -> Worker:
        """Start a worker."""
        self.workers[name] = self.fleet.start(**_membership(name, static=self.static))
        return self.workers[name]

    @property
    def another(self) -> int:
        """A broker that does not coordinate the group."""
        return self.coordinator % len(self.kafka.nodes) + 1


async def _kill_instance(scene: Scene) -> None:
    scene.workers["a"].kill()
    scene.start("a")


async def _stop_instance(scene: Scene) -> None:
    await asyncio.to_thread(scene.workers["a"].stop)
    scene.start("a")


async def _roll(scene: Scene) -> None:
    """Replace one worker after the other, each when the one before is ready, as a StatefulSet's update does."""
    for name, worker in list(scene.workers.items()):
        await asyncio.to_thread(worker.stop)
        await eventually(scene.start(name).is_ready)


async def _kill_broker(scene: Scene) -> None:
    await _without(scene, scene.another)


async def _kill_coordinator(scene: Scene) -> None:
    await _without(scene, scene.coordinator)


async def _without(scene: Scene, *brokers: int, lasts_s: float = GONE_S) -> None:
    await scene.kafka.kill(*brokers)
    await asyncio.sleep(lasts_s)
    await scene.kafka.start_again(*brokers)


async def _freeze_coordinator(scene: Scene) -> None:
    await scene.kafka.freeze(scene.coordinator)
    await asyncio.sleep(FROZEN_S)
    await scene.kafka.thaw(scene.coordinator)


async def _kill_all(scene: Scene) -> None:
    await _without(scene, lasts_s=AWAY_S)


Fault = Callable[[Scene], Awaitable[None]]


class Scenario(NamedTuple):
    """A fault, the membership of the workers that it befalls, and their names."""

    name: str
    static: bool
    fault: Fault
    workers: str = "ab"


SCENARIOS = (
    Scenario("instance killed", True, _kill_instance),
    Scenario("instance killed", False, _kill_instance),
    Scenario("instance stopped", True, _stop_instance),
    Scenario("instance stopped", False, _stop_instance),
    Scenario("rolling restart of three", True, _roll, "abc"),
    Scenario("rolling restart of three", False, _roll, "abc"),
    Scenario("broker killed", True, _kill_broker),
    Scenario("coordinator's broker killed", True, _kill_coordinator),
    Scenario("coordinator's broker frozen", True, _freeze_coordinator),
    Scenario("coordinator's broker frozen", False, _freeze_coordinator),
    Scenario("all brokers away", True, _kill_all),
)


class Standstill(NamedTuple):
    """Seconds: how long the fault lasted, each partition's longest time without a commit, a producer's longest wait."""

    fault_s: float
    partitions_s: list[float]
    producer_s: float


async def standstills(rounds: int, only: str) -> None:
    """Print the longest time without a commit for each fault on three brokers whose name contains `only`."""
    print(f"standstill: 3 brokers, 2 workers, 4 partitions, {PER_SECOND} events/s, session of {SESSION_MS / 1000:g} s")
    print(f"{'':38}{'fault lasts':>13}{'longest':>9}   each partition{'':12}an ordinary producer waits")
    for scenario in SCENARIOS:
        for _ in range(rounds if only in scenario.name else 0):
            found = await _standstill(scenario)
            each = ", ".join(f"{seconds:.1f}" for seconds in found.partitions_s)
            kind = f"{scenario.name}, {'static' if scenario.static else 'dynamic'}"
            load = f"load {os.getloadavg()[0]:.1f}"
            print(
                f"{kind:38}{found.fault_s:>11.1f} s{found.partitions_s[0]:>7.1f} s   {each:26}"
                f"{found.producer_s:>5.1f} s   {load}",
                flush=True,
            )


async def _standstill(scenario: Scenario) -> Standstill:
    with tempfile.TemporaryDirectory(prefix="streamproc-bench-") as logs:
        async with local_kafka(brokers=3) as kafka, fleet(kafka.bootstrap_servers, "bench", Path(logs)) as it:
            scene, cluster = Scene(kafka, it, scenario.static), Cluster(kafka.bootstrap_servers)
            for name in scenario.workers:
                scene.start(name)
            for worker in scene.workers.values():
                await eventually(worker.is_ready)
            events = simulate(seed=1, rate_per_s=PER_SECOND, start_ms=int(time.time() * 1000))
            source = LiveSource(kafka.bootstrap_servers, it.topics.events, events, PER_SECOND)
            sending = asyncio.create_task(source.run())
            await asyncio.sleep(STEADY_S)
            scene.coordinator = await cluster.coordinator(it.name)
            began = time.time()
            await scenario.fault(scene)
            ended = time.time()
            await asyncio.sleep(STEADY_S)
            source.end()
            await sending
            await eventually(it.is_done, PATIENCE_S)
            await eventually(cluster.is_whole)
            gaps = [await _longest_gap(it, partition, began) for partition in range(it.partitions)]
            return Standstill(ended - began, sorted(gaps, reverse=True), source.slowest_s)


async def _longest_gap(fleet: Fleet, partition: int, since_s: float) -> float:
    """Return the longest time between two commits of a partition, of which the later one came after `since_s`."""
    ends = await markers(fleet.settings.bootstrap_servers, fleet.topics.state, partition)
    commits = [end.at_s for end in ends if end.commit]
    return max(later - earlier for earlier, later in pairwise(commits) if later > since_s)
