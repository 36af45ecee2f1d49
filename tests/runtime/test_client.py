"""A broker that is silent or gone holds up nobody for long, and is not asked on and on."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    KafkaConnectionError,
    NodeNotReadyError,
    RequestTimedOutError,
)
from aiokafka.protocol.metadata import MetadataRequest, MetadataResponse_v5
from aiokafka.structs import BrokerMetadata

from streamproc.errors import ConfigError
from streamproc.runtime.aio import client as module
from streamproc.runtime.aio.client import Client
from streamproc.runtime.config import KafkaSettings

HOST = "127.0.0.1"


class Server:
    """Takes connections, and says nothing on them."""

    def __init__(self) -> None:
        self.connections = 0
        self._open: list[asyncio.StreamWriter] = []

    async def take(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take note of a connection, and keep it."""
        self.connections += 1
        self._open.append(writer)

    def close(self) -> None:
        """Give up the connections."""
        for writer in self._open:
            writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[tuple[Server, int]]:
    """A server and its port."""
    server = Server()
    listening = await asyncio.start_server(server.take, HOST, 0)
    yield server, listening.sockets[0].getsockname()[1]
    server.close()
    listening.close()


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A client that knows of no brokers yet."""
    monkeypatch.setattr(module, "CONNECT_S", 0.05)
    monkeypatch.setattr(module, "LOOK_UP_S", 0.05)
    client: Any = Client(KafkaSettings())
    client.updates = 0

    def update() -> Any:
        client.updates += 1
        done = asyncio.get_running_loop().create_future()
        done.set_result(True)
        return done

    client.force_metadata_update = update
    yield client
    await client.close()


def know(client: Any, **ports: int) -> None:
    """Have the client know brokers, by the name of a node and its port."""
    client.cluster._brokers = {node: BrokerMetadata(node, HOST, port, None) for node, port in ports.items()}


class Connection:
    """One that is there, and answers as it is told."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.closed: list[Any] = []
        self.asked: list[Any] = []
        self.host, self.port, self._writer, self._requests = HOST, 1, None, ()

    def connected(self) -> bool:
        """Whether it was not closed."""
        return not self.closed

    def close(self, reason: Any = None) -> Any:
        """Take note."""
        self.closed.append(reason)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def send(self, request: Any) -> Any:
        """Answer."""
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.sleep(3_600)
        return self.answer


async def test_a_broker_that_takes_connections_and_says_nothing_is_given_up_soon(
    client: Any, silent: tuple[Server, int]
) -> None:
    """Frozen, it still does so; without a bound the log in would wait for as long as any request may take."""
    server, port = silent
    know(client, frozen=port)
    with pytest.raises(NodeNotReadyError):
        await client.send("frozen", MetadataRequest([]))
    assert (server.connections, client.updates) == (1, 1)


async def test_a_broker_that_cannot_be_reached_is_left_alone_for_a_while(
    client: Any, silent: tuple[Server, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer each time; 190 attempts a second were seen."""
    server, port = silent
    know(client, frozen=port)
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    for _ in range(100):
        clock.now += 0.1
        with pytest.raises(NodeNotReadyError):
            await client.send("frozen", MetadataRequest([]))
    assert 5 <= server.connections <= 12


async def test_another_broker_is_asked_where_one_is_silent(client: Any) -> None:
    """And at first, the next time."""
    there = Connection(SimpleNamespace(error_code=0, coordinator_id=7))
    know(client, silent=1, there=2)
    client._conns = {("silent", ConnectionGroup.COORDINATION): Connection(None)}
    client._conns["there", ConnectionGroup.COORDINATION] = there
    found = []
    for _ in range(50):
        try:
            found.append(await client.coordinator_lookup(CoordinationType.GROUP, "group"))
        except RequestTimedOutError:
            client._conns["silent", ConnectionGroup.COORDINATION] = Connection(None)
    assert len(found) >= 49
    assert {client.get_random_node() for _ in range(20)} == {"there"}


async def test_metadata_are_asked_of_one_broker_after_the_other_and_make_no_topics(client: Any) -> None:
    """A broker with its default settings makes what it is asked for."""
    answer = MetadataResponse_v5(0, [(1, HOST, 9, None)], None, 1, [])
    there, gone = Connection(answer), Connection(KafkaConnectionError())
    know(client, a=1, b=2)
    for node, each in (("a", gone), ("b", there)):
        client._conns[node, ConnectionGroup.COORDINATION] = each
    client.set_topics(["one"])
    client.set_topics(["other"])
    assert await client._metadata_update(client.cluster, client._topics)
    (request,) = there.asked
    assert (sorted(request._topics), request._allow_auto_topic_creation) == (["one", "other"], False)
    assert [broker.nodeId for broker in client.cluster.brokers()] == [1]
    know(client, a=1)
    assert not await client._metadata_update(client.cluster, set())


async def test_what_a_broker_does_not_answer_is_told_from_what_was_not_sent(client: Any) -> None:
    """Only the latter may be asked again without a thought."""
    know(client, a=1)
    late = client._conns["a", ConnectionGroup.DEFAULT] = Connection(TimeoutError())
    with pytest.raises(RequestTimedOutError):
        await client.send("a", MetadataRequest([]))
    assert late.closed, "whoever comes next gets a new connection"
    client._conns["a", ConnectionGroup.DEFAULT] = Connection(KafkaConnectionError("reset"))
    with pytest.raises(KafkaConnectionError):
        await client.send("a", MetadataRequest([]))
    with pytest.raises(NodeNotReadyError):
        await client.send("nobody knows it", MetadataRequest([]))


async def test_a_broker_that_is_too_old_is_named(client: Any) -> None:
    """Nothing that is retried helps."""
    know(client, a=1)
    client._conns["a", ConnectionGroup.DEFAULT] = Connection(NotImplementedError("v0"))
    with pytest.raises(ConfigError, match=rf"{HOST}:1 is too old: Kafka 2.5"):
        await client.send("a", MetadataRequest([]))


async def test_a_cluster_that_names_no_brokers_has_no_coordinator(client: Any) -> None:
    """Aiokafka asserts that there are some."""
    with pytest.raises(CoordinatorNotAvailableError):
        await client.coordinator_lookup(CoordinationType.TRANSACTION, "id")


async def test_what_is_known_of_a_topic_is_not_asked_for_again(client: Any) -> None:
    """Once for each that is new."""
    client.cluster._partitions = {"known": {0: None}}
    await client.know({"known"})
    assert client.updates == 0
    await client.know({"known", "new"})
    assert (client.updates, client._topics) == (1, {"known", "new"})


async def test_whoever_hangs_up_sends_nothing_more(client: Any) -> None:
    """A request that waits for a broker to wake up would arrive in another transaction."""
    aborted: list[bool] = []
    there: Any = Connection(None)
    there._requests = ("under way",)
    there._writer = SimpleNamespace(transport=SimpleNamespace(abort=lambda: aborted.append(True)))
    client._conns["a", ConnectionGroup.DEFAULT] = there
    await client.close()
    assert aborted == [True]
    assert there.closed


def told(*topics: tuple[int, str, int]) -> Any:
    """Return an answer: of each topic an error, and who leads its only partition."""
    entries = [(code, name, False, [] if code else [(0, 0, leader, [1], [1], [])]) for code, name, leader in topics]
    return MetadataResponse_v5(0, [(1, HOST, 9, None)], "cluster", 1, entries)


async def test_a_topic_that_is_hidden_stays_as_it_was_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """rules.md 28: taken for gone, nobody would be dealt its partitions. Another one stays unknown."""
    client: Any = Client(KafkaSettings())
    know(client, one=9)
    answers = [told((0, "ours", 1)), told((29, "ours", 0), (29, "other", 0)), told((0, "ours", 1), (0, "other", 1))]
    waits: list[float] = []

    async def look_up(*_: Any) -> Any:
        return answers[0] if len(answers) == 1 else answers.pop(0)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(client, "_look_up", look_up)
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    topics = {"ours", "other"}
    await client._metadata_update(client.cluster, topics)
    assert not client.hidden
    await client._metadata_update(client.cluster, topics)
    assert client.hidden == {"ours", "other"}
    assert client.cluster.partitions_for_topic("ours") == {0}
    assert client.cluster.partitions_for_topic("other") is None
    await client._metadata_update(client.cluster, topics)
    assert not client.hidden
    assert client.cluster.partitions_for_topic("other") == {0}
    await client._metadata_update(client.cluster, topics)
    assert waits[0] == waits[3] == 0
    assert waits[2] > 0


@pytest.mark.parametrize(
    ("answer", "longest_s"), [((29, "ours", 0), 5.0), ((3, "ours", 0), 0.25), ((0, "ours", -1), 0.25)]
)
async def test_what_lacks_in_an_answer_is_not_asked_for_on_and_on(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str, int], longest_s: float
) -> None:
    """Whoever asks again at once, as aiokafka's fetcher does where a partition has no leader, waits ever longer."""
    client: Any = Client(KafkaSettings())
    know(client, one=9)
    waits: list[float] = []

    async def look_up(*_: Any) -> Any:
        return told(answer)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(client, "_look_up", look_up)
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    for _ in range(20):
        await client._metadata_update(client.cluster, {"ours"})
    assert waits[0] == 0
    assert all(wait > 0 for wait in waits[1:])
    assert longest_s / 2 <= waits[-1] <= longest_s
