"""Reads small files that settings name: certificates, keys, passwords. Errors name the setting."""

import os
import stat
from pathlib import Path

from streamproc.errors import ConfigError

SUFFIX = "_file"
"""The suffix of a setting that names the file of another setting."""
MAX_BYTES = 4_194_304
"""Limit on a file: larger than any bundle of certificates."""


def content(setting: str, path: str) -> bytes:
    """Return the content of a file; raises ConfigError that names the setting and the file."""
    where = f"{setting} ({path})"
    try:
        # A pipe cannot be read a second time, and reading it waits for a writer.
        flags = os.stat(path).st_mode  # noqa: PTH116  Path takes "" for the current directory
        if not stat.S_ISREG(flags):
            raise ConfigError(f"{where}: that is {'a directory' if stat.S_ISDIR(flags) else 'no regular file'}")
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{where}: there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name.
        why = error.strerror if isinstance(error, OSError) else "no name of a file"
        raise ConfigError(f"{where} cannot be read: {why}") from None
    if not data.strip():
        raise ConfigError(f"{where}: that file is empty")
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{where}: that file has more than {MAX_BYTES:,} bytes")
    return data


def secret(setting: str, path: str) -> str:
    """Return the text of a file without the line break at its end; raises ConfigError as `content` does."""
    try:
        text = content(setting, path).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{setting} ({path}): that file is no UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")
