"""Schemas in files."""

import json
from pathlib import Path
from typing import Any

from streamproc.codec.container import MAGIC, read_header
from streamproc.codec.vet import MAX_SCHEMA_BYTES
from streamproc.errors import ConfigError

MAX_FILE_BYTES = 4 * MAX_SCHEMA_BYTES


def is_file(path: Path) -> bool:
    """Whether there is a file of that name, as far as one may look; false for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:  # Such as a name that is too long.
        return False


def read_document(path: Path) -> Any:
    """Return the schema in an .avsc file, or that of an object container file; raises ConfigError."""
    if not is_file(path):
        raise ConfigError(f"{path} is no file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
            if content.startswith(MAGIC):
                file.seek(0)
                content = read_header(file).schema
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # noqa: BLE001  anything may be in a file
        raise ConfigError(f"{path} is a damaged Avro container file ({type(error).__name__})") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} has more than {MAX_FILE_BYTES:,} bytes: a schema has at most {MAX_SCHEMA_BYTES:,}")
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise ConfigError(f"{path} is no Avro schema: it is no JSON, or nested too deeply") from None
