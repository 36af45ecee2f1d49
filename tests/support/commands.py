"""Commands as child processes, and what the demo says of itself."""

import re
import subprocess
import sys
from contextlib import contextmanager

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
