"""A directory of files named like variables, as Docker and Kubernetes mount secrets."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic_settings import NestedSecretsSettingsSource, PydanticBaseSettingsSource, SettingsError

from streamproc.credentials.files import SUFFIX, secret
from streamproc.errors import ConfigError


class SecretsDirectory(NestedSecretsSettingsSource):
    """The settings in a directory. A secret is given by its file's name, so that the file can be read again."""

    def __init__(self, source: PydanticBaseSettingsSource, directory: Path, secrets: Iterable[str]) -> None:
        """Raise ConfigError where the directory cannot be read.

        Args:
            source: pydantic-settings' own, for the class and its state.
            directory: where the files are.
            secrets: the variables that are secrets.
        """
        self._directory = directory.absolute()  # Not resolved: a link may lead elsewhere by the next time.
        self._secrets = {name.lower() for name in secrets}
        try:
            super().__init__(source, directory, "error")
        except (SettingsError, OSError) as error:
            raise _unreadable(error, directory) from None

    def load_secrets(self, _: Path) -> dict[str, str]:  # type: ignore[override]  # It is called on the instance.
        """Return the files' names and contents; for a secret, the path of its file. Raises ConfigError."""
        return dict(self._setting(file) for file in named(self._directory, self.secrets_prefix))

    def _setting(self, file: Path) -> tuple[str, Any]:
        name = file.name.lower()
        return (name + SUFFIX, str(file)) if name in self._secrets else (name, secret(file.name, str(file)))


def named(directory: Path, prefix: str) -> list[Path]:
    """Return the files whose names have the prefix, in upper or lower case; others are ignored.

    Raises ConfigError.
    """
    try:
        entries = sorted(directory.iterdir())
        return [entry for entry in entries if entry.name.lower().startswith(prefix.lower()) and entry.is_file()]
    except OSError as error:
        raise _unreadable(error.strerror, directory) from None


def _unreadable(why: object, directory: Path) -> ConfigError:
    return ConfigError(f"the directory of secrets {directory} cannot be read: {why}")
