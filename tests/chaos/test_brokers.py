"""The service on three brokers of which any may go, with its disk: the outputs equal one pass over the input.

The events are ahead of the clock by some minutes, all the time: see test_kills.py.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest

from streamproc.local.kafka import LocalKafka, local_kafka
from streamproc.local.simulate import simulate
from tests.support.chaos import (
    BROKER_FAULTS,
    INSTANCE_FAULTS,
    QUIET_S,
    SETUP,
    Chaos,
    Fault,
    draw,
    memberships,
    shuffled,
)
from tests.support.live import LiveSource
from tests.support.second_stage import check_closed, close
from tests.support.service import Fleet, fleet
from tests.support.waiting import eventually

pytestmark = pytest.mark.kafka

AHEAD_S = 150
PER_SECOND = 400
CATCH_UP_S = 300
FENCED_BY_ITSELF = "another process uses the group instance id"
"""A static member whose coordinator was lost while it joined may be told that another one has its name: its own join
was carried out, and nobody told it so. It joins once more; told so again, it ends with code 1, and is started again."""
BROKERS, INSTANCES = "123", "ab"


async def _survive(
    kafka: LocalKafka, fleet: Fleet, seed: int, brokers: Sequence[Fault], instances: Sequence[Fault], *, static: bool
) -> None:
    """Send events for as long as the faults take, and compare everything with the oracle."""
    print(f"seed {seed}, {'static' if static else 'dynamic'} membership")
    chaos = Chaos(kafka, fleet, memberships(INSTANCES, static=static))
    chaos.start_instances()
    await eventually(fleet.workers[0].is_ready)
    ratios = {"schema_version": "mixed", "bad_ratio": 0.005, "illegal_ratio": 0.002}
    start_ms = int((time.time() + AHEAD_S) * 1000)
    events = simulate(seed=seed, rate_per_s=PER_SECOND, start_ms=start_ms, **ratios)
    source = LiveSource(kafka.bootstrap_servers, fleet.topics.events, events, PER_SECOND)
    sending = asyncio.create_task(source.run())
    await chaos.run(brokers, instances)
    source.end()
    await sending
    print(f"{source.sent} events sent")
    await close(fleet, source.last_ms + QUIET_S * 1000)
    await eventually(fleet.is_done, CATCH_UP_S)
    await check_closed(fleet, SETUP)
    assert chaos.stop_instances() == dict.fromkeys(INSTANCES, 0)
    # A source that was told nothing of a write may double it, idempotent or not: then the oracle reads it twice, too.
    assert await fleet.check() >= source.sent + fleet.partitions
    await chaos.nothing_open()
    assert [words for words in chaos.ended if FENCED_BY_ITSELF not in words] == []


async def test_brokers_and_instances_that_go_cost_nothing(unique: Callable[[str], str], tmp_path: Path) -> None:
    """The short form: some 15,000 events; a broker killed and one frozen, an instance killed and one stopped."""
    brokers = [Fault(2, "broker killed", "1", 5), Fault(2, "broker frozen", "2", 6)]
    instances = [Fault(4, "instance killed", "a", 1), Fault(8, "instance stopped", "b", 2)]
    async with local_kafka(brokers=3) as kafka, fleet(kafka.bootstrap_servers, unique("brokers"), tmp_path) as it:
        await _survive(kafka, it, 3, brokers, instances, static=True)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_brokers_and_instances_long_form(
    unique: Callable[[str], str], tmp_path: Path, seed: int, static: bool
) -> None:
    """Every kind of fault twice in a random order; disks lost, all brokers away for 20 s."""
    random = Random(seed)
    brokers = draw(random, shuffled(random, BROKER_FAULTS, 2), BROKERS)
    instances = draw(random, shuffled(random, INSTANCE_FAULTS, 6), INSTANCES)
    async with local_kafka(brokers=3) as kafka, fleet(kafka.bootstrap_servers, unique("brokers"), tmp_path) as it:
        await _survive(kafka, it, seed, brokers, instances, static=static)
