"""A group of settings, in which every secret may be in a file."""

from typing import Any, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)

from streamproc.credentials.files import SUFFIX, secret
from streamproc.errors import ConfigError


class Section(BaseModel):
    """A group of settings. Unknown keys are an error.

    A setting of type SecretStr may also be in a file: `password_file` names the file with `password`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    _files: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def secrets(cls) -> tuple[str, ...]:
        """Return the names of the settings that may be in a file."""
        fields = cls.model_fields
        return tuple(
            name
            for name, field in fields.items()
            if SecretStr in (field.annotation, *get_args(field.annotation)) and name + SUFFIX not in fields
        )

    @model_validator(mode="wrap")
    @classmethod
    def _read_files(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, dict):
            return handler(given)
        files = {name: given[name + SUFFIX] for name in cls.secrets() if given.get(name + SUFFIX) is not None}
        plain = {key: value for key, value in given.items() if key not in {name + SUFFIX for name in cls.secrets()}}
        for name, path in files.items():
            if plain.get(name) is not None:
                raise ValueError(f"both {name} and {name}{SUFFIX} ({path}) are given: leave one of them out")
            try:
                plain[name] = secret(name + SUFFIX, str(path))
            except ConfigError as error:
                raise ValueError(str(error)) from None
        section = handler(plain)
        section._files = {name: str(path) for name, path in files.items()}  # noqa: SLF001  a validator has no self
        return section

    @property
    def secret_files(self) -> dict[str, str]:
        """The files with secrets, by the name of the secret's setting."""
        return dict(self._files)

    def renewed(self) -> Self:
        """Return these settings with the secrets in files read again; raises ConfigError."""
        if not self._files:
            return self
        given = {name: value for name, value in self if name in self.model_fields_set - self._files.keys()}
        try:
            return type(self).model_validate({**given, **{name + SUFFIX: path for name, path in self._files.items()}})
        except ValidationError as error:
            raise ConfigError("; ".join(flaws(error))) from None


def flaws(error: ValidationError) -> list[str]:
    """Say where something is wrong, and what, without the values: they may be secrets."""
    found = [
        (".".join(map(str, flaw["loc"])), flaw["msg"].removeprefix("Value error, "))
        for flaw in error.errors(include_input=False, include_url=False)
    ]
    return [f"{where}: {what}" if where else what for where, what in found]
