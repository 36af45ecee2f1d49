"""Shows the progress of a replay on stderr: a bar in a terminal, plain lines elsewhere."""

import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_S = 2.0


class ReplayProgress(Protocol):
    """Shows progress."""

    def reading(self, topic: str) -> None:
        """Show which topic is read first."""

    def begin(self, total: int) -> None:
        """Show how many letters are to be sent."""

    def advance(self, letters: int) -> None:
        """Add letters that were sent."""

    def close(self) -> None:
        """Restore the terminal; may be called twice."""


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

    def reading(self, topic: str) -> None:
        """Show a bar without an end."""
        self._progress.update(self._task, description=f"reading {topic}")
        self._progress.start()

    def begin(self, total: int) -> None:
        """Show a bar with a known end."""
        self._progress.reset(self._task, total=total, description="replaying")

    def advance(self, letters: int) -> None:
        """Move the bar."""
        self._progress.advance(self._task, letters)

    def close(self) -> None:
        """Remove the bar."""
        self._progress.stop()


class Lines:
    """A line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._total = self._done = 0
        self._printed_at = 0.0

    def reading(self, topic: str) -> None:
        """Print a line."""
        self._say(f"reading {topic}")

    def begin(self, total: int) -> None:
        """Print how many letters are to be sent."""
        self._total = total
        self._say(f"replaying {total:,} letters")

    def advance(self, letters: int) -> None:
        """Print how many were sent, at most every LINE_S."""
        self._done += letters
        if time.monotonic() - self._printed_at >= LINE_S:
            self._say(f"replayed {self._done:,} of {self._total:,}")

    def close(self) -> None:
        """Do nothing: the terminal was not changed."""

    def _say(self, text: str) -> None:
        self._printed_at = time.monotonic()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def progress(console: Console) -> ReplayProgress:
    """Return the kind of progress that suits the console."""
    return Bar(console) if console.is_terminal and not console.is_dumb_terminal else Lines(console)
