"""What becomes of an attempt to connect is taken note of, whoever made it: on sockets that answer as they are told."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import BrokerMetadata

from streamproc.runtime.aio import contacts
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.connection import connection
from streamproc.runtime.aio.contacts import Contacts, Unreachable
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.diagnosis import Word
from tests.support.waiting import eventually

HOST = "127.0.0.1"
TLS_ALERT = b"\x15\x03\x03\x00\x02\x02\x50"
METADATA = 3

Take = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Contacts:
    """One that no other test has written to."""
    memory = Contacts()
    monkeypatch.setattr(contacts, "CONTACTS", memory)
    monkeypatch.setattr("streamproc.runtime.aio.client.CONTACTS", memory)
    return memory


@asynccontextmanager
async def server(take: Take) -> AsyncIterator[int]:
    """Serve on a port."""
    listening = await asyncio.start_server(take, HOST, 0)
    yield listening.sockets[0].getsockname()[1]
    listening.close()


@asynccontextmanager
async def client_of(port: int) -> AsyncIterator[Client]:
    """A client that knows of one broker, number 1."""
    client: Any = Client(KafkaSettings())
    client.cluster._brokers = {1: BrokerMetadata(1, HOST, port, None)}
    yield client
    await client.close()


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Answer the question for the versions, as a broker that knows Metadata; return the next request's number."""
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    request = await reader.readexactly(size)
    versions = struct.pack(">hihhh", 0, 1, METADATA, 0, 1)
    writer.write(struct.pack(">i", 4 + len(versions)) + request[4:8] + versions)
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    (number,) = struct.unpack(">i", (await reader.readexactly(size))[4:8])
    return int(number)


async def alert(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer as a port with TLS, and keep the connection."""
    writer.write(TLS_ALERT)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet, and take no request without a log in."""
    await greet(reader, writer)
    writer.close()


async def work(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Greet, and tell of no broker and no topic."""
    number = await greet(reader, writer)
    answer = struct.pack(">iiii", number, 0, -1, 0)
    writer.write(struct.pack(">i", len(answer)) + answer)


async def test_who_asks_a_broker_that_cannot_be_reached_is_told_why(memory: Contacts) -> None:
    """At once, though the other side keeps the connection; and again while the broker is left alone."""
    async with server(alert) as port, client_of(port) as client:
        for _ in range(2):
            with pytest.raises(Unreachable, match=rf"^{HOST}:{port} asks for TLS on this port ") as raised:
                await client.send(1, MetadataRequest([]))
            assert isinstance(raised.value, NodeNotReadyError)
            assert raised.value.word is Word.TLS_WANTED
        assert memory.trouble() == (Word.TLS_WANTED, str(raised.value))


async def test_aiokafkas_own_clients_take_note_as_well(memory: Contacts) -> None:
    """A producer's, say; they tell their callers less."""
    async with server(alert) as port:
        client = AIOKafkaClient(**connection(KafkaSettings(bootstrap_servers=f"{HOST}:{port}")))
        with pytest.raises(KafkaConnectionError):
            await client.bootstrap()
        await client.close()
    trouble = memory.trouble({f"{HOST}:{port}"})
    assert trouble is not None
    assert trouble.word is Word.TLS_WANTED


async def test_a_connection_proves_itself_by_its_first_answer(memory: Contacts) -> None:
    """A port that asks for a log in greets everybody: that ends no trouble, an answer does."""
    async with server(hang_up) as port, client_of(port) as client:
        with pytest.raises(KafkaConnectionError):
            await client.send(1, MetadataRequest([]))
        trouble = memory.trouble()
        assert trouble is not None
        assert trouble.word is Word.LOGIN_WANTED
    async with server(work) as other, client_of(other) as client:
        memory.failed(f"{HOST}:{other}", trouble)
        await client.send(1, MetadataRequest([]))
        assert memory.trouble({f"{HOST}:{other}"}) is None
        assert memory.trouble() == trouble


@pytest.mark.parametrize("patience_s", [0.0, 3_600.0])
async def test_an_attempt_that_is_given_up_after_a_while_had_no_answer(
    memory: Contacts, monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> None:
    """Whoever gives it up, for a deadline of their own; one that is given up at once tells nothing."""
    monkeypatch.setattr(contacts, "SILENT_S", patience_s)
    taken: list[Any] = []

    async def keep(*both: Any) -> None:
        taken.append(both)

    async with server(keep) as port, client_of(port) as client:
        asking = asyncio.create_task(client.send(1, MetadataRequest([])))
        await eventually(lambda: bool(taken))
        asking.cancel()
        await asyncio.wait({asking})
        trouble = memory.trouble()
        assert (None if trouble is None else trouble.word) == (None if patience_s else Word.SILENT)
        for _, writer in taken:
            writer.close()
