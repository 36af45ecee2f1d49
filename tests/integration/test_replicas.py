"""Too few in-sync replicas of one partition: it waits and says why, and the others go on."""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streamproc.local.kafka import local_kafka
from streamproc.local.simulate import simulate
from tests.support.cluster import Cluster
from tests.support.live import LiveSource
from tests.support.service import MAX_RECORD_BYTES, Fleet, Worker, fleet
from tests.support.waiting import eventually

pytestmark = pytest.mark.kafka

SHORT_OF_ONE = [[1, 3], [1, 2], [2, 1], [2, 1]]
"""The brokers of each partition of the state topic: without the third one partition 0 is below min.insync.replicas."""
TABLE = {
    "cleanup.policy": "compact",
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(4 * MAX_RECORD_BYTES),
}
PER_SECOND = 200
REASONS = "NOT_ENOUGH_REPLICAS", "REQUEST_TIMED_OUT, its replicas do not acknowledge"
"""The latter where the broker went while a batch waited for its copy: the partition is not tried again by writing."""
SAID_WITHIN_S = 90
"""A hang's end."""


async def test_a_partition_without_enough_replicas_is_named_and_the_others_go_on(
    unique: Callable[[str], str], tmp_path: Path
) -> None:
    """/readyz names topic, partition and the broker's reason; it passes again by itself, and nothing is lost."""
    name = unique("replicas")
    async with local_kafka(brokers=3) as kafka:
        await Cluster(kafka.bootstrap_servers).create(f"{name}-run-state", SHORT_OF_ONE, TABLE)
        async with fleet(kafka.bootstrap_servers, name, tmp_path) as it:
            worker = it.start()
            await eventually(worker.is_ready)
            events = simulate(seed=4, rate_per_s=PER_SECOND, start_ms=int(time.time() * 1000))
            source = LiveSource(kafka.bootstrap_servers, it.topics.events, events, PER_SECOND)
            sending = asyncio.create_task(source.run())
            try:
                await eventually(it.moved)
                await kafka.kill(3)
                await eventually(lambda: _says_so(worker, it.topics.state), SAID_WITHIN_S)
                before = await _committed(it)
                await eventually(lambda: _all_but_the_first_moved(it, before), SAID_WITHIN_S)
                await kafka.start_again(3)
            finally:
                source.end()
                await sending
            await eventually(it.is_done)
            await eventually(worker.is_ready)
            assert await it.check() == source.sent


async def _says_so(worker: Worker, topic: str) -> bool:
    await asyncio.sleep(0.5)  # It may take a while, on two cores that it shares.
    code, body = await worker.get("/readyz")
    named = re.search(rf"{re.escape(topic)}\W+(partitions? )?0\b", body)
    return code == 503 and named is not None and any(reason in body for reason in REASONS)


async def _committed(fleet: Fleet) -> list[int]:
    found = [await fleet.kafka.committed(fleet.source(partition)) for partition in range(fleet.partitions)]
    return [each.offset if each else 0 for each in found]


async def _all_but_the_first_moved(fleet: Fleet, before: list[int]) -> bool:
    now = await _committed(fleet)
    assert now[0] == before[0]
    return all(offset > earlier for offset, earlier in list(zip(now, before, strict=True))[1:])
