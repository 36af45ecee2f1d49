"""The image as its Dockerfile builds it, for real, and what runs in it: as another user, on a read-only root."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamproc.local.kafka import free_port
from tests.support.image import ROOT, Image, built, missing
from tests.support.waiting import DEADLINE_S, eventually

pytestmark = pytest.mark.slow
WITHOUT_A_MARKER = r"^([a-z0-9-]+)==([^ ]+) \\$"


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Build it once: six minutes."""
    if reason := missing():
        pytest.skip(reason)
    with built() as made:
        yield made


def test_it_runs_as_somebody_who_may_write_nowhere_but_where_it_keeps_its_state(image):
    assert image.run("id", "-u").stdout == "10001\n"
    assert "Read-only file system" in image.run("touch", "/opt/streamproc/here").stderr
    assert image.run("touch", "/var/lib/streamproc/here").returncode == 0
    (effective,) = re.findall(r"CapEff:\s+(\w+)", image.run("cat", "/proc/self/status").stdout)
    assert int(effective, 16) == 0


def test_the_command_line_runs(image):
    assert image.run("streamproc", "--version").stdout.startswith("streamproc ")
    described = image.run("streamproc", "describe", STATE__DIRECTORY="/var/lib/streamproc")
    assert json.loads(described.stdout)["settings"]["http"]["host"] == "0.0.0.0"


def test_the_native_codec_is_in_it(image):
    found = image.run("python", "-c", "from streamproc.native import CODEC; print(CODEC.name)")
    assert found.stdout == "native\n", found.stderr


@pytest.mark.parametrize("module", ["pip", "setuptools", "hatchling", "cyclonedx_py"])
def test_nothing_that_installs_or_builds_is_left(image, module):
    assert "ModuleNotFoundError" in image.run("python", "-c", f"import {module}").stderr
    assert [*image.root.glob("usr/local/bin/pip*"), *image.root.glob("usr/local/lib/python3*/ensurepip")] == []


def test_its_packages_are_listed_and_are_those_of_the_lock(image):
    listed = json.loads((image.root / "usr/share/streamproc/sbom/streamproc.cdx.json").read_text())
    assert (listed["bomFormat"], listed["metadata"]["component"]["name"]) == ("CycloneDX", "streamproc")
    found = {name(part["name"]): part["version"] for part in listed["components"]}
    assert found.pop("streamproc-native")
    locked = (ROOT / "requirements/runtime.lock").read_text()
    here = dict(re.findall(WITHOUT_A_MARKER, locked, re.MULTILINE))
    assert here.items() <= found.items()
    assert found.keys() <= set(re.findall(r"^([a-z0-9-]+)==", locked, re.MULTILINE))


def test_its_crates_are_listed(image):
    """As the build of the native codec has them."""
    listed = json.loads((image.root / "usr/share/streamproc/sbom/streamproc-native.cyclonedx.json").read_text())
    crates = set(re.findall(r'^name = "(.+)"$', (ROOT / "native/Cargo.lock").read_text(), re.MULTILINE))
    assert {"pyo3", "crc32c"} <= {part["name"] for part in listed["components"]} <= crates


def test_it_says_what_it_is_and_how_to_ask_whether_it_lives(image):
    config = image.about["Docker"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "streamproc.healthcheck"]
    assert (config["Entrypoint"], config["Cmd"]) == (["streamproc"], ["run"])


async def test_the_service_runs_in_it_is_found_alive_and_ends_when_told(image, kafka_bootstrap, unique, tmp_path):
    name = unique("image")
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap,
        "TOPICS__PREFIX": f"{name}-",
        "APPLICATION_ID": name,
        "STATE__DIRECTORY": "/var/lib/streamproc",
        "HTTP__PORT": free_port(),
    }
    topics = image.run("streamproc", "topics", "create", "--partitions", "2", **settings)
    assert topics.returncode == 0, topics.stderr
    assert image.run("python", "-m", "streamproc.healthcheck", **settings).returncode == 1
    command, environment = image.command("streamproc", "run"), image.environment(**settings)
    log = tmp_path / "log"
    with log.open("wb") as stream, subprocess.Popen(command, env=environment, stdout=stream, stderr=stream) as process:
        try:
            await eventually(lambda: image.run("python", "-m", "streamproc.healthcheck", **settings).returncode == 0)
            # Of its own process table it is the first, as in a container: nobody there but itself hears for it.
            (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            subprocess.run(["kill", f"-{signal.SIGTERM.name.removeprefix('SIG')}", first], check=True)
            assert process.wait(DEADLINE_S) == 0, log.read_text()
        finally:
            process.kill()


def name(package):
    """As the lock writes it."""
    return re.sub(r"[-_.]+", "-", package).lower()
