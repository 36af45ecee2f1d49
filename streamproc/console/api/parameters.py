"""What may stand in a query: declared once, read by it, and described by it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

MAX_CHARS = 2_000
BOOLEANS = {"true": True, "false": False}


class WrongParameter(ValueError):
    """A parameter is not as it must be; the message names it and says what it may be."""


class Parameter(NamedTuple):
    """A parameter of a query. `kind`: string, integer or boolean. `is_list`: it may be repeated."""

    name: str
    description: str
    kind: str = "string"
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 2**53 - 1
    default: Any = None
    is_list: bool = False

    def read(self, texts: Sequence[str]) -> Any:
        """Return the value of what was sent; raises WrongParameter."""
        if self.is_list:
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
        if len(text) > MAX_CHARS:
            raise WrongParameter(f"{self.name}: at most {MAX_CHARS:,} characters")
        return text

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        said: dict[str, Any] = {"type": self.kind}
        if self.kind == "integer":
            said |= {"minimum": self.minimum, "maximum": self.maximum}
        elif self.choices:
            said["enum"] = list(self.choices)
        elif self.kind == "string":
            said["maxLength"] = MAX_CHARS
        if self.default is not None:
            said["default"] = self.default
        return {"type": "array", "items": said} if self.is_list else said


def read_all(declared: Sequence[Parameter], sent: Iterable[tuple[str, str]]) -> Mapping[str, Any]:
    """Return the values of all parameters by name; raises WrongParameter, for an unknown one too."""
    texts: dict[str, list[str]] = {}
    for name, text in sent:
        texts.setdefault(name, []).append(text)
    known = {parameter.name for parameter in declared}
    if unknown := sorted(texts.keys() - known):
        raise WrongParameter(
            f"{unknown[0][:100]!r} is no parameter here: {', '.join(sorted(known)) or 'there is none'}"
        )
    return {parameter.name: parameter.read(texts.get(parameter.name, [])) for parameter in declared}
