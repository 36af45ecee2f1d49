"""The documentation is true: every file that it shows is read, every command that it shows is run, and prints that.

A page is one session: its titled blocks are files of one directory, its console blocks are run in their order, on a
real Kafka with topics of its own. Where a command's output is shown, it is waited for; a command that goes on after
that is interrupted, as its reader would.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import warnings
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from streamproc.local.kafka import local_kafka
from streamproc.settings.loading import load_settings
from tests.docs.pages import ANY, PAGES, ROOT, Block, Command, blocks, commands, is_printed
from tests.support import clients
from tests.support.waiting import DEADLINE_S, POLL_S, Deadline

SET_UP = re.compile(
    r"^(make |python3 -m venv|pip install|mvn |npm |docker |helm |kubectl |kustomize |curl |kafka-acls)"
)
"""What a newcomer does once, on a machine that has nothing yet: `.ci/run` does it, or a test of its own."""
BEGINNINGS = ("README.md", "tutorial.md", "operating.md")
"""Pages that begin with nothing."""
PROGRAM = re.compile(rf"\b({'|'.join(clients.FOUND)}) ")
"""What not every machine has, or the libraries for it: without it the rest of its block is left out, with a warning."""
SESSIONS = [page for page in PAGES if any(block.language == "console" for block in blocks(page))]
INTERRUPTED_S = 20.0
OTHERS = [block for page in PAGES for block in blocks(page) if block.language not in ("console", "python", "")]
PYTHON = [block for page in PAGES for block in blocks(page) if block.language == "python" and block.title is None]


def _name(block: Block) -> str:
    return f"{block.page}:{block.line}"


class Session:
    """A shell in which a page's commands are run one by one."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.directory = directory
        self.environment = environment
        self.running: list[subprocess.Popen[bytes]] = []

    def run(self, command: Command, where: str) -> None:
        """Run a command; wait for what is shown of it, or for its end."""
        if re.fullmatch(r"export \w+=\S*", command.line):
            return  # What a page exports is an address, which the session has already.
        log = self.directory / f"output-{len(self.running)}"
        with log.open("wb") as out:
            line = f"exec 2>&1; {command.line.removesuffix('&')}"
            process = subprocess.Popen(
                ["bash", "-c", line], cwd=self.directory, env=self.environment, stdout=out, start_new_session=True
            )
        self.running.append(process)
        deadline = Deadline(DEADLINE_S)
        while not _is_done(command, process, log) and not deadline.is_over():
            time.sleep(POLL_S)
        said = f"{where}: {command.line}\n{_text(log)}"
        assert is_printed(command.printed, _text(log)), said
        assert command.lasts or process.returncode in (None, 0), said
        if not command.lasts and process.poll() is None:
            _interrupt(process)

    def end(self) -> None:
        """End what goes on."""
        for process in reversed(self.running):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(DEADLINE_S)


def _is_done(command: Command, process: subprocess.Popen[bytes], log: Path) -> bool:
    """Whether it came to its end, or has printed all that is shown of it."""
    if process.poll() is not None or (command.lasts and not command.printed):
        return True
    return command.printed[-1:] not in ((), (ANY,)) and is_printed(command.printed, _text(log))


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """End a command that has shown what its page says: how long a client of others takes to leave is theirs."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(INTERRUPTED_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _text(log: Path) -> str:
    return log.read_text(errors="replace")


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    """A directory with the schemas in it, and a Kafka of its own: pages name topics as they are named by default."""
    for name, place in (("schemas", ROOT / "schemas"), ("jars", clients.jars()), ("node_modules", clients.modules())):
        if place is not None:
            (tmp_path / name).symlink_to(place)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("STREAMPROC_")}
    async with local_kafka() as kafka:
        environment |= {
            "PATH": ":".join(map(str, (Path(sys.executable).parent, *clients.places(), os.environ["PATH"]))),
            "STREAMPROC_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "STREAMPROC_HTTP__PORT": "0",
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "120",
        }
        found = Session(tmp_path, environment)
        yield found
        found.end()


@pytest.mark.kafka
@pytest.mark.parametrize("page", SESSIONS, ids=lambda page: str(page.relative_to(ROOT)))
async def test_every_command_of_a_page_does_what_it_shows(page: Path, session: Session) -> None:
    """In the order of the page. A guide takes for granted that there are topics, and a service that runs."""
    if page.name not in BEGINNINGS:
        for line in ("streamproc topics create", "streamproc run &"):
            await asyncio.to_thread(session.run, Command(line, ()), page.name)
    await asyncio.to_thread(_run, page, session)


def _run(page: Path, session: Session) -> None:
    for block in blocks(page):
        if block.title is not None:
            (session.directory / block.title).write_text(block.body)
        if block.language != "console":
            continue
        for command in commands(block):
            if (found := PROGRAM.search(command.line)) and clients.FOUND[found[1]]() is None:
                warnings.warn(f"{_name(block)}: not run here ({found[1]}: see tests/support/clients.py)", stacklevel=2)
                break
            if not SET_UP.match(command.line):
                session.run(command, _name(block))


@pytest.mark.parametrize("block", PYTHON, ids=_name)
def test_every_piece_of_python_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On its own, beside the files that its page names."""
    for other in blocks(ROOT / block.page):
        if other.title is not None:
            (tmp_path / other.title).write_text(other.body)
    monkeypatch.chdir(tmp_path)
    exec(compile(block.body, _name(block), "exec"), {})


@pytest.mark.parametrize("block", OTHERS, ids=_name)
def test_every_other_block_is_what_it_says(block: Block, tmp_path: Path) -> None:
    """TOML is a configuration that the service takes; JSON, YAML and XML can be read; a program is run by its page."""
    match block.language:
        case "toml":
            file = tmp_path / "streamproc.toml"
            file.write_text(block.body)
            tomllib.loads(block.body)
            load_settings(file)
        case "json":
            json.loads(block.body)
        case "yaml":
            list(yaml.safe_load_all(block.body))
        case "xml":
            _same_versions(ET.fromstring(block.body))
        case "java" | "javascript":
            session = [other for other in blocks(ROOT / block.page) if other.language == "console"]
            words = {word for other in session for command in commands(other) for word in command.line.split()}
            assert block.title in words
        case _:
            pytest.fail(f"nobody tests {block.language}")


def _same_versions(project: ET.Element) -> None:
    """Assert that a project wants what the tests run with."""
    parts = ("groupId", "artifactId", "version")
    wanted = [":".join(one.findtext(part, "") for part in parts) for one in project.findall(".//dependency")]
    assert wanted == [f"{name}:{version}" for name, version in clients.JARS.items()]


def test_pages_install_the_versions_that_are_tested() -> None:
    """Of npm's packages; the `pom.xml` is compared above."""
    lines = [command.line for page in SESSIONS for block in blocks(page) for command in commands(block)]
    found = {name for line in lines if line.startswith("npm install ") for name in line.split()[2:]}
    assert found == {f"{name}@{version}" for name, version in clients.MODULES.items()}
