"""What a worker left under way when it stalled or gave up comes too late, whatever it was."""

import asyncio
from typing import Any

import pytest
from aiokafka.client import CoordinationType
from aiokafka.errors import RequestTimedOutError
from aiokafka.protocol.transaction import EndTxnRequest

from streamproc.errors import TaskInvalid
from streamproc.local.simulate import simulate
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import error_of
from streamproc.runtime.aio.coordinators import Coordinator, one_code
from streamproc.runtime.aio.transactions import AioTransactions, transactional_id
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import Committed, TopicPartition
from tests.support.service import Fleet

GHOST, TRUE = (b"ghost", b"no value of ours", 1_000, []), (b"true", b"v", 1_000, [])
FENCED = "InvalidProducerEpoch", "ProducerFencedError"
LONG_MS = 900_000
"""Nothing of a zombie's ends by itself within a test."""


class Zombie:
    """A producer that stalls in front of the end of its commit."""

    def __init__(self, service: Fleet, source: TopicPartition) -> None:
        bootstrap = service.settings.bootstrap_servers
        settings = KafkaSettings(
            bootstrap_servers=bootstrap, transaction_timeout_ms=LONG_MS, session_timeout_ms=LONG_MS
        )
        self.transactions = AioTransactions(settings, service.name, source)
        self._send, self.transactions._client.send = self.transactions._client.send, self._stalling
        self._id = transactional_id(service.name, source)
        self._settings = settings
        self._stalled, self._wakes = asyncio.Event(), asyncio.Event()
        self._loses = False
        self.end: Any = None

    async def commit_to(self, place: TopicPartition, record: Any, source: TopicPartition, offset: int) -> Any:
        """Return the commit in hand, once nothing but its end is missing."""
        await self.transactions.fence()
        commit = self.transactions.commit({place: [record]}, {source: Committed(offset, "")})
        committing, stalled = asyncio.create_task(commit), asyncio.create_task(self._stalled.wait())
        await asyncio.wait((committing, stalled), return_when=asyncio.FIRST_COMPLETED)
        assert not committing.done(), await committing
        return committing

    def wake(self, *, loses: bool = False) -> None:
        """Go on; `loses`: the end is sent and has no answer, as far as the producer knows."""
        self._loses = loses
        self._wakes.set()

    async def arrives(self) -> str:
        """Return what the broker says when the end arrives only now."""
        client = Client(self._settings)
        await client.bootstrap()
        try:
            answer = await Coordinator(client, CoordinationType.TRANSACTION, self._id).ask(self.end, one_code)
            error = error_of(answer.error_code)
            return "" if error is None else type(error).__name__
        finally:
            await client.close()

    async def _stalling(self, node: Any, request: Any, **group: Any) -> Any:
        if isinstance(request, EndTxnRequest):
            self.end = request
            self._stalled.set()
            await self._wakes.wait()
            if self._loses:
                raise RequestTimedOutError
        return await self._send(node, request, **group)


async def test_a_zombie_in_mid_commit_is_ended_before_anything_is_restored(service: Fleet) -> None:
    """rules.md 7: its offsets are not stable, its records hold back the state topic; its id is not the lowest one."""
    events = list(simulate(seed=5, events=400, bad_ratio=0))
    worker = service.start()
    await service.send(events[:200])
    await service.drained()
    assert worker.stop() == 0
    source, state = service.source(2), TopicPartition(service.topics.state, 2)
    zombie = Zombie(service, source)
    committing = await zombie.commit_to(state, GHOST, source, 0)
    assert source not in await service.kafka.stable([source])
    assert (await service.kafka.bounds(*state))[1] < await service.kafka.high_watermark(*state)

    service.start()
    await service.send(events[200:])
    await service.drained()
    zombie.wake()
    with pytest.raises(TaskInvalid, match=r"INVALID_PRODUCER_EPOCH|PRODUCER_FENCED"):
        await committing
    assert await service.check() == 400
    assert not [record for record in await service.read(*state) if record.key == GHOST[0]]


async def test_an_end_that_arrives_late_ends_nothing(service: Fleet) -> None:
    """rules.md 3: the next commit has another epoch; of the same it would be ended in the middle."""
    source, out = service.source(0), TopicPartition(service.topics.transitions, 0)
    late, next_one = Zombie(service, source), Zombie(service, source)
    committing = await late.commit_to(out, GHOST, source, 7)
    late.wake(loses=True)
    with pytest.raises(TaskInvalid, match="REQUEST_TIMED_OUT"):
        await committing
    await late.transactions.close()

    committing = await next_one.commit_to(out, TRUE, source, 3)
    assert await late.arrives() in FENCED
    assert await service.kafka.stable([source]) == {}
    next_one.wake()
    await committing
    await next_one.transactions.fence()  # Waits until the markers are written.
    await next_one.transactions.close()
    assert [record.key for record in await service.read(*out)] == [TRUE[0]]
    assert await service.kafka.committed(source) == Committed(3, "")
