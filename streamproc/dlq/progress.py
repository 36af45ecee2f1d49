"""How far a replay has come: a bar in a terminal, plain lines everywhere else. On stderr: stdout is for results."""

import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_S = 2.0


class ReplayProgress(Protocol):
    """Shows progress."""

    def reading(self, what: str) -> None:
        """Say what is looked through first."""

    def begin(self, total: int) -> None:
        """Say how many letters there are to send."""

    def advance(self, letters: int) -> None:
        """Say how many more were sent."""

    def close(self) -> None:
        """Leave the terminal as it was; may be called twice."""


class Bar:
    """A bar with the count and the time left."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("", total=None)

    def reading(self, what: str) -> None:
        """Show a bar without an end."""
        self._progress.update(self._task, description=f"reading {what}")
        self._progress.start()

    def begin(self, total: int) -> None:
        """Show a bar from here on to the end."""
        self._progress.reset(self._task, total=total, description="replaying")

    def advance(self, letters: int) -> None:
        """Move the bar."""
        self._progress.advance(self._task, letters)

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()


class Lines:
    """A line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total = self._done = 0
        self._said_at = 0.0

    def reading(self, what: str) -> None:
        """Say so."""
        self._say(f"reading {what}")

    def begin(self, total: int) -> None:
        """Say how many there are."""
        self._total = total
        self._say(f"replaying {total:,} letters")

    def advance(self, letters: int) -> None:
        """Say how many were sent, every LINE_S."""
        self._done += letters
        if time.monotonic() - self._said_at >= LINE_S:
            self._say(f"replayed {self._done:,} of {self._total:,}")

    def close(self) -> None:
        """Nothing was changed."""

    def _say(self, text: str) -> None:
        self._said_at = time.monotonic()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def progress(console: Console) -> ReplayProgress:
    """Return what suits the console."""
    return Bar(console) if console.is_terminal and not console.is_dumb_terminal else Lines(console)
