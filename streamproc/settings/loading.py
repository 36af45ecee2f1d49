"""Loads the settings. Errors list each wrong setting by the name of its variable."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from streamproc.credentials.directory import named
from streamproc.errors import ConfigError
from streamproc.settings.service import PREFIX, SECRETS_DIR, TEST_PREFIX, Settings
from streamproc.settings.variables import explained, unparsed, with_meant


def load_settings(config: Path | None = None, given: Mapping[str, Any] | None = None) -> Settings:
    """Read the settings; raises ConfigError, which names each wrong one and says what it must be.

    `given`: settings by section; they replace the environment.
    """
    if given is None:
        _refuse_unknown_variables()
    if config is not None:
        _refuse_unreadable(config)
    own = {"model_config": {**Settings.model_config, "toml_file": config}, "looks_around": given is None}
    source = type("Settings", (Settings,), own)
    try:
        settings: Settings = source(**(given or {}))
    except ValidationError as error:
        raise ConfigError(explained(error, Settings, PREFIX)) from None
    except SettingsError as error:
        raise ConfigError(unparsed(error, PREFIX)) from None
    except ValueError as error:  # From the TOML parser, or the UTF-8 decoder.
        raise ConfigError(f"--config {config} cannot be read, it is no TOML: {error}") from None
    return settings


def _refuse_unreadable(config: Path) -> None:
    """Check the file before pydantic-settings does, which would raise unexplained errors."""
    try:
        if not config.is_file():
            what = "is a directory" if config.is_dir() else "there is no such file"
            raise ConfigError(f"--config {config}: {what}")
        config.open("rb").close()
    except OSError as error:
        raise ConfigError(f"--config {config} cannot be read: {error.strerror}") from None


def _refuse_unknown_variables() -> None:
    """Report misspelt names: pydantic-settings overlooks a variable whose first level it does not know."""
    directory = os.environ.get(SECRETS_DIR)
    files = [file.name.upper() for file in named(Path(directory), PREFIX)] if directory else []
    unknown = [
        name
        for name in (*os.environ, *files)
        if name.startswith(PREFIX)
        and not name.startswith(TEST_PREFIX)
        and name.removeprefix(PREFIX).lower().split("__")[0] not in Settings.model_fields
    ]
    if unknown:
        names = ", ".join(with_meant(name, Settings, PREFIX) for name in sorted(unknown))
        known = ", ".join(PREFIX + name.upper() for name in Settings.model_fields)
        raise ConfigError(f"unknown settings in the environment: {names}. Known at the first level: {known}")
