"""Commands as child processes, and what the demo says of itself."""

import os
import pty
import re
import subprocess
import sys
from contextlib import contextmanager, suppress

from tests.support.waiting import DEADLINE_S

SUMMARY = re.compile(
    r"^ *events in = applied \+ duplicate \+ stale \+ illegal \+ rejected\n"
    r" *([\d,]+) = +([\d,]+) \+ +([\d,]+) \+ +([\d,]+) \+ +([\d,]+) \+ +([\d,]+)$",
    re.MULTILINE,
)


@contextmanager
def running(environment, *arguments):
    command = [sys.executable, "-m", "streamproc", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def in_terminal(environment, *arguments):
    """Run a command in a pseudo-terminal of its own; yield it and what reads on to a text, or to its end."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "streamproc", *arguments]
    process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)

    def read(text):
        got = b""
        # At the end Linux has an error instead of no bytes.
        with suppress(OSError):
            while (text is None or text.encode() not in got) and (some := os.read(ours, 65_536)):
                got += some
        if text is None:
            process.wait(DEADLINE_S)
        return got.decode(errors="replace")

    try:
        yield process, read
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def finished(environment, *arguments):
    with running(environment, *arguments) as process:
        output, errors = process.communicate(timeout=DEADLINE_S)
        return process.returncode, output, errors


def read_until(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"no {text!r} in {lines}; on stderr: {process.stderr.read()}")


def assert_adds_up(output):
    """Hold the summary's figures against each other, apart from what the demo says of them."""
    total, *parts = (int(figure.replace(",", "")) for figure in SUMMARY.search(output).groups())
    assert total == sum(parts) > 0
    for name in ("sent by the source", "events in", "verdicts and rejected", "rejected", "transitions", "live runs"):
        counted, held = re.search(rf"^{name} +([\d,]+) +([\d,]+) +run-[a-z-]+ +agree *$", output, re.MULTILINE).groups()
        assert counted == held
    assert "It adds up" in output
    return total
