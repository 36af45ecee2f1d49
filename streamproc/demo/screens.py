"""Shows the demo: a live picture in a terminal, plain lines elsewhere."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from streamproc.core.lifecycle import Profile
from streamproc.demo.board import Board
from streamproc.demo.view import line, render

REFRESH_S = 0.25
LINE_S = 1.0

Say = Callable[[str], None]


class Screen(Protocol):
    """Shows the steps of a preparation, then a board until cancelled."""

    def preparing(self) -> AbstractContextManager[Say]:
        """Yield a function that announces the next step."""

    async def show(self, board: Board) -> None:
        """Show the board until cancelled."""

    def restore(self) -> None:
        """Restore the terminal: the process is about to end."""


class LiveScreen:
    """A picture that is drawn anew a few times a second, on the terminal's alternate screen."""

    def __init__(self, console: Console, profile: Profile) -> None:
        self._console = console
        self._profile = profile
        # The event loop draws, not a thread of rich's, because the data change in the loop.
        self._live = Live(console=console, screen=True, auto_refresh=False)

    @contextmanager
    def preparing(self) -> Iterator[Say]:
        """Show a spinner and the time that each step takes."""
        columns = (
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        steps: list[TaskID] = []
        with Progress(*columns, console=self._console) as progress:

            def finish() -> None:
                for step in steps:
                    progress.update(step, completed=1)

            def say(text: str) -> None:
                finish()
                steps.append(progress.add_task(text, total=1))

            yield say
            finish()

    async def show(self, board: Board) -> None:
        """Draw until cancelled; the log goes to the board meanwhile."""
        board.capture_log()
        with self._live:
            while True:
                board.measure()
                self._live.update(render(board, self._profile, *self._console.size), refresh=True)
                await asyncio.sleep(REFRESH_S)

    def restore(self) -> None:
        """Leave the alternate screen and show the cursor."""
        self._live.stop()


class PlainScreen:
    """A line for each step and for each second."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def preparing(self) -> Iterator[Say]:
        """Print each step."""
        yield self._say

    async def show(self, board: Board) -> None:
        """Print a line each second."""
        while True:
            await asyncio.sleep(LINE_S)
            board.measure()
            self._say(line(board))

    def restore(self) -> None:
        """Do nothing: the terminal was not changed."""

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
