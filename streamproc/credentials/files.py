"""Small files that settings name: certificates, keys, passwords. What is wrong with one is said with the setting."""

import os
import stat
from pathlib import Path

from streamproc.errors import ConfigError

SUFFIX = "_file"
"""Of the setting that names the file of another one."""
MAX_BYTES = 4_194_304
"""Of one file: more than any bundle of certificates has."""


def content(setting: str, path: str) -> bytes:
    """Return what is in a file; raises ConfigError that names the setting and the file."""
    where = f"{setting} ({path})"
    try:
        # Of a pipe nothing is left to be read again, and reading it waits for whoever writes.
        flags = os.stat(path).st_mode  # noqa: PTH116  Path would take "" for this directory
        if not stat.S_ISREG(flags):
            raise ConfigError(f"{where}: that is {'a directory' if stat.S_ISDIR(flags) else 'no regular file'}")
        with Path(path).open("rb") as file:
            found = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{where}: there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name.
        why = error.strerror if isinstance(error, OSError) else "no name of a file"
        raise ConfigError(f"{where} cannot be read: {why}") from None
    if not found.strip():
        raise ConfigError(f"{where}: that file is empty")
    if len(found) > MAX_BYTES:
        raise ConfigError(f"{where}: that file has more than {MAX_BYTES:,} bytes")
    return found


def secret(setting: str, path: str) -> str:
    """Return the text of a file without the line break at its end; raises ConfigError as `content` does."""
    try:
        text = content(setting, path).decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{setting} ({path}): that file is no UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")
