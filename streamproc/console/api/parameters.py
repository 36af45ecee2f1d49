"""Query parameters: one declaration serves for reading them and for describing them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

MAX_CHARS = 2_000
MAX_VALUES = 50
BOOLEANS = {"true": True, "false": False}


class WrongParameter(ValueError):
    """A parameter is invalid; the message names it and says what is allowed."""


class Parameter(NamedTuple):
    """A parameter of a query, or a name in a path. `kind`: string, integer or boolean.

    `minimum`, `maximum`: limits of a number. `max_chars`: limit of a text. `form`: OpenAPI's `format` of a text.
    `is_list`: it may be repeated.
    """

    name: str
    description: str
    kind: str = "string"
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 2**53 - 1
    max_chars: int = MAX_CHARS
    form: str = ""
    default: Any = None
    is_list: bool = False

    def read(self, texts: Sequence[str]) -> Any:
        """Return the value of the texts that were sent; raises WrongParameter."""
        if self.is_list:
            if len(texts) > MAX_VALUES:
                raise WrongParameter(f"{self.name}: at most {MAX_VALUES} values")
            return [self._one(text) for text in texts]
        if len(texts) > 1:
            raise WrongParameter(f"{self.name}: once is enough")
        return self._one(texts[0]) if texts else self.default

    def _one(self, text: str) -> Any:
        if self.kind == "boolean":
            if text not in BOOLEANS:
                raise WrongParameter(f"{self.name}: true or false")
            return BOOLEANS[text]
        if self.kind == "integer":
            digits = text.removeprefix("-")
            number = int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None  # noqa: PLR2004
            if number is None or not self.minimum <= number <= self.maximum:
                raise WrongParameter(f"{self.name}: a number from {self.minimum:,} to {self.maximum:,}")
            return number
        if self.choices and text not in self.choices:
            raise WrongParameter(f"{self.name}: one of {', '.join(self.choices)}")
        if len(text) > self.max_chars:
            raise WrongParameter(f"{self.name}: at most {self.max_chars:,} characters")
        return text

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        schema: dict[str, Any] = {"type": self.kind}
        if self.kind == "integer":
            schema |= {"minimum": self.minimum, "maximum": self.maximum}
        elif self.choices:
            schema["enum"] = list(self.choices)
        elif self.kind == "string":
            schema["maxLength"] = self.max_chars
        if self.form:
            schema["format"] = self.form
        if self.default is not None:
            schema["default"] = self.default
        return {"type": "array", "items": schema, "maxItems": MAX_VALUES} if self.is_list else schema


PATH = {
    parameter.name: parameter
    for parameter in (
        Parameter("run_id", "The run's id; a slash in it is %2F.", max_chars=1_000),
        Parameter("partition", "Of the topic of dead letters.", "integer", maximum=1_000_000),
        Parameter("offset", "There.", "integer"),
    )
}
"""The names in paths."""


def read_all(declared: Sequence[Parameter], sent: Iterable[tuple[str, str]]) -> Mapping[str, Any]:
    """Return the values of all declared parameters by name; raises WrongParameter, also for an unknown one."""
    texts: dict[str, list[str]] = {}
    for name, text in sent:
        texts.setdefault(name, []).append(text)
    names = {parameter.name for parameter in declared}
    if unknown := sorted(texts.keys() - names):
        raise WrongParameter(
            f"{unknown[0][:100]!r} is no parameter here: {', '.join(sorted(names)) or 'there is none'}"
        )
    return {parameter.name: parameter.read(texts.get(parameter.name, [])) for parameter in declared}
