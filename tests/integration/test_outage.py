"""The broker goes away and comes back: the service pauses, says so, and goes on by itself."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamproc.local.kafka import local_kafka
from streamproc.local.simulate import simulate
from streamproc.runtime.aio.group import AioGroup
from tests.support.service import Fleet, Worker, fleet
from tests.support.waiting import eventually


async def test_a_broker_that_goes_away_pauses_the_service(unique: Callable[[str], str], tmp_path: Path) -> None:
    """Killed in mid-commit: alive all the time, not ready, as if nothing had been when it is back; then a stop."""
    async with local_kafka() as kafka, fleet(kafka.bootstrap_servers, unique("outage"), tmp_path) as it:
        start_ms = int(time.time() * 1000)
        await it.send(simulate(seed=6, events=20_000, schema_version="mixed", bad_ratio=0.01, start_ms=start_ms))
        worker = it.start(COMMIT__MAX_RECORDS=100)
        await eventually(
            lambda: {number for topic, number in worker.running() if topic == it.topics.events} == set(range(4))
        )
        await eventually(it.moved)
        await kafka.kill()
        began = time.monotonic()
        await eventually(lambda: _has_noticed(worker, it.topics.events))
        print(f"noticed {time.monotonic() - began:.1f} s after the broker went away")
        await kafka.start_again()
        began = time.monotonic()
        await eventually(it.is_done)
        print(f"caught up {time.monotonic() - began:.1f} s after the broker was back")
        assert worker.process.poll() is None
        await eventually(worker.is_ready)
        assert await it.check() == 20_000
        await kafka.kill()
        began = time.monotonic()
        worker.signal(signal.SIGTERM)
        assert await worker.end() == 0
        print(f"stopped in {time.monotonic() - began:.1f} s without a broker")


async def _has_noticed(worker: Worker, events: str) -> bool:
    """Whether every task of the topic gave up what it was doing; until then and after it, the process is alive."""
    assert worker.process.poll() is None
    assert (await worker.get("/livez"))[0] == 200
    code, _ = await worker.get("/readyz")
    states = {(line["topic"], line["partition"]): line["state"] for line in worker.events("task")}
    return code == 503 and [state for (topic, _), state in states.items() if topic == events] == ["suspended"] * 4


class _Listener:
    def revoked(self) -> None:
        pass

    def assigned(self, partitions: frozenset[int], member: object) -> None:
        pass


async def test_a_poll_does_not_wait_for_the_end_of_a_rebalance(service: Fleet) -> None:
    """It lasts as long as a member hangs, or the broker is away; the worker's loop must go round, and hear a stop."""
    topics = [service.topics.events]
    frozen, member = service.kafka.group(topics), service.kafka.group(topics)
    for group in (frozen, member):
        await group.join(_Listener())
        await eventually(group.confirmed)
    await eventually(frozen.confirmed)
    _coordinator(frozen)._coordination_task.cancel()  # It still sends heartbeats, but joins no new generation.
    _coordinator(member).request_rejoin()
    await eventually(lambda: _rejoins(member))
    for _ in range(3):
        await asyncio.wait_for(member.poll(), 10)
    assert _rejoins(member)
    await asyncio.gather(frozen.leave(), member.leave())


def _coordinator(group: AioGroup) -> Any:
    return group._consumer._coordinator


def _rejoins(group: AioGroup) -> bool:
    return bool(group._consumer._subscription.reassignment_in_progress)
