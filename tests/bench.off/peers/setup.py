"""What each peer needs, fetched when it is asked for: jars and a compiled class, or a virtual environment of its own.

All of it is kept in the user's cache, whole or not at all.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from streamproc.local.packages import KAFKA_VERSION, can_fetch
from tests.support.caching import Unfetchable, cached

HERE = Path(__file__).parent
SCHEMAS = HERE.parents[2] / "schemas"
JARS = f"org.apache.kafka:kafka-streams:{KAFKA_VERSION}+org.apache.avro:avro:1.12.0+org.slf4j:slf4j-simple:1.7.36"
QUIX, FAUST, BYTEWAX = "quixstreams==3.28.1", "faust-streaming==0.15.3", "bytewax==0.21.1"
BESIDES = ("confluent-kafka", "fastavro", "cramjam")


class Work(NamedTuple):
    """What a peer is started for: the broker, the topics, the compression of what it writes, a directory of its own."""

    bootstrap: str
    events: str
    transitions: str
    partitions: int
    compression: str
    directory: Path


class Start(NamedTuple):
    """How a process is started."""

    command: list[str]
    environment: dict[str, str]


class Peer(NamedTuple):
    """A peer: its name and version, what it guarantees, and what makes it ready to start."""

    name: str
    guarantee: str
    ready: Callable[[], Callable[[Work], Start]]


def _streams() -> Callable[[Work], Start]:
    java, javac = shutil.which("java"), shutil.which("javac")
    if java is None or javac is None:
        raise Unfetchable("Kafka Streams needs `java` and `javac` (17 or newer) on the PATH")
    jars = cached(f"bench-kafka-streams-{KAFKA_VERSION}", _fetch_jars)

    def start(work: Work) -> Start:
        classes = work.directory / "classes"
        subprocess.run(
            [javac, "--release", "17", "-cp", f"{jars}/*", "-d", str(classes), str(HERE / "StreamsJob.java")],
            check=True,
        )
        flags = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", f"-Djava.io.tmpdir={work.directory}"]
        job = [work.bootstrap, work.events, work.transitions, work.compression, "exactly_once_v2"]
        places = [str(work.directory / "state"), str(SCHEMAS), str(HERE)]
        return Start([java, *flags, "-cp", f"{classes}:{jars}/*", "StreamsJob", *job, *places], dict(os.environ))

    return start


def _fetch_jars(scratch: Path) -> Path:
    if not can_fetch():
        raise Unfetchable("the package jgo, which fetches jars, is missing: pip install 'streamproc[local]'")
    os.environ.update(JGO_CACHE_DIR=str(scratch / "jgo"), M2_REPO=str(scratch / "m2"))
    from jgo import build

    jars = scratch / "jars"
    jars.mkdir()
    for jar in build(JARS).all_jars:
        shutil.copyfile(jar, jars / jar.name)
    return jars


def _python(requirement: str, command: Callable[[Work], list[str]], **environment: str) -> Callable[[Work], Start]:
    """Return what starts a job in the requirement's environment, which is made where it is missing."""
    here = cached(f"bench-{requirement.replace('==', '-')}", lambda scratch: _venv(scratch / "venv", requirement))

    def start(work: Work) -> Start:
        job = (work.bootstrap, work.events, work.transitions, work.compression)
        given = {
            "PEER_JOB": " ".join((*job, environment.get("GUARANTEE", "none"), str(work.directory))),
            "PEER_PARTITIONS": str(work.partitions),
            "PYTHONPATH": str(HERE),
        }
        return Start([str(here / "bin" / "python"), *command(work)], os.environ | given | environment)

    return start


def _venv(target: Path, requirement: str) -> Path:
    subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
    pip = [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
    try:
        subprocess.run([*pip, requirement, *BESIDES], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise Unfetchable(f"{requirement} cannot be installed: {error.stderr.strip().splitlines()[-1:]}") from error
    return target


def _quix(guarantee: str, **environment: str) -> Callable[[], Callable[[Work], Start]]:
    def command(work: Work) -> list[str]:
        job = [work.bootstrap, work.events, work.transitions, work.compression, guarantee]
        return [str(HERE / "quix_job.py"), *job, str(work.directory / "state")]

    return lambda: _python(QUIX, command, **environment)


def _faust(guarantee: str) -> Callable[[], Callable[[Work], Start]]:
    return lambda: _python(FAUST, lambda _: [str(HERE / "faust_job.py")], GUARANTEE=guarantee)


def _bytewax() -> Callable[[Work], Start]:
    def command(work: Work) -> list[str]:
        # The recovery store as their guide makes it: one partition, a snapshot every 10 s.
        subprocess.run([*python, "bytewax.recovery", str(work.directory), "1"], check=True)
        return ["-m", "bytewax.run", "bytewax_job", "-r", str(work.directory), "-s", "10", "-b", "0"]

    start = _python(BYTEWAX, command)
    python = [str(cached(f"bench-{BYTEWAX.replace('==', '-')}", Path) / "bin" / "python"), "-m"]
    return start


PEERS: Mapping[str, Peer] = {
    "streams": Peer(f"Kafka Streams {KAFKA_VERSION}", "exactly once", _streams),
    "quix": Peer("Quix Streams 3.28.1", "exactly once, commits every 5 s", _quix("exactly-once")),
    "quix-fast": Peer(
        "Quix Streams 3.28.1", "exactly once, commits every 0.1 s", _quix("exactly-once", COMMIT_S="0.1")
    ),
    "quix-once": Peer("Quix Streams 3.28.1", "at least once", _quix("at-least-once")),
    "faust": Peer("Faust 0.15.3", "at least once", _faust("at_least_once")),
    "faust-exactly": Peer("Faust 0.15.3", "exactly once", _faust("exactly_once")),
    "bytewax": Peer("Bytewax 0.21.1", "at least once", _bytewax),
}
