"""A command and its temporary directory, neither of which outlives its owner.

This file has both sides of a pipe. `Guarded`, the owner's side, runs this file as a program, the watchdog, in its own
session; the watchdog runs the command. However the owner ends, even by SIGKILL, the pipe ends with it. A JVM cannot
watch a pipe, so the watchdog does, on Linux and macOS alike.

    stdin   a JSON line for each order. An object is a command to run, with additional variables and a directory; a
            number is a signal to the running command; the end of the input means stop
    stdout  {"directory": path} at once, then {"pid": n} and {"exit": code} for each command

Knows nothing of Kafka; the program's side imports nothing outside the standard library.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

STOP_S = 10.0
EXIT_UNKNOWN = -1


class Guarded:
    """The owner's side: one command at a time, in one directory. Belongs to the event loop in which it was started."""

    def __init__(self, environment: Callable[[Path], Mapping[str, str]] | None = None) -> None:
        """Nothing runs yet.

        Args:
            environment: takes the directory and returns additional variables for commands. Commands then run in the
                owner's working directory, so that relative paths in the owner's settings are valid for them, too.
        """
        self.directory = Path()
        self._environment = environment
        self.pid = 0
        self._process: asyncio.subprocess.Process | None = None
        self._replies: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._exit: asyncio.Future[int] | None = None

    @property
    def log_file(self) -> Path:
        """The output of the running command, or else of the last one."""
        return self.directory / "output.log"

    @property
    def exit(self) -> asyncio.Future[int] | None:
        """The exit code of the running command; None when nothing runs."""
        return self._exit if self._exit and not self._exit.done() else None

    async def open(self) -> None:
        """Start the watchdog, which makes the directory.

        Raises:
            OSError: no process or no temporary directory can be had.
        """
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", __file__),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the owner, who may still need the command
        )
        if self._process.stdout is None or not (first := await self._process.stdout.readline()):
            raise OSError(f"cannot make a temporary directory in {tempfile.gettempdir()}")
        self.directory = Path(json.loads(first)["directory"])
        self._replies = asyncio.create_task(self._listen(self._process.stdout))

    async def run(self, *command: str) -> asyncio.Future[int]:
        """Start a command in the directory, with its output in the log file; return a future of its exit code."""
        self._started.clear()
        self._exit = exited = asyncio.get_running_loop().create_future()
        await self._order(self._ordered(command))
        await self._started.wait()
        return exited

    async def signal(self, number: signal.Signals) -> None:
        """Send the running command a signal."""
        if self.exit is None:
            raise RuntimeError("nothing runs")
        await self._order(number)

    async def kill(self) -> None:
        """SIGKILL the running command, if any, and wait for its end."""
        if (exited := self.exit) is not None:
            await self._order(signal.SIGKILL)
            await asyncio.wait((exited,))

    def let_go(self) -> None:
        """Close the pipe: the watchdog ends the command and removes the directory, without being waited for."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def close(self) -> None:
        """End the command, gracefully if possible, and remove the directory; harmless when nothing runs."""
        self.let_go()
        process, self._process = self._process, None
        if process is None:
            return
        await process.wait()
        if self._replies is not None:
            await self._replies

    def _ordered(self, command: Sequence[str]) -> Mapping[str, object]:
        if self._environment is None:
            return {"command": command, "environment": {}, "place": str(self.directory)}
        return {"command": command, "environment": self._environment(self.directory), "place": str(Path.cwd())}

    async def _order(self, order: Mapping[str, object] | int) -> None:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("open() first")
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()

    async def _listen(self, replies: asyncio.StreamReader) -> None:
        async for line in replies:
            reply = json.loads(line)
            if "exit" in reply:
                self._note_exit(reply["exit"])
            else:
                self.pid = reply["pid"]
                self._started.set()
        self._note_exit(EXIT_UNKNOWN)
        self._started.set()

    def _note_exit(self, code: int) -> None:
        if (exited := self.exit) is not None:
            exited.set_result(code)


class _Watchdog:
    """The program's side."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._child: subprocess.Popen[bytes] | None = None

    def obey(self, order: dict[str, Any] | int) -> None:
        if isinstance(order, int):
            if self._child is not None:
                self._child.send_signal(order)
            return
        with (self._directory / "output.log").open("wb") as log:
            child = subprocess.Popen(
                order["command"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=order["place"],
                env={**os.environ, **order["environment"]},
            )
        self._child = child
        _say(pid=child.pid)
        threading.Thread(target=lambda: _say(exit=child.wait()), daemon=True).start()

    def close(self) -> None:
        if self._child is not None:
            self._end(self._child)
        shutil.rmtree(self._directory, ignore_errors=True)

    @staticmethod
    def _end(child: "subprocess.Popen[bytes]") -> None:
        child.terminate()
        child.send_signal(signal.SIGCONT)  # A frozen process handles no other signal but SIGKILL.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(STOP_S)
        child.kill()
        child.wait()


def _say(**reply: object) -> None:
    # Unbuffered, and errors are ignored: when nobody reads any more, the end of stdin makes the watchdog stop.
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), json.dumps(reply).encode() + b"\n")


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)  # unwinds through close()


def _main() -> None:
    signal.signal(signal.SIGTERM, _leave)
    directory = Path(tempfile.mkdtemp(prefix="streamproc-"))
    watchdog = _Watchdog(directory)
    try:
        _say(directory=str(directory))
        for line in sys.stdin:
            watchdog.obey(json.loads(line))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not stop the removal
        watchdog.close()


if __name__ == "__main__":
    _main()
