"""What every command uses: consoles, settings, the event loop. Light: `--help` must not pay for what a command does.

So do the other modules here: what is heavier than typer and rich is imported by the function that needs it.
"""

import io
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from typer.core import TyperOption

from streamproc.errors import ConfigError, StreamprocError
from streamproc.printing import Consoles, NotesConsole, ResultsConsole

if TYPE_CHECKING:
    from streamproc.settings.service import Settings

T = TypeVar("T")

# rich on its own leaves bold and dim where NO_COLOR is set.
NO_COLOR = bool(os.environ.get("NO_COLOR"))
COLOR_SYSTEM: Any = None if NO_COLOR else "auto"

out, err = ResultsConsole(color_system=COLOR_SYSTEM), NotesConsole(stderr=True, color_system=COLOR_SYSTEM)
consoles = Consoles(out, err)

Config = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file with settings. Environment variables (STREAMPROC_…) override it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead, times in milliseconds.")]
AsJsonLines = Annotated[bool, typer.Option("--json", help="One JSON object a line instead, times in milliseconds.")]


class WrongUsage(ConfigError):
    """The settings or arguments are wrong: exit code 2."""


@contextmanager
def wrong_usage(kind: type[StreamprocError]) -> Iterator[None]:
    """Let an error of this kind be one of whoever gave the command; raises WrongUsage instead of it."""
    try:
        yield
    except kind as error:
        raise WrongUsage(str(error)) from None


def settings_of(config: Path | None) -> "Settings":
    """Read the settings, and prepare the source of tokens that they name; raises WrongUsage."""
    from streamproc.settings.loading import load_settings

    with wrong_usage(ConfigError):
        settings = load_settings(config)
    if settings.kafka.by_token:
        from streamproc.runtime.tokens import TOKENS
        from streamproc.tokens.source import source_of

        TOKENS.come_from(source_of)
    return settings


def say_errors_only() -> None:
    """Log nothing below ERROR: the command itself reports what goes wrong, once."""
    from streamproc.observe.logs import configure

    configure("ERROR", "console")


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, on uvloop if it is installed."""
    try:
        import uvloop  # not on Windows
    except ImportError:
        import asyncio

        interruptible()
        return asyncio.run(coroutine)
    interruptible()
    return uvloop.run(coroutine)


def interruptible() -> None:
    """From here on, let Ctrl-C raise, so that resources are closed; before, it ends the process at once."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def set_up() -> None:
    """Have typer and Python's streams do what they have no settings for."""
    _untyped_flags()
    _light_options()
    _never_unprintable()
    _unread_help()
    _bare_errors()
    if NO_COLOR:
        from typer import rich_utils

        rich_utils.COLOR_SYSTEM = None


def _untyped_flags() -> None:
    """Let --help show no type for options without a value."""
    typed = getattr(TyperOption, "display_type_rich", None)  # Not every version of typer has it.
    if typed is not None:
        TyperOption.display_type_rich = lambda option, ctx: None if option.is_flag else typed(option, ctx)  # type: ignore[assignment,method-assign]


def _light_options() -> None:
    """Let a missing option be None at once: typer would load pydantic to find that None is no value."""
    read = TyperOption.process_value

    def process_value(option: TyperOption, ctx: Any, value: Any) -> Any:
        if value is not None or option.required or option.multiple:
            return read(option, ctx, value)
        return None if option.callback is None else option.callback(ctx, option, None)

    TyperOption.process_value = process_value  # type: ignore[method-assign,assignment]


def _unread_help() -> None:
    """Let --help, which typer prints with a console of its own, end as results do where nobody reads it."""
    Console.on_broken_pipe = ResultsConsole.on_broken_pipe  # type: ignore[method-assign,assignment]


def _bare_errors() -> None:
    """Leave out pydantic's prefix, which typer puts before what is wrong with a value."""
    told = typer.BadParameter.format_message
    typer.BadParameter.format_message = lambda error: told(error).replace("Value error, ", "", 1)  # type: ignore[method-assign,assignment]


def _never_unprintable() -> None:
    """Let stdout and stderr escape characters that their encoding lacks, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
