"""aiokafka's clients are stopped whatever they do: connection.stopped() takes a bounded time and raises nothing."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio import connection
from streamproc.runtime.config import KafkaSettings


class Client:
    """Stops as `behaviour` says, and remembers whether its connections were closed."""

    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour
        self._client = SimpleNamespace(close=self._disconnect)
        self.disconnected = False
        self._sender = SimpleNamespace(sender_task=None)

    async def start(self) -> None:
        """Fail."""
        raise KafkaError("no")

    async def stop(self) -> None:
        """As told."""
        if self.behaviour == "hangs":
            self._sender.sender_task = asyncio.create_task(self._send())
            await asyncio.sleep(3_600)
        if self.behaviour == "cancelled":
            raise asyncio.CancelledError
        if self.behaviour == "fails":
            raise KafkaError("no")
        await self._disconnect()

    async def _send(self) -> None:
        """Swallow the first cancellation, as aiokafka's sender does while requests are in flight."""
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            await asyncio.sleep(3_600)

    async def _disconnect(self) -> None:
        self.disconnected = True


async def _ticks() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT_S", 0.05)


@pytest.mark.parametrize("behaviour", ["ends", "hangs", "cancelled", "fails"])
async def test_a_client_is_stopped_and_leaves_nothing(behaviour: str) -> None:
    """Neither connections nor tasks; and no CancelledError that would end the partition's task (seen in an outage)."""
    client, before = Client(behaviour), asyncio.all_tasks()
    await connection.stopped(client)
    assert client.disconnected
    await _ticks()
    assert asyncio.all_tasks() == before


async def test_whoever_stops_a_client_can_be_cancelled() -> None:
    """A deadline of theirs gets through, and still no task is left: one that swallows its end would hang the exit."""
    before = asyncio.all_tasks()
    stopping: asyncio.Task[Any] = asyncio.create_task(connection.stopped(Client("hangs")))
    await _ticks()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await _ticks()
    assert asyncio.all_tasks() == before


async def test_a_client_that_does_not_start_says_what_to_check() -> None:
    """And is stopped, however badly that goes."""
    client = Client("cancelled")
    with pytest.raises(
        BrokerUnavailable, match=r"cannot connect to Kafka at there:9.*STREAMPROC_KAFKA__BOOTSTRAP_SERVERS"
    ):
        await connection.started(client, KafkaSettings(bootstrap_servers="there:9"))
    assert client.disconnected
