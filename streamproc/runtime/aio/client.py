"""aiokafka's client, with which a broker that is silent or gone delays nobody for long."""

import asyncio
import logging
import random
import time
from collections.abc import Set as AbstractSet
from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    IncompatibleBrokerVersion,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
)
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest

from streamproc.backoff import Backoff
from streamproc.errors import ConfigError
from streamproc.runtime.aio.codes import error_of
from streamproc.runtime.aio.connection import connection
from streamproc.runtime.aio.contacts import CONTACTS, Unreachable, address_of, trouble_at
from streamproc.runtime.aio.hiding import HiddenTopics, is_led
from streamproc.runtime.config import KafkaSettings

CONNECT_S = 3.0
"""For a connection to come about, versions and log in among it; a process that is frozen takes connections too."""
LOOK_UP_S = 3.0
"""For an answer that any broker can give at once."""
FIRST_AVOIDED_S, LONGEST_AVOIDED_S = 0.25, 2.0
"""How long a broker is left alone that could not be reached; longer each time."""
HIDDEN_S, LEADERLESS_S = (0.1, 5.0), (0.02, 0.25)
"""Before topics are asked for again that are hidden from us, or have no leader; longer each time.

Some of aiokafka's parts ask again at once, for as long as they miss one."""
NEVER = 0.0, 0.0
BOOTSTRAP = "bootstrap"
"""aiokafka's name of the first connection, where the cluster has told of no brokers yet."""

log = logging.getLogger("aiokafka")  # With its lines: they are throttled.


class Client(AIOKafkaClient):
    """Connections to a cluster.

    `lookups`: the connection on which metadata and coordinators are asked for; the other one may be busy for long.
    """

    def __init__(self, settings: KafkaSettings, lookups: ConnectionGroup = ConnectionGroup.COORDINATION) -> None:
        super().__init__(**connection(settings))
        self._topics: set[str] = set()
        self._lookups = lookups
        self._avoided: dict[Any, tuple[float, float]] = {}
        self._hidden_topics, self._lacks = HiddenTopics(), False
        self._of_hidden, self._of_leaderless = Backoff(*HIDDEN_S), Backoff(*LEADERLESS_S)

    @property
    def hidden(self) -> AbstractSet[str]:
        """Topics that the broker does not tell of, for want of a right; what was known of them before stays known."""
        return self._hidden_topics.hidden

    async def bootstrap(self) -> None:
        """Find the brokers; raises KafkaError, Unreachable where it is known why there are none."""
        patience: Any = self._request_timeout_ms
        self._request_timeout_ms: Any = int(CONNECT_S * 1000)
        try:
            await super().bootstrap()
        except KafkaConnectionError as error:
            trouble = trouble_at(self._bootstrap_servers)
            if trouble is None:
                raise
            raise Unreachable(trouble) from error
        finally:
            self._request_timeout_ms = patience

    async def know(self, topics: set[str]) -> None:
        """Learn who leads the partitions of these topics, too; raises nothing."""
        if any(self.cluster.partitions_for_topic(topic) is None for topic in topics):
            self._topics = self._topics | topics
            await self.force_metadata_update()

    async def refresh(self, topics: set[str]) -> None:
        """Ask who leads the partitions of these topics by now; raises nothing."""
        self._topics = self._topics | topics
        await self.force_metadata_update()

    def set_topics(self, topics: Any) -> Any:
        """Know these topics, too: what another part of us reads stays known."""
        return super().set_topics(self._topics | set(topics))

    def get_random_node(self) -> Any:
        """Return a broker to be asked, one that could be reached if there is one."""
        return next(iter(self._by_reach()), None)

    async def send(self, node_id: Any, request: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT) -> Any:
        """Return a broker's answer.

        Raises NodeNotReadyError where nothing was sent, another KafkaError where nobody knows what became of it,
        ConfigError where the broker is too old.
        """
        there = await self._get_conn(node_id, group=group)
        if there is None:
            raise self._unreachable(node_id)
        try:
            return await there.send(request)
        except TimeoutError as error:
            there.close(reason=CloseReason.CONNECTION_TIMEOUT)  # Whoever comes next gets a new one.
            raise RequestTimedOutError from error
        except (NotImplementedError, IncompatibleBrokerVersion) as error:
            raise ConfigError(f"the broker at {there.host}:{there.port} is too old: Kafka 2.5 is needed") from error

    def _unreachable(self, node: Any) -> NodeNotReadyError:
        """Return why a broker is asked nothing."""
        broker = self.cluster.broker_metadata(node)
        trouble = None if broker is None else CONTACTS.trouble({address_of(broker.host, broker.port)})
        return NodeNotReadyError(f"broker {node} cannot be reached") if trouble is None else Unreachable(trouble)

    async def coordinator_lookup(self, coordinator_type: Any, coordinator_key: str) -> Any:
        """Return the broker that coordinates a group or a transactional id; raises KafkaError."""
        node = self.get_random_node()
        if node is None:
            raise CoordinatorNotAvailableError
        response = await self._look_up(node, FindCoordinatorRequest(coordinator_key, coordinator_type))
        error = error_of(response.error_code)
        if error is not None:
            raise error
        return response.coordinator_id

    async def close(self) -> None:
        """Give up the connections."""
        if any(there._requests for there in self._conns.values()):  # noqa: SLF001  it would send them to the end
            self.hang_up()
        await super().close()

    def hang_up(self) -> None:
        """Drop the connections and what is still to be sent on them: it must not arrive later."""
        for there in self._conns.values():
            if there._writer is not None:  # noqa: SLF001
                there._writer.transport.abort()  # noqa: SLF001
            there.close(reason=CloseReason.SHUTDOWN)

    def forget(self, node: Any, group: ConnectionGroup) -> None:
        """Drop the connection to a broker that is silent, and leave it alone for a while."""
        there = self._conns.get((node, group))
        if there is not None:
            there.close(reason=CloseReason.CONNECTION_TIMEOUT)
        self._avoid(node)

    async def _look_up(self, node: Any, request: Any) -> Any:
        """Return a broker's answer to what it knows without asking anybody; raises KafkaError."""
        group = ConnectionGroup.DEFAULT if node == BOOTSTRAP else self._lookups
        try:
            async with asyncio.timeout(LOOK_UP_S):
                return await self.send(node, request, group=group)
        except TimeoutError as error:
            self.forget(node, group)
            raise RequestTimedOutError from error

    async def _get_conn(self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, no_hint: bool = False) -> Any:
        """Return a connection, None where there is none to be had; none is tried more than a few times a second."""
        there = self._conns.get((node_id, group))
        if there is not None and there.connected():
            return there
        if self._avoided.get(node_id, NEVER)[0] > time.monotonic():
            return None
        try:
            async with asyncio.timeout(CONNECT_S):
                there = await super()._get_conn(node_id, group=group, no_hint=no_hint)
        except TimeoutError:
            there = None
            self.force_metadata_update()
        if there is None:
            self._avoid(node_id)
        else:
            self._avoided.pop(node_id, None)
        return there

    def _avoid(self, node: Any) -> None:
        _, before_s = self._avoided.get(node, NEVER)
        wait_s = min(max(FIRST_AVOIDED_S, 2 * before_s), LONGEST_AVOIDED_S)
        self._avoided[node] = time.monotonic() + wait_s, wait_s

    async def _metadata_update(self, cluster_metadata: Any, topics: Any) -> bool:
        """Ask one broker after the other; no topic is made by asking for it."""
        await asyncio.sleep(self._pace())
        request = MetadataRequest(list(topics or ()), allow_auto_topic_creation=False)
        for node in (*self._by_reach(), *(node for node, _ in self._conns if node == BOOTSTRAP)):
            try:
                answer = await self._look_up(node, request)
            except Unreachable:
                continue  # Whoever tried to connect has said so.
            except KafkaError as error:
                log.warning("broker %s does not tell of the cluster: %r", node, error)
                continue
            if not answer.brokers:
                return False
            self._hidden_topics.update(cluster_metadata, answer)
            self._lacks = any(not is_led(cluster_metadata, topic) for topic in topics or ())
            first = self._conns.pop((BOOTSTRAP, ConnectionGroup.DEFAULT), None)
            if first is not None:
                first.close()
            return True
        cluster_metadata.failed_update(None)
        return False

    def _pace(self) -> float:
        """Return how long to wait, where the last answer lacked something that whoever asks again may be after."""
        if self.hidden:
            return self._of_hidden.failed()
        self._of_hidden.succeeded()
        if self._lacks:
            return self._of_leaderless.failed()
        self._of_leaderless.succeeded()
        return 0.0

    def _by_reach(self) -> list[Any]:
        """Return the brokers in random order, those last that could not be reached."""
        now = time.monotonic()
        nodes = [broker.nodeId for broker in self.cluster.brokers()]
        random.shuffle(nodes)  # So that clients spread.
        return sorted(nodes, key=lambda node: self._avoided.get(node, NEVER)[0] > now)
