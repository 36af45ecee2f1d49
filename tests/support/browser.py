"""A real browser, and the console's pages behind a real server."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from tests.support.waiting import DEADLINE_S, POLL_S, Deadline

NAMES = ("chromium", "chromium-browser")
PATIENCE_MS = 1_000 * DEADLINE_S
"""There to end a hang, no more."""
BASE = "/ops/console"


class Watched:
    """What a page said that it should not have. `missing`: whether it asks for what is not there on purpose."""

    def __init__(self, page: Page) -> None:
        self.faults: list[str] = []
        self.missing = False
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        is_expected = self.missing and "Failed to load resource" in message.text
        if message.type in {"error", "warning"} and not is_expected:
            self.faults.append(message.text)

    def _asked(self, request: Request) -> None:
        if "/csp-report" in request.url or not request.url.startswith(("http://127.0.0.1:", "data:")):
            self.faults.append(f"{request.method} {request.url}")


def executable() -> str:
    """Return the browser's program; skips where there is none: `.ci/run` installs it where it can."""
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    pytest.skip("there is no chromium: apt-get install chromium")


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """Start one, with letters in shades of grey: smaller pictures. Root has no sandbox."""
    with sync_playwright() as playwright:
        options = ["--disable-lcd-text", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        found = playwright.chromium.launch(executable_path=program, args=options)
        try:
            yield found
        finally:
            found.close()


@contextmanager
def served(app: ASGIApp, base: str = "") -> Iterator[str]:
    """Serve an application on a free port, in a thread; yields its URL. `base`: the path that it is behind."""
    outer = Starlette(routes=[Mount(base, app)]) if base else app
    # Without log_config=None it would change the process's loggers for good.
    config = uvicorn.Config(
        outer, port=0, log_config=None, log_level="error", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}{base}"
    finally:
        server.should_exit = True
        thread.join(DEADLINE_S)


def until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fail when it does not within the deadline."""
    deadline = Deadline(DEADLINE_S)
    while not condition():
        if deadline.is_over():
            raise AssertionError(f"not within {DEADLINE_S} s")
        time.sleep(POLL_S)
