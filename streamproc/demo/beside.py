"""The demo's console, in a separate process, because the service already shares its event loop with the demo."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from streamproc.interrupts import cancelled, unless_stopped
from streamproc.local.launch import run_until
from streamproc.local.watchdog import Guarded
from streamproc.settings.service import PREFIX, Settings

START_DEADLINE_S = 30.0
POLL_S = 0.05
ANNOUNCED = re.compile(r"^the console is at (\S+)$", re.MULTILINE)


class Beside:
    """A console in a process. `url`: empty where none serves; `on_end` gets the reason why it ended by itself."""

    def __init__(self, settings: Settings, config: Path | None) -> None:
        self.url = ""
        self.on_end: Callable[[str], None] = lambda _: None
        self._command = [sys.executable, "-m", "streamproc", "console"]
        self._command += [] if config is None else ["--config", str(config)]
        self._guarded = Guarded(lambda directory: variables(settings, directory / "console.sqlite"))
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> str | None:
        """Start it and wait until it serves; return None, or what happened instead."""
        try:
            await self._guarded.open()
        except OSError as error:
            return str(error)
        trouble = await run_until(self._guarded, self._announced, START_DEADLINE_S, *self._command)
        if trouble is None and (exited := self._guarded.exit) is not None:
            self._watching = asyncio.create_task(self._watch(exited))
            return None
        await self._guarded.kill()
        return self._last_words() or trouble

    async def stop(self) -> None:
        """End it and remove its read model; harmless when nothing runs."""
        if self._watching is not None:
            await cancelled(self._watching)
        await self._guarded.close()

    async def _announced(self) -> None:
        while (match := ANNOUNCED.search(self._output())) is None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_S)
        self.url = match[1]

    async def _watch(self, exited: "asyncio.Future[int]") -> None:
        code = await asyncio.shield(exited)
        self.url = ""
        self.on_end(self._last_words() if code > 0 else f"ended with code {code}")

    def _last_words(self) -> str:
        lines = self._output().strip().splitlines()
        return lines[-1].strip().removeprefix("streamproc: ") if lines else ""

    def _output(self) -> str:
        log = self._guarded.log_file
        return log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""


@asynccontextmanager
async def console_beside(
    settings: Settings, config: Path | None, stop: asyncio.Event, say: Callable[[str], None]
) -> AsyncIterator[Beside]:
    """Yield a console for the settings; `say` gets its address, or why there is none. Raises Interrupted."""
    console = Beside(settings, config)
    try:
        trouble = await unless_stopped(stop, console.start(), "the console was up")
        say(f"The console is at {console.url}" if trouble is None else f"There is no console: {trouble}")
        yield console
    finally:
        await console.stop()


def variables(settings: Settings, database: Path) -> Mapping[str, str]:
    """Return the demo's changes of the settings, as environment variables that override the given ones."""
    values = {
        "APPLICATION_ID": settings.application_id,
        "KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "KAFKA__SECURITY_PROTOCOL": settings.kafka.security_protocol,
        "TOPICS__PREFIX": settings.topics.prefix,
        "DEADLINES__ALLOWANCE_S": str(settings.deadlines.allowance_s),
        "DEADLINES__LIMITS_S": json.dumps(settings.deadlines.limits_s),
        "CONSOLE__PORT": str(settings.console.port),
        "CONSOLE__DATABASE": str(database),
        # Replayed letters would add to the events that the source sent, and the figures would not add up.
        "CONSOLE__ACTIONS": "false",
    }
    return {PREFIX + name: value for name, value in values.items()}
