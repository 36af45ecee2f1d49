"""One Kafka process on this machine: a broker and controller, with its data, its log and its faults.

It knows other nodes only by its settings; kafka.py makes a cluster of nodes.
"""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

from streamproc.errors import BrokerUnavailable
from streamproc.local import packages
from streamproc.local.launch import run_until
from streamproc.local.watchdog import Guarded

FORMAT_DEADLINE_S = 60.0
START_DEADLINE_S = 90.0
POLL_S = 0.05
LOG_TAIL_LINES = 15

_CLUSTER_ID = "c3RyZWFtcHJvYy1sb2NhbA"  # 16 bytes, as Kafka wants them; of no consequence
_VOTES = "__cluster_metadata-0"
_READY = b"Kafka Server started"
_JVM = (
    # The broker shares few cores with the programs beside it. On 2 cores after 2 million records, in CPU seconds
    # for a million records: 3.2 to 4.6 with these two flags; 4.9 to 6.5 with the optimising compiler (it never pays,
    # because the work is copying); 4.2 to 5.9 with that and the default collector. The start is half a second shorter.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    # As java.io.tmpdir below: a SIGKILLed JVM leaves its files in the system's temporary directory.
    "-XX:-UsePerfData",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",  # says when it is ready
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss,SSS",
)


class Node:
    """A broker and its life: start, then any fault and start_again, then stop. Belongs to the event loop it started in.

    It has its own watchdog: however the owner ends, the process and its directory are removed.
    """

    def __init__(
        self, number: int, address: str, settings: Mapping[str, str], data_dir: Path | None, heap_mb: int
    ) -> None:
        """Nothing runs yet.

        Args:
            number: its `node.id`.
            address: host:port at which it answers clients.
            settings: server.properties without the data directory.
            data_dir: for the data, kept after `stop`; None: in `directory`.
            heap_mb: the heap of the JVM.
        """
        self.number = number
        self.address = address
        self._settings = settings
        self._kept = data_dir
        self._heap_mb = heap_mb
        self._java = Path()
        self._guarded = Guarded()

    @property
    def directory(self) -> Path:
        """The broker's files except those in `data_dir`; deleted by `stop`."""
        return self._guarded.directory

    @property
    def pid(self) -> int:
        """The broker's process id; the last one where none runs."""
        return self._guarded.pid

    @property
    def is_running(self) -> bool:
        """Whether there is a process, frozen or not."""
        return self._guarded.exit is not None

    async def start(self, java: Path) -> None:
        """Format the storage where it is new, and run the broker until it answers.

        Raises:
            BrokerUnavailable: it does not start; the message ends with its log.
            OSError: no process or no temporary directory can be had.
        """
        self._java = java
        await self._guarded.open()
        await self._format()
        await self.start_again()

    async def kill(self) -> None:
        """SIGKILL the broker, frozen or not; its data stay for `start_again`."""
        await self._guarded.kill()

    async def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and says nothing, until `thaw` or `kill`."""
        await self._guarded.signal(signal.SIGSTOP)

    async def thaw(self) -> None:
        """Let a frozen broker go on."""
        await self._guarded.signal(signal.SIGCONT)

    async def lose_disk(self) -> None:
        """Kill the broker, delete its topics, and start it with an empty disk: it must fetch them from the others.

        Raises what `start_again` raises.
        """
        await self.kill()
        await asyncio.to_thread(_empty, self._data_dir)
        await self._format()
        await self.start_again()

    async def start_again(self) -> None:
        """Run the broker on the same port and data; of several, it is up only once most of them are.

        Raises:
            BrokerUnavailable: it ends, or does not answer in time; the message ends with its log.
        """
        if self.is_running:
            raise RuntimeError(f"broker {self.number} is running; kill() it first")
        command = (*self._jvm(f"-Xmx{self._heap_mb}m"), "kafka.Kafka", "server.properties")
        trouble = await run_until(self._guarded, self._ready, START_DEADLINE_S, *command)
        if trouble is not None:
            raise unavailable(f"Kafka on {self.address}: {trouble}", self._guarded.log_file)

    def let_go(self) -> None:
        """Make the watchdog stop the broker and remove its files, without waiting for it."""
        self._guarded.let_go()

    async def stop(self) -> None:
        """End the broker, frozen or not, and remove what it left; harmless when nothing runs."""
        await self._guarded.close()

    @property
    def _data_dir(self) -> Path:
        return self._kept or self.directory / "data"

    async def _format(self) -> None:
        settings = {**self._settings, "log.dirs": str(self._data_dir)}
        text = "".join(f"{key}={value}\n" for key, value in settings.items())
        (self.directory / "server.properties").write_text(text, encoding="utf-8")
        tool = ("kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", _CLUSTER_ID, "-c", "server.properties")
        await finish(self._guarded, FORMAT_DEADLINE_S, "Kafka could not format its storage", *self._jvm(), *tool)

    async def _ready(self) -> None:
        log_file = self._guarded.log_file
        while _READY not in log_file.read_bytes() or not await _answers(self.address):  # noqa: ASYNC110 - a file
            await asyncio.sleep(POLL_S)

    def _jvm(self, *flags: str) -> tuple[str, ...]:
        own = f"-Djava.io.tmpdir={self.directory}"
        return (str(self._java), *_JVM, own, *flags, "-cp", f"{packages.jar_directory()}/*")


async def finish(guarded: Guarded, deadline_s: float, failure: str, *command: str) -> None:
    """Run a command until it succeeds; else raises BrokerUnavailable with `failure` and the end of the log."""
    exited = await guarded.run(*command)
    await asyncio.wait((exited,), timeout=deadline_s)
    if not exited.done() or exited.result() != 0:
        raise unavailable(failure, guarded.log_file)


def unavailable(message: str, log_file: Path) -> BrokerUnavailable:
    """Return the error for a broker that failed, with the end of the log, and the way out."""
    with contextlib.suppress(OSError):
        tail = log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        message = "\n  ".join((f"{message}. The log ends with:", *tail))
    return BrokerUnavailable(f"{message}\nA Kafka of your own does as well: STREAMPROC_KAFKA__BOOTSTRAP_SERVERS.")


def _empty(data_dir: Path) -> None:
    """Remove all data but the controllers' log.

    A controller without its vote may not come back: the others may still take it for their leader, so that it ends with
    "inconsistent with current leader"; or it votes a second time in the same epoch.
    """
    for place in data_dir.iterdir():
        if place.name == _VOTES:
            continue
        shutil.rmtree(place) if place.is_dir() else place.unlink()


async def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True
