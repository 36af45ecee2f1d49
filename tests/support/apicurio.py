"""A real schema registry on this machine: Apicurio, from Maven Central's archive, in memory, nothing left behind."""

import asyncio
import os
import signal
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from streamproc.local.kafka import HOST, free_port
from streamproc.local.launch import run_until
from streamproc.local.packages import can_fetch, find_java
from streamproc.local.watchdog import Guarded
from tests.support.caching import Unfetchable, cached

VERSION = "2.6.13.Final"
ARCHIVE_SHA256 = "3cda1b34aa020fb4ac4dd6a66018d757e81e437f97e20a1f92d366b70091c6ba"
START_S = 90
POLL_S = 0.05
LOG_TAIL_LINES = 15
API = "/apis/ccompat/v7"
JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xmx256m")


def fetch() -> Path:
    """Return the directory of the unpacked archive; raises Unfetchable."""
    return cached(f"apicurio-{VERSION}", _fill)


def _fill(scratch: Path) -> Path:
    if not can_fetch():
        raise Unfetchable("the package jgo, which fetches it, is missing: pip install 'streamproc[local]'")
    from jgo.maven import MavenContext

    # The resolver writes into its repository in place: this one goes with the scratch directory.
    project = MavenContext(repo_cache=scratch / "m2").project("io.apicurio", "apicurio-registry-app")
    try:
        archive = project.at_version(VERSION).artifact("all", "tar.gz").resolve()
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
        raise Unfetchable(f"Apicurio Registry cannot be fetched: {type(error).__name__}: {error}") from error
    if (found := sha256(archive.read_bytes()).hexdigest()) != ARCHIVE_SHA256:
        raise AssertionError(f"Apicurio Registry's archive is another one: {found}")
    tree = scratch / "tree"
    with tarfile.open(archive) as file:
        file.extractall(tree, filter="data")
    return tree


class Apicurio:
    """A registry and its life. What was registered goes with the process; ids start anew."""

    def __init__(self, directory: Path, java: Path) -> None:
        self._jar = directory / f"apicurio-registry-app-{VERSION}-runner.jar"
        self._java = java
        self._port = free_port()
        # In a thread and a loop of its own: the loops of tests come and go.
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._runner = asyncio.Runner()
        self._guarded = Guarded()

    @property
    def url(self) -> str:
        """Where Confluent's API is."""
        return f"http://{HOST}:{self._port}{API}"

    def open(self) -> None:
        """Have a process and a directory for it; nothing runs yet."""
        self._call(self._guarded.open())

    def close(self) -> None:
        """End it and remove what it left."""
        self._call(self._guarded.close())
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()

    def start(self) -> None:
        """Run it until it answers."""
        trouble = self._call(run_until(self._guarded, self._ready, START_S, *self._command()))
        if trouble is not None:
            tail = self._guarded.log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
            raise RuntimeError("\n  ".join((f"Apicurio Registry: {trouble}; its log ends with:", *tail)))

    def stop(self) -> None:
        """SIGKILL it."""
        self._call(self._guarded.kill())

    def pause(self) -> None:
        """Let it hang: connections are taken, nothing is answered."""
        os.kill(self._guarded.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self._guarded.pid, signal.SIGCONT)

    def _command(self) -> tuple[str, ...]:
        own = (f"-Djava.io.tmpdir={self._guarded.directory}", f"-Dquarkus.http.host={HOST}")
        return (str(self._java), *JVM, *own, f"-Dquarkus.http.port={self._port}", "-jar", str(self._jar))

    async def _ready(self) -> None:
        while not await asyncio.to_thread(self._answers):
            await asyncio.sleep(POLL_S)

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/subjects", timeout=5) as answer:
                return answer.status == 200
        except (URLError, OSError):
            return False

    def _call(self, coroutine):
        return self._thread.submit(self._runner.run, coroutine).result()


@contextmanager
def apicurio() -> Iterator[Apicurio]:
    """A running registry; raises Unfetchable where there is no way to one."""
    java = find_java()
    if java is None:
        raise Unfetchable("there is no Java 17 or newer: pip install 'streamproc[local]'")
    registry = Apicurio(fetch(), java)
    registry.open()
    try:
        registry.start()
        yield registry
    finally:
        registry.close()
