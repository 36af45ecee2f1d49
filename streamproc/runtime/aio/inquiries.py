"""Questions to the cluster, by one client that is there for as long as questions come: a worker asks few."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.client import ConnectionGroup
from aiokafka.errors import BrokerResponseError, KafkaError, RequestTimedOutError

from streamproc.errors import BrokerUnavailable
from streamproc.runtime.aio.client import Client
from streamproc.runtime.aio.codes import told
from streamproc.runtime.aio.connection import started, stopped
from streamproc.runtime.config import KafkaSettings

ATTEMPTS = 5
RETRY_S = 0.1
"""Before a question is asked again; twice as long each time."""
ANSWER_S = 5.0
IDLE_S = 5.0
"""After the last answer the connections are given up."""

Answer = TypeVar("Answer")


class Inquiries:
    """Asks, and asks again."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client: Client | None = None
        self._starting = asyncio.Lock()
        self._asking = 0
        self._idle: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def ask(self, question: Callable[[Client], Awaitable[Answer]], answer_s: float = ANSWER_S) -> Answer:
        """Return the answer to a question, which raises KafkaError where it has none.

        Each attempt may take `answer_s`. Raises BrokerUnavailable, ConfigError, what else the question does.
        """
        if self._idle is not None:
            self._idle.cancel()
        self._asking += 1
        try:
            for attempt in range(ATTEMPTS):
                client = await self._connected()
                try:
                    async with asyncio.timeout(answer_s):
                        return await question(client)
                except (KafkaError, TimeoutError) as error:
                    if not isinstance(error, BrokerResponseError) or isinstance(error, RequestTimedOutError):
                        await self._discard(client)  # A new one asks the bootstrap servers where the brokers are now.
                    if attempt == ATTEMPTS - 1:
                        raise BrokerUnavailable(f"Kafka did not answer: {told(error)}") from error
                    await asyncio.sleep(RETRY_S * 2**attempt)
            raise AssertionError  # pragma: no cover  the loop returns or raises
        finally:
            self._asking -= 1
            if not self._asking:
                self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._leave)

    async def close(self) -> None:
        """Give up the connections."""
        if self._idle is not None:
            self._idle.cancel()
        if self._client is not None:
            await self._discard(self._client)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _connected(self) -> Client:
        async with self._starting:
            if self._client is None:
                client = Client(self._settings, ConnectionGroup.DEFAULT)
                await started(client, self._settings)
                self._client = client
            return self._client

    async def _discard(self, client: Client) -> None:
        if client is self._client:
            self._client = None
            await stopped(client)

    def _leave(self) -> None:
        if self._client is not None and not self._asking:
            task = asyncio.create_task(self._discard(self._client))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
