"""Broken connections that aiokafka takes for something else, or for nothing: they are an outage, and no more."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, RequestTimedOutError
from aiokafka.protocol.metadata import MetadataRequest

from streamproc.errors import BrokerUnavailable, ConfigError, TaskInvalid
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.aio.connection import connection
from streamproc.runtime.aio.feed import AioFeed
from streamproc.runtime.aio.group import AioGroup
from streamproc.runtime.aio.producer import AioProducer
from streamproc.runtime.aio.transactions import AioTransactions
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import NewTopic, TopicPartition

NODE = 0, ConnectionGroup.DEFAULT


@pytest.fixture(autouse=True)
def _mended() -> None:
    """Whoever connects does so with these options."""
    connection(KafkaSettings())


class Reset:
    """A transport of uvloop's after a reset that nobody has heard of yet."""

    closed = False

    def write(self, _data: bytes) -> None:
        """Refuse."""
        message = "unable to perform operation on <TCPTransport>; the handler is closed"
        raise RuntimeError(message)

    def close(self) -> None:
        """Take note."""
        self.closed = True


async def test_a_transport_that_refuses_to_write_is_a_broken_connection() -> None:
    """As a RuntimeError it ended aiokafka's metadata task, its fetches, or the service (aiokafka#1038)."""
    to: Any = AIOKafkaConnection("broker", 9092)
    to._versions = {3: (0, 8)}
    to._writer, to._reader = writer, _ = Reset(), asyncio.StreamReader()
    to._read_task = asyncio.create_task(asyncio.sleep(3_600))
    with pytest.raises(KafkaConnectionError, match=r"broker:9092 broken: .*closed"):
        to.send(MetadataRequest([]))
    assert writer.closed
    assert not to.connected()


async def test_versions_that_do_not_fit_are_no_broken_connection() -> None:
    """A NotImplementedError, which is a RuntimeError: trying again would not help."""
    to: Any = AIOKafkaConnection("broker", 9092)
    to._versions, to._writer = {3: (50, 60)}, Reset()
    with pytest.raises(NotImplementedError):
        to.send(MetadataRequest([]))


async def test_a_timeout_on_a_connection_that_is_gone_already_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a long standstill a refresh of the metadata drops it first: a KeyError, and no fetch any more."""
    client: Any = AIOKafkaClient()

    async def ready(_node: int, **_group: Any) -> bool:
        return True

    async def late() -> None:
        del client._conns[NODE]
        raise TimeoutError

    monkeypatch.setattr(client, "ready", ready)
    client._conns[NODE] = SimpleNamespace(send=lambda *_, **__: late())
    with pytest.raises(RequestTimedOutError):
        await client.send(0, MetadataRequest([]))


async def _ended() -> None:
    pass


@pytest.mark.parametrize("of", ["feed", "group"])
async def test_a_consumer_whose_own_task_has_ended_is_an_outage(of: str) -> None:
    """It would find no coordinator for ever, and nobody would know."""
    user: Any = AioFeed(KafkaSettings(), "group", "t") if of == "feed" else AioGroup(KafkaSettings(), "group", ["t"])
    task = asyncio.create_task(_ended())
    await task
    user._consumer._client._sync_task = task
    with pytest.raises(BrokerUnavailable, match="has ended"):
        await (user.fetch(0.1) if of == "feed" else user.poll())
    user._consumer._client._sync_task = None
    await user._consumer.stop()


@pytest.mark.parametrize("servers", ["kafka:port", "[::1:9092", "a..b:9092", f"{'x' * 70}:9092"])
async def test_bootstrap_servers_that_are_none_are_named(servers: str) -> None:
    """With the setting."""
    kafka = AioKafka(KafkaSettings(bootstrap_servers=servers), "group")
    with pytest.raises(ConfigError, match="STREAMPROC_KAFKA__BOOTSTRAP_SERVERS"):
        await kafka.partition_count("t")


async def test_a_cluster_without_a_controller_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """During an election; aiokafka ends with an AttributeError."""
    monkeypatch.setattr("streamproc.runtime.aio.inquiries.RETRY_S", 0.0)
    asked: list[bool] = []
    client = SimpleNamespace(cluster=SimpleNamespace(controller=None), force_metadata_update=lambda: _update(asked))
    client.start = client.stop = _ended
    monkeypatch.setattr("streamproc.runtime.aio.inquiries.Client", lambda *_: client)
    with pytest.raises(BrokerUnavailable, match="NOT_CONTROLLER"):
        await AioKafka(KafkaSettings(), "group").create([NewTopic("t", 1, {})])
    assert len(asked) > 1


async def _update(asked: list[bool]) -> None:
    asked.append(True)


async def test_a_broker_that_names_no_brokers_yet_starts_no_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aiokafka asserts that there are some."""
    monkeypatch.setattr(KafkaSettings, "request_timeout_ms", 50)
    transactions = AioTransactions(KafkaSettings(), "group", TopicPartition("t", 0))
    monkeypatch.setattr(transactions._client, "bootstrap", _ended)
    with pytest.raises(TaskInvalid, match="COORDINATOR_NOT_AVAILABLE"):
        await transactions.fence()
    await transactions.close()


async def test_what_a_source_has_sent_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker is away aiokafka's flush never returns."""
    monkeypatch.setattr(KafkaSettings, "request_timeout_ms", 50)
    producer = AioProducer(KafkaSettings(), "t")
    monkeypatch.setattr(producer._producer, "flush", lambda: asyncio.sleep(3_600))
    with pytest.raises(BrokerUnavailable, match="did not take what was sent"):
        await producer.__aexit__(None, None, None)
