"""The console beside a service on a real Kafka: killed, started again, its topics made anew."""

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from aiokafka import AIOKafkaProducer

from streamproc.console.intake import Intake
from streamproc.console.model.database import Database
from streamproc.console.model.runs import RunTable
from streamproc.console.model.writing import write
from streamproc.console.queries.view import View
from streamproc.core.profiles import ASSISTANTS
from streamproc.local.simulate import simulate
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.topics import create_topics
from streamproc.settings.service import Settings
from tests.observe.reading import samples
from tests.support.readmodel import contents
from tests.support.service import MAX_RECORD_BYTES, Fleet
from tests.support.waiting import eventually

LIMITS = Settings().rules().deadlines
PER_SECOND = 400


class Console:
    """A console as a child process."""

    def __init__(self, fleet: Fleet, database: Path, **settings: object) -> None:
        environment = fleet.environment(CONSOLE__DATABASE=database, CONSOLE__PORT=0, **settings)
        self.log = database.with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamproc", "console"], env=environment, stdout=subprocess.PIPE, stderr=log
            )
        self.url = ""

    async def listening(self) -> None:
        """Wait until it says where it is."""
        assert self.process.stdout is not None
        while "http://" not in self.url:
            line = await asyncio.to_thread(self.process.stdout.readline)
            assert line, self.log.read_text()
            self.url = line.decode().partition("http://")[1] + line.decode().partition("http://")[2].strip()

    async def get(self, path: str) -> tuple[int, Any]:
        """Ask the API."""
        return await asyncio.to_thread(_asked, f"{self.url}api/v1{path}")

    async def post(self, path: str, body: dict[str, Any], **headers: str) -> tuple[int, Any]:
        """Ask for an action."""
        request = Request(f"{self.url}api/v1{path}", json.dumps(body).encode(), headers)
        return await asyncio.to_thread(_asked, request)

    async def figures(self) -> dict[Any, float]:
        """Scrape it, without credentials; return the console's own samples, by what is behind streamproc_console_."""

        def scraped() -> str:
            with urlopen(f"{self.url}metrics", timeout=60) as response:
                return str(response.read().decode())

        found = samples(await asyncio.to_thread(scraped))
        return {
            (key[0].removeprefix("streamproc_console_"), *key[1:]): value
            for key, value in found.items()
            if key[0].startswith("streamproc_console_")
        }

    async def has_read_everything(self) -> bool:
        """Whether it says so."""
        status, health = await self.get("/health")
        return status == 200 and health["status"] == "ok"

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(60)


def _asked(request: str | Request) -> tuple[int, Any]:
    try:
        with urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        return error.code, json.load(error)


@asynccontextmanager
async def console(fleet: Fleet, database: Path, **settings: object) -> AsyncIterator[Console]:
    """Run a console until it has read everything, and on; it must end in good order, without a trace in its log."""
    it = Console(fleet, database, **settings)
    try:
        await it.listening()
        yield it
        assert it.stop() == 0
        assert "Traceback" not in it.log.read_text()
    finally:
        it.kill()


def _read_so_far(database: Path) -> int:
    """Return how many offsets a console has written."""
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as found:
            (total,) = found.execute("SELECT coalesce(sum(next), 0) FROM positions").fetchone()
            return int(total)
    except sqlite3.Error:  # It is not there yet, or just being made.
        return 0


async def _in_one_go(fleet: Fleet, directory: Path) -> dict[str, list[Any]]:
    """Return what the read model must hold: every record of every topic, each partition read from its beginning."""
    intake = Intake(fleet.topics)
    view = View(fleet.topics.events, LIMITS, ASSISTANTS, ())
    with closing(Database(directory / "oracle.sqlite", {})) as oracle:
        for topic in intake.topics:
            for number in range(await fleet.kafka.partition_count(topic)):
                records = await fleet.read(topic, number)
                if records:
                    place = TopicPartition(topic, number)
                    batch = intake.batch({place: records}, {place: records[-1].offset + 1})
                    write(oracle, RunTable(view.ends_first, ()), batch)
        assert not intake.unreadable
        return contents(oracle)


def _written(database: Path) -> dict[str, list[Any]]:
    """Return what a console's file holds; it must have stopped."""
    with closing(sqlite3.connect(database)) as found:
        identity = dict(found.execute("SELECT name, value FROM meta"))["identity"]
    it = Database.__new__(Database)
    it.writer = sqlite3.connect(database)
    try:
        assert identity
        return contents(it)
    finally:
        it.writer.close()


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
async def test_killed_while_it_writes_the_read_model_is_what_the_topics_say(
    service: Fleet, tmp_path: Path, kills: int
) -> None:
    """Offsets and rows are one transaction: killed anywhere, nothing is missing and nothing is twice."""
    rng, database = Random(kills), tmp_path / "console.sqlite"
    worker = service.start(WINDOWS__SIZES_S="[5]", WINDOWS__GRACE_S=1)
    events = simulate(seed=5, events=PER_SECOND * (2 * kills + 4), bad_ratio=0.01)
    sending = asyncio.create_task(service.send(events, PER_SECOND))
    for _ in range(kills):
        it = Console(service, database)
        try:
            # From one of the next transactions to another: somewhere in it.
            aim = _read_so_far(database) + rng.randrange(1, PER_SECOND)
            await eventually(lambda aim=aim: _read_so_far(database) >= aim or sending.done())
        finally:
            it.kill()
    await sending
    await service.drained()
    # A graceful stop ends what is under way: from then on the topics stay as they are.
    assert worker.stop() == 0
    async with console(service, database) as last:
        await eventually(last.has_read_everything)
        _, said = await last.get("/runs?limit=1")
    expected = await _in_one_go(service, tmp_path)
    assert _written(database) == expected
    assert said["total"] == len(expected["runs"]) > 0
    assert len(expected["letters"]) > 0


async def test_two_consoles_side_by_side_and_what_one_run_went_through(service: Fleet, tmp_path: Path) -> None:
    """Each has a file of its own; both answer alike: where each arrival lies, and what became of it."""
    service.start()
    await service.send(simulate(seed=7, events=600, bad_ratio=0.02))
    await service.drained()
    async with console(service, tmp_path / "one.sqlite") as one, console(service, tmp_path / "two.sqlite") as two:
        await eventually(one.has_read_everything)
        await eventually(two.has_read_everything)
        _, found = await one.get("/runs?outcome=failed&limit=5")
        assert found["items"]
        run_id = found["items"][0]["run_id"]
        for it in (one, two):
            status, detail = await it.get(f"/runs/{run_id}")
            assert status == 200
            assert detail["run"]["status"] == "failed"
            assert detail["object"]["id"] == run_id
            assert detail["object"]["status"] == "failed"
            _, history = await it.get(f"/runs/{run_id}/history")
            applied = [step for step in history["items"] if step["verdict"] == "applied"]
            assert len(applied) == detail["run"]["transitions"]
            assert applied[-1]["source_offset"] <= detail["run"]["source_offset"]
        _, statuses = await one.get("/values?qualifier=status&prefix=fail")
        assert [value for value, _ in statuses["items"]] == ["failed"]
        assert statuses["as_of"]["partitions"].keys() == found["as_of"]["partitions"].keys()
        status, problem = await one.get("/runs/no-such-run")
        assert (status, problem["status"]) == (404, 404)
        # The instance reports every 5 s: nobody had to be asked for it.
        await eventually(lambda: _owned(one))


async def _owned(it: Console) -> bool:
    status, pipeline = await it.get("/pipeline")
    if status != 200:
        return False
    return {each["state"] for each in pipeline["items"]} == {"running"} and len(pipeline["instances"]) == 1


async def test_topics_made_anew_are_noticed_and_read_from_their_beginning(service: Fleet, tmp_path: Path) -> None:
    """While the console is away: what was read of the topics before is shown no more."""
    database = tmp_path / "console.sqlite"
    worker = service.start()
    await service.send(simulate(seed=8, events=300, bad_ratio=0))
    await service.drained()
    assert worker.stop() == 0
    async with console(service, database) as it:
        await eventually(it.has_read_everything)
        _, before = await it.get("/runs?limit=1")
    assert before["total"] > 0
    gone = [service.topics.state, service.topics.transitions]
    await service.administer(lambda admin: admin.delete_topics(gone))
    await eventually(lambda: _are_gone(service, gone))
    await create_topics(service.kafka, service.topics, service.partitions, MAX_RECORD_BYTES)
    async with console(service, database) as it:
        await eventually(it.has_read_everything)
        _, after = await it.get("/runs?limit=1")
        assert after["total"] == 0


@pytest.mark.slow
async def test_a_topic_made_anew_and_as_long_is_noticed_while_the_console_runs(service: Fleet, tmp_path: Path) -> None:
    """At its next look, though each offset that it would read next is there."""
    topic = service.topics.state
    worker = service.start()
    await service.send(simulate(seed=9, events=100, bad_ratio=0))
    await service.drained()
    assert worker.stop() == 0
    async with console(service, tmp_path / "console.sqlite") as it:
        await eventually(it.has_read_everything)
        ends = [await service.kafka.high_watermark(topic, number) for number in range(service.partitions)]
        # Held, so that it cannot see the topic shorter than it was.
        it.process.send_signal(signal.SIGSTOP)
        await service.administer(lambda admin: admin.delete_topics([topic]))
        await eventually(lambda: _are_gone(service, [topic]))
        await create_topics(service.kafka, service.topics, service.partitions, MAX_RECORD_BYTES)
        async with AIOKafkaProducer(bootstrap_servers=service.settings.bootstrap_servers) as producer:
            for number, end in enumerate(ends):
                for _ in range(end + 5):
                    await producer.send(topic, None, b"nobody", number)
        it.process.send_signal(signal.SIGCONT)
        await eventually(lambda: _has_runs(it, 0))


async def _has_runs(it: Console, count: int) -> bool:
    status, found = await it.get("/runs?limit=1")
    return status == 200 and found["total"] == count


async def _are_gone(fleet: Fleet, topics: list[str]) -> bool:
    return not await fleet.kafka.topics(topics)


async def test_dead_letters_are_sent_back_by_an_operator_once(service: Fleet, tmp_path: Path) -> None:
    """A dry run tells the number, the number is confirmed, and it is done; a second time there is nothing to do."""
    service.start(INPUT__UNKNOWN_STATUSES="reject")
    bad = json.dumps({"id": "run_odd", "status": "sleeping"}).encode()
    await service.send_records((b"run_odd", bad, int(time.time() * 1_000), []))
    await eventually(service.is_done)
    tokens = tmp_path / "tokens"
    command = [sys.executable, "-m", "streamproc", "console", "token", "olga", "--operator", "--payloads"]
    secret, line = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[:2]
    tokens.write_text(f"{line}\n")
    settings = {"CONSOLE__TOKENS_FILE": tokens, "CONSOLE__ACTIONS": "true"}
    async with console(service, tmp_path / "console.sqlite", **settings) as it:
        right = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
        assert (await it.get("/dead-letters"))[0] == 401
        await eventually(lambda: _letters(it, right, 1))
        status, dry = await it.post("/dead-letters/replay", {"dry_run": True, "reason": "unknown_status"}, **right)
        assert (status, dry["to_replay"]) == (200, 1)
        wrong = {"dry_run": False, "reason": "unknown_status", "expected": 2}
        status, problem = await it.post("/dead-letters/replay", wrong, **right)
        assert (status, problem["now"]) == (409, 1)
        status, done = await it.post("/dead-letters/replay", {**wrong, "expected": 1}, **right)
        assert (status, done["replayed"]) == (200, 1)
        status, again = await it.post("/dead-letters/replay", {"dry_run": True, "places": [[0, 0]]}, **right)
        assert (status, again["to_replay"]) == (200, 0)
        # The service rejects it once more: the first letter is closed, the second is open.
        await eventually(lambda: _letters(it, right, 2))
        figures = await it.figures()
    assert {outcome: figures["replays_total", ("outcome", outcome)] for outcome in ("sent", "changed", "failed")} == {
        "sent": 1,
        "changed": 1,
        "failed": 0,
    }
    assert figures["complete",] == 1
    assert figures["records_read_total",] > 0
    assert figures["runs",] == 0
    assert figures["requests_total", ("route", "/api/v1/dead-letters/replay"), ("status", "2xx")] == 3
    audit = [json.loads(each) for each in it.log.read_text().splitlines() if "console.audit" in each]
    assert [(each["caller"], each.get("replayed")) for each in audit] == [("olga", None), ("olga", 1)]


async def _letters(it: Console, headers: dict[str, str], count: int) -> bool:
    request = Request(f"{it.url}api/v1/dead-letters", headers=headers)
    status, found = await asyncio.to_thread(_asked, request)
    if status != 200:
        return False
    return len(found["items"]) == count and sum(group["open"] for group in found["groups"]) == 1
