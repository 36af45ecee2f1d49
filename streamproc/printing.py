"""What the commands print results with: lines that nothing wraps or styles, tables that a pipe does not cut."""

import json
import os
from collections.abc import Iterable
from typing import IO, Any, NamedTuple

from rich.console import Console
from rich.table import Table

from streamproc.errors import StreamprocError

WIDE = 1_000
"""Columns where stdout is no terminal: what goes to a file or a pipe is not cut."""


class ReaderGone(StreamprocError):
    """Nobody reads what is printed."""


class ResultsConsole(Console):
    """Where results go. Raises ReaderGone where nobody reads any more, as behind `| head`."""

    def on_broken_pipe(self) -> None:
        """Say so to the command; rich would end the process in the middle of an event loop."""
        _nowhere(self.file)
        raise ReaderGone


class NotesConsole(Console):
    """Where the rest goes. Where nobody reads that, the work goes on."""

    def on_broken_pipe(self) -> None:
        """Say nothing more."""
        self.quiet = True
        _nowhere(self.file)


class Consoles(NamedTuple):
    """Where results go, and where the rest goes."""

    out: Console
    err: Console


def print_line(console: Console, text: str) -> None:
    """Print text as it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True, emoji=False)


def print_json(console: Console, document: Any, indent: int | None = None) -> None:
    """Print a document for programs, on one line unless indented: ASCII only, never coloured."""
    print_line(console, json.dumps(document, indent=indent))


def write_line(console: Console, text: str) -> None:
    """Write a line that whoever reads has at once; raises ReaderGone where nobody does any more, as behind `| head`."""
    try:
        console.file.write(f"{text}\n")
        console.file.flush()
    except BrokenPipeError:
        _nowhere(console.file)
        raise ReaderGone from None
    except OSError as error:
        raise StreamprocError(f"the output cannot be written: {error.strerror}") from None


def print_wide(console: Console, table: Table) -> None:
    """Print a table, whole where it does not go to a terminal."""
    (console if console.is_terminal else ResultsConsole(file=console.file, width=WIDE)).print(table)


def figures(rows: Iterable[tuple[str, int]]) -> Table:
    """Return names and counts, one below the other."""
    it = Table.grid(padding=(0, 2))
    it.add_column()
    it.add_column(justify="right")
    for name, count in rows:
        it.add_row(name, f"{count:,}")
    return it


def counted(count: int, what: str) -> str:
    """Return how many there are, in words: 1 record, 2 records."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _nowhere(file: IO[str]) -> None:
    """Let what is left go nowhere: Python flushes once more at its end, and would complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
