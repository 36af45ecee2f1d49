"""Runs of the command line in a process of its own, whose environment says nothing about colours or streamproc."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

OURS = ("STREAMPROC_", "_STREAMPROC_", "GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "NO_COLOR", "TTY_")


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a run in a terminal that has colours."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    return {**kept, "TERM": "xterm-256color", "COLUMNS": "200", **more}


def run(arguments: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
    """Return what came of a command, with `more` in its environment."""
    command = [sys.executable, "-m", "streamproc", *arguments]
    return subprocess.run(command, env=environment(**more), capture_output=True, text=True, timeout=120, check=False)


def unread(arguments: Sequence[str], stream: str, script: str = "") -> subprocess.CompletedProcess[str]:
    """Return what came of a command while nobody reads one of its streams; `script` goes before it."""
    theirs, ours = os.pipe()
    os.close(theirs)
    code = f"{script}\nfrom streamproc.__main__ import main\nmain()"
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: ours}
    try:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment(),
            cwd=Path(__file__).parents[2],
            text=True,
            timeout=120,
            check=False,
            **streams,
        )
    finally:
        os.close(ours)
