"""The Prometheus of the demo and of these tests: found or not, started or not, and gone without a trace."""

import asyncio
import os
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest

from streamproc.errors import ConfigError
from streamproc.local.prometheus import CONSOLE_JOB, LocalPrometheus, find_program, local_prometheus
from tests.support import prometheus as prom
from tests.support.debian import COMPILED_IN, INSTEAD
from tests.support.ports import default_ports
from tests.support.waiting import DEADLINE_S, eventually


def executable(path):
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@contextmanager
def demo(environment, *arguments):
    command = [sys.executable, "-m", "streamproc", "demo", "--no-tty", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def environment(tmp_path):
    (tmp_path / "tmp").mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("STREAMPROC_")}
    with default_ports():
        yield {**kept, "TMPDIR": str(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1"}


def test_programs_are_found_under_debians_names_too(tmp_path):
    assert find_program("alertmanager", str(tmp_path)) is None
    debians = executable(tmp_path / "prometheus-alertmanager")
    assert find_program("alertmanager", str(tmp_path)) == debians
    original = executable(tmp_path / "alertmanager")
    assert find_program("alertmanager", str(tmp_path)) == original


async def test_without_it_the_message_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="apt-get install prometheus"):
        async with local_prometheus():
            pass


async def test_one_that_does_not_start_says_why_and_leaves_nothing(monkeypatch, tmp_path):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "broken.yml").write_text("groups: 7")
    with pytest.raises(ConfigError, match=r"ended with code 1\. Its log ends with:(?s:.*)broken\.yml"):
        await LocalPrometheus(prom.program("prometheus")).start([tmp_path / "broken.yml"])
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_it_evaluates_the_shipped_rules():
    async with prom.prometheus(rules=prom.shipped_rules()) as prometheus:

        async def evaluated():
            return await prometheus.query('ALERTS{alertname="StreamprocDown"}')

        await eventually(evaluated)


def test_a_path_inside_a_program_is_replaced_by_one_of_the_same_length():
    assert len(COMPILED_IN) == len(INSTEAD)


def test_the_demo_asks_for_it_before_anything_else(environment, tmp_path):
    with demo({**environment, "PATH": str(tmp_path)}, "--prometheus") as process:
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    assert "prometheus is not in PATH" in errors
    assert "Starting Apache Kafka" not in output


@pytest.mark.kafka
async def test_the_demo_shows_its_own_metrics_in_prometheus_and_leaves_nothing(environment, kafka_bootstrap, tmp_path):
    directory = str(prom.program("prometheus").parent)
    there = {
        **environment,
        "PATH": f"{directory}{os.pathsep}{environment['PATH']}",
        "STREAMPROC_KAFKA__BOOTSTRAP_SERVERS": kafka_bootstrap,
    }
    with demo(there, "--prometheus") as process:
        address = await asyncio.to_thread(read_address, process)

        async def seen():
            return await prom.query(address, "streamproc_events_consumed_total > 0")

        async def console_seen():
            return await prom.query(address, f'streamproc_console_complete{{job="{CONSOLE_JOB}"}}')

        await eventually(seen)
        await eventually(console_seen)
        process.terminate()
        _, errors = await asyncio.to_thread(process.communicate, timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, "")
    assert list((tmp_path / "tmp").iterdir()) == []


def read_address(process):
    for line in process.stdout:
        if found := re.search(r"Prometheus is at (\S+)", line):
            return found[1]
    raise AssertionError(process.stderr.read())
