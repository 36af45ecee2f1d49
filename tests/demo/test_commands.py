"""The commands as a newcomer runs them: child processes on a real broker."""

import asyncio
import re
import signal
import socket
from contextlib import ExitStack, suppress

import psutil
import pytest

from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.topics import ROLES
from tests.support.commands import assert_adds_up, finished, in_terminal, read_until, running
from tests.support.waiting import DEADLINE_S, eventually

pytestmark = pytest.mark.kafka


def test_demo_for_some_seconds_adds_up(on_broker):
    code, output, errors = finished(on_broker, "demo", "--seconds", "8", "--no-tty", "--seed", "1")
    assert code == 0, errors
    assert errors == ""
    assert assert_adds_up(output) > 500
    first, *_ = output.splitlines()
    broker = on_broker["STREAMPROC_KAFKA__BOOTSTRAP_SERVERS"]
    assert first.startswith(f"Uses the Kafka at {broker} (STREAMPROC_KAFKA__BOOTSTRAP_SERVERS): creates topics demo-")
    assert "as they were made" in output, "kinds and verdicts need not match"
    assert len(re.findall(r"^\d+:\d\d  sent ", output, re.MULTILINE)) >= 4


def test_demo_sends_as_many_events_as_told_without_a_terminal(on_broker):
    code, output, errors = finished(on_broker, "demo", "--events", "3000", "--rate", "2000")
    assert (code, errors) == (0, "")
    assert assert_adds_up(output) == 3_000
    assert "\x1b" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_demo_with_a_summary(on_broker, number):
    with running(on_broker, "demo", "--no-tty") as process:
        begun = read_until(process, "2  sent")
        process.send_signal(number)
        output, errors = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, errors) == (0, "")
        assert_adds_up(begun + output)


def test_second_signal_ends_the_demo_at_once(on_broker):
    with running(on_broker, "demo", "--no-tty") as process:
        read_until(process, "1  sent")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # Two of the same signal at the same time are one.
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 130
        assert "nothing was checked" in errors


def test_ctrl_c_in_a_terminal_gives_it_back_and_leaves_no_process(on_broker):
    """Rule: from the picture back to the lines before it, the summary below, and nothing runs on."""
    environment = {**on_broker, "TERM": "xterm-256color"}
    with in_terminal(environment, "demo") as (process, read):
        shown = read("Open runs")
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        shown += read(None)
    assert process.returncode == 0
    assert "Traceback" not in shown
    assert shown.index("\x1b[?1049h") < shown.index("\x1b[?1049l") < shown.index("It adds up")
    assert children
    assert psutil.wait_procs(children, timeout=DEADLINE_S)[1] == []


def test_demo_says_that_the_port_asked_for_is_taken(on_broker):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {**on_broker, "STREAMPROC_HTTP__PORT": str(port)}
        code, _, errors = finished(environment, "demo", "--no-tty", "--seconds", "1")
    assert code == 1
    assert f"port {port} on 127.0.0.1 is in use" in errors


def test_demo_takes_another_port_where_the_default_one_is_taken(on_broker):
    with ExitStack() as stack:
        with suppress(OSError):  # somebody else has it: as good
            stack.enter_context(socket.create_server(("127.0.0.1", 8080)))
        code, output, errors = finished(on_broker, "demo", "--events", "50", "--no-tty")
    assert (code, errors) == (0, "")
    assert_adds_up(output)


async def test_demo_with_its_own_broker_leaves_nothing(environment, tmp_path):
    code, output, errors = await asyncio.to_thread(finished, environment, "demo", "--events", "300", "--no-tty")
    assert (code, errors) == (0, "")
    assert_adds_up(output)
    assert output.startswith("Uses a Kafka of its own")
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_demo_that_is_killed_leaves_nothing(environment, tmp_path):
    with running(environment, "demo", "--no-tty") as process:
        await asyncio.to_thread(read_until, process, "1  sent")
        assert list((tmp_path / "tmp").iterdir())
        process.kill()
    await eventually(lambda: not list((tmp_path / "tmp").iterdir()))


async def test_kafka_runs_until_interrupted_and_leaves_nothing(environment, tmp_path):
    with running(environment, "kafka") as process:
        address = re.search(r"bootstrap servers: (\S+)", await asyncio.to_thread(read_until, process, "bootstrap"))[1]
        export = process.stdout.readline().strip()
        assert export == f"export STREAMPROC_KAFKA__BOOTSTRAP_SERVERS={address}"
        name, value = export.removeprefix("export ").split("=")
        code, output, errors = await asyncio.to_thread(finished, {**environment, name: value}, "topics", "create")
        assert (code, errors) == (0, "")
        assert output.count("created ") == len(ROLES)
        process.send_signal(signal.SIGINT)
        rest, _ = await asyncio.to_thread(process.communicate, timeout=DEADLINE_S)
        assert (process.returncode, rest) == (0, "")
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_simulate_sends_as_many_as_told(on_broker, kafka_bootstrap, unique):
    prefix = f"{unique('simulate')}-"
    environment = {**on_broker, "STREAMPROC_TOPICS__PREFIX": prefix}
    code, _, errors = await asyncio.to_thread(finished, environment, "simulate", "--events", "1000")
    assert code == 1
    assert f"{prefix}run-events does not exist" in errors
    await asyncio.to_thread(finished, environment, "topics", "create", "--partitions", "2")
    code, output, errors = await asyncio.to_thread(finished, environment, "simulate", "--events", "1000", "--seed", "3")
    assert (code, errors) == (0, "")
    assert f"sent 1,000 records to {prefix}run-events" in output
    assert sum(int(count) for count in re.findall(r"^  \S+ +(\d+)$", output, re.MULTILINE)) == 1_000
    assert await records(kafka_bootstrap, f"{prefix}run-events", 2) == 1_000


async def test_simulate_ends_when_interrupted(on_broker, kafka_bootstrap, unique):
    prefix = f"{unique('simulate')}-"
    environment = {**on_broker, "STREAMPROC_TOPICS__PREFIX": prefix}
    await asyncio.to_thread(finished, environment, "topics", "create", "--partitions", "1")

    async def some() -> bool:
        return await records(kafka_bootstrap, f"{prefix}run-events", 1) > 1

    with running(environment, "simulate", "--rate", "5") as process:
        await eventually(some)
        process.send_signal(signal.SIGINT)
        output, errors = await asyncio.to_thread(process.communicate, timeout=DEADLINE_S)
        assert (process.returncode, errors) == (0, "sending until Ctrl-C\n")
    count = int(re.search(r"sent (\d+) records", output)[1])
    assert 0 < count < 500
    assert await records(kafka_bootstrap, f"{prefix}run-events", 1) == count


async def records(bootstrap, topic, partitions):
    """Count the records by the offsets: a plain producer leaves no gaps."""
    kafka = AioKafka(KafkaSettings(bootstrap_servers=bootstrap), "unused")
    bounds = [await kafka.bounds(topic, partition) for partition in range(partitions)]
    await kafka.close()
    return sum(last - first for first, last in bounds)
