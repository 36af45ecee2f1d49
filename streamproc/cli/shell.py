"""What every command uses: consoles, settings, the event loop, exit codes."""

import asyncio
import io
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from typer.core import TyperOption

from streamproc.errors import ConfigError
from streamproc.runtime.tokens import TOKENS
from streamproc.settings.loading import load_settings
from streamproc.settings.service import Settings

FAILURE, USAGE = 1, 2

T = TypeVar("T")

out, err = Console(), Console(stderr=True)

Config = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file with settings; the environment (STREAMPROC_…) goes over it."),
]


class WrongUsage(ConfigError):
    """The settings or arguments are wrong: exit code 2."""


def settings_of(config: Path | None) -> Settings:
    """Read the settings, and have the tokens ready that they ask for; raises WrongUsage."""
    try:
        settings = load_settings(config)
    except ConfigError as error:
        raise WrongUsage(str(error)) from None
    if settings.kafka.by_token:
        from streamproc.tokens.source import source_of  # Few need it.

        TOKENS.come_from(source_of)
    return settings


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where there is one."""
    try:
        import uvloop  # not on Windows
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)


def untyped_flags() -> None:
    """Let --help say nothing about the type of what takes no value; there is no setting for that."""
    typed = getattr(TyperOption, "display_type_rich", None)  # Not every version of typer has it.
    if typed is not None:
        TyperOption.display_type_rich = lambda option, ctx: None if option.is_flag else typed(option, ctx)  # type: ignore[assignment,method-assign]


def never_unprintable() -> None:
    """Let stdout and stderr write what their encoding lacks as an escape, rather than fail in the middle."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
