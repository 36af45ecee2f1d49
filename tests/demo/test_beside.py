"""The demo's console: there while it runs, gone with it, and no harm to it."""

import asyncio
import json
import re
import socket
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil
import pytest

from streamproc.demo.beside import variables
from streamproc.demo.topics import ends
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings, TopicSettings
from streamproc.settings.console import ConsoleSettings
from streamproc.settings.loading import load_settings
from streamproc.settings.service import Settings
from tests.support.commands import assert_adds_up, finished, read_until, running
from tests.support.waiting import DEADLINE_S, eventually

HELD = re.compile(r"^(live runs|rejected) +[\d,]+ +([\d,]+) ", re.MULTILINE)
ANNOUNCED = re.compile(r"^The console is at (\S+)$", re.MULTILINE)


def answer(url):
    with urlopen(url, timeout=DEADLINE_S) as response:
        return response.read()


def consoles(process):
    """Return the consoles that a demo runs."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "console" in child.cmdline()[3:4]]


async def test_the_console_shows_what_the_demo_makes_and_ends_with_it(on_broker, tmp_path):
    """Rule: its address is told at the start and at the end; it leaves nothing behind."""
    arguments = ("demo", "--no-tty", "--seed", "1")
    with running(on_broker, *arguments) as process:
        begun = await asyncio.to_thread(read_until, process, "1  sent")
        url = ANNOUNCED.search(begun)[1]
        assert "<html" in (await asyncio.to_thread(answer, url)).decode()

        async def overview():
            return json.loads(await asyncio.to_thread(answer, f"{url}api/v1/overview"))

        async def shows_runs():
            with suppress(HTTPError):
                return (await overview())["runs"] > 100

        await eventually(shows_runs)
        limits = {each["status"]: each["limit_s"] for each in (await overview())["statuses"]}
        assert limits["queued"] == 15, "the demo's own limits"
        process.terminate()
        rest, errors = await asyncio.to_thread(process.communicate, timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, "")
    assert_adds_up(begun + rest)
    assert f"The console at {url} ends with the demo." in rest
    with pytest.raises(URLError):
        answer(url)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_without_a_console_none_is_told_of(on_broker):
    code, output, errors = finished(on_broker, "demo", "--events", "50", "--no-console")
    assert (code, errors) == (0, "")
    assert_adds_up(output)
    assert "onsole" not in output


def test_a_console_that_cannot_start_is_told_in_one_line_and_the_demo_goes_on(on_broker, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {**on_broker, "STREAMPROC_CONSOLE__PORT": str(port)}
        code, output, errors = finished(environment, "demo", "--events", "50")
    assert (code, errors) == (0, "")
    assert_adds_up(output)
    (told,) = [line for line in output.splitlines() if "There is no console" in line]
    assert f"port {port} on 127.0.0.1 is in use" in told
    assert "ends with the demo" not in output
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_a_console_that_dies_is_told_and_the_demo_goes_on(on_broker):
    with running(on_broker, "demo", "--no-tty") as process:
        begun = await asyncio.to_thread(read_until, process, "1  sent")
        (console,) = consoles(process)
        console.kill()
        await eventually(lambda: not console.is_running())
        process.terminate()
        rest, errors = await asyncio.to_thread(process.communicate, timeout=DEADLINE_S)
    assert process.returncode == 0
    assert_adds_up(begun + rest)
    assert errors == "warning the console has ended: ended with code -9\n"
    assert "ends with the demo" not in rest


def test_the_console_gets_what_the_demo_made_of_its_settings(monkeypatch, tmp_path):
    """Rule: what the demo changes goes over what it was given; the rest the console reads from where the demo did."""
    given = Settings(
        application_id="mine",
        kafka=KafkaSettings(bootstrap_servers="kafka-1:9092"),
        topics=TopicSettings(prefix="demo-1."),
        deadlines={"limits_s": {"queued": 15}, "allowance_s": 2},
        console=ConsoleSettings(port=0, actions=True, links={"logs": "https://logs.example/{run_id}"}),
    )
    monkeypatch.setenv("STREAMPROC_CONSOLE__LINKS__LOGS", "https://logs.example/{run_id}")
    monkeypatch.setenv("STREAMPROC_CONSOLE__ACTIONS", "true")
    for name, value in variables(given, tmp_path / "file").items():
        monkeypatch.setenv(name, value)
    got = load_settings()
    changed = {"actions": False, "database": Path(tmp_path / "file")}
    assert got.console == given.console.model_copy(update=changed)
    for name in ("application_id", "kafka", "topics", "deadlines"):
        assert getattr(got, name) == getattr(given, name)


async def test_a_console_shows_what_the_topics_hold_and_adds_nothing_to_them(on_broker, tmp_path):
    """Rules 27: a console that comes later has the figures of the demo's check, and no group in Kafka."""
    code, output, errors = await asyncio.to_thread(finished, on_broker, "demo", "--events", "1500", "--no-console")
    assert (code, errors) == (0, "")
    prefix = re.search(r"^The topics (\S+)\* stay", output, re.MULTILINE)[1]
    settings = {"TOPICS__PREFIX": prefix, "CONSOLE__PORT": "0", "CONSOLE__DATABASE": str(tmp_path / "read-model")}
    environment = {**on_broker, **{f"STREAMPROC_{name}": value for name, value in settings.items()}}
    kafka = AioKafka(KafkaSettings(bootstrap_servers=on_broker["STREAMPROC_KAFKA__BOOTSTRAP_SERVERS"]), "unused")
    topics = TopicSettings(prefix=prefix).named()
    before = [await ends(kafka, name) for name in topics.by_role().values()]
    with running(environment, "console") as process:
        url = (await asyncio.to_thread(read_until, process, "the console is at")).split()[-1]

        async def has_read_all():
            with suppress(HTTPError):
                return await asyncio.to_thread(answer, f"{url}readyz")

        await eventually(has_read_all)
        shown = json.loads(await asyncio.to_thread(answer, f"{url}api/v1/overview"))
    assert [await ends(kafka, name) for name in topics.by_role().values()] == before
    await kafka.close()
    held = {name: int(counted.replace(",", "")) for name, counted in HELD.findall(output)}
    assert (shown["runs"], shown["dead_letters"]) == (held["live runs"], held["rejected"])
