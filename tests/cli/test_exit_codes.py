"""Exit codes: the list, and each of them. Signals while a command is loaded: tests/test_command_line.py."""

import os
import signal
import subprocess
import sys

import pytest

from streamproc import __main__ as entry
from streamproc.cli.main import _code_of
from streamproc.cli.shell import WrongUsage
from streamproc.errors import BrokerUnavailable
from streamproc.exitcodes import MEANINGS, ExitCode
from streamproc.interrupts import Interrupted
from tests.support.clirun import environment, run, unread

PRINTS_IN_A_LOOP = """
import streamproc.app
from streamproc.cli.shell import out
from streamproc.printing import print_line

async def with_dead_letters(*_):
    for number in range(100):
        print_line(out, "x" * 1_000)

streamproc.app.with_dead_letters = with_dead_letters
"""
WAITS = """
import os, sys
import streamproc.replay

def replay(*_, **__):
    print("reading", flush=True)
    sys.stdin.read()

streamproc.replay.replay = replay
from streamproc.__main__ import main
main()
"""


def test_each_code_has_a_meaning():
    """And the entry point, which imports nothing, the same ones."""
    assert MEANINGS.keys() == set(ExitCode)
    assert (entry.INTERRUPTED, entry.TERMINATED) == (ExitCode.INTERRUPTED, ExitCode.TERMINATED)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], ExitCode.DONE),
        (["flyy"], ExitCode.WRONG_USAGE),
        (["rights", "--flyy"], ExitCode.WRONG_USAGE),
        (["dlq"], ExitCode.WRONG_USAGE),
        (["dlq", "show"], ExitCode.WRONG_USAGE),
        (["dlq", "list", "--limit", "many"], ExitCode.WRONG_USAGE),
        (["rights", "nobody"], ExitCode.WRONG_USAGE),
        (["replay", os.devnull], ExitCode.FAILED),
        (["replay", "/nonexist.avro"], ExitCode.FAILED),
        (["console", "token", "a b"], ExitCode.WRONG_USAGE),
        (["tail", "foo"], ExitCode.WRONG_USAGE),
    ],
    ids=lambda value: value.name if isinstance(value, ExitCode) else " ".join(value),
)
def test_what_is_done_what_fails_and_what_is_wrong_usage(arguments, code):
    result = run(arguments)
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WrongUsage(""), ExitCode.WRONG_USAGE),
        (BrokerUnavailable(""), ExitCode.FAILED),
        (Interrupted(""), ExitCode.INTERRUPTED),
    ],
)
def test_an_error_has_its_code(error, code):
    assert _code_of(error) is code


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_a_signal_ends_a_command_that_has_nothing_to_put_in_order(number, code):
    """In silence."""
    command = [
        sys.executable,
        "-c",
        f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{WAITS}",
    ]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, "replay", os.devnull], env=environment(), text=True, **streams) as process:
        assert process.stdout.readline() == "reading\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, "")


@pytest.mark.parametrize(
    ("arguments", "script"),
    [(["rights"], ""), (["--help"], ""), (["dlq", "list"], PRINTS_IN_A_LOOP)],
    ids=["plain", "help", "in an event loop"],
)
def test_nobody_who_reads_the_results_ends_the_command_in_silence(arguments, script):
    """Behind `| head`: no traceback, also where it prints while an event loop runs."""
    result = unread(arguments, "stdout", script)
    assert (result.returncode, result.stderr) == (ExitCode.READER_GONE, "")


def test_nobody_who_reads_the_notes_is_no_reason_to_stop():
    """What goes to stderr is no result."""
    result = unread(["console", "token", "somebody"], "stderr")
    assert (result.returncode, len(result.stdout.splitlines())) == (ExitCode.DONE, 2)
