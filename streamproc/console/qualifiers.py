"""The qualifier bar: `status:failed,expired -assistant:a age:>5m meta.team:x run_id`, as a filter and back."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct, structs

UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
AGE = re.compile(r"([<>])([0-9]{1,9})([smhd])")
QUOTED = r'"(?:\\.|[^"\\])*"'
WORD = re.compile(rf'(?:{QUOTED}|[^\s"])+')
VALUE = re.compile(rf'(?:{QUOTED}|[^,"])+')
METADATA = "meta."
LISTS = ("status", "assistant", "model", "thread", "error", "outcome")
"""Qualifiers of several values, each of which may be had, or not: with a minus in front."""
FLAGS = ("open", "ended", "overdue", "illegal")
MAX_CHARS = 2_000
MAX_VALUES = 50


class BadQuery(ValueError):
    """The text is no filter; the message says where, and what may stand there."""


class Filter(Struct, frozen=True):
    """Which runs. Empty, or None: any.

    `wanted` and `unwanted`: values by qualifier (LISTS), any of them; `flags`: of FLAGS, all of them. `older_ms`,
    `younger_ms`: how long it has been in its status. `metadata`: values by key. `run_id`: what it begins with.
    """

    wanted: Mapping[str, tuple[str, ...]] = {}
    unwanted: Mapping[str, tuple[str, ...]] = {}
    flags: tuple[str, ...] = ()
    older_ms: int | None = None
    younger_ms: int | None = None
    metadata: Mapping[str, str] = {}
    run_id: str = ""

    def text(self) -> str:
        """Return what `parse` reads as this filter."""
        parts = [f"{name}:{_quoted_all(values)}" for name, values in self.wanted.items()]
        parts += [f"-{name}:{_quoted_all(values)}" for name, values in self.unwanted.items()]
        parts += [f"is:{flag}" for flag in self.flags]
        parts += [f"age:>{span(self.older_ms)}"] if self.older_ms is not None else []
        parts += [f"age:<{span(self.younger_ms)}"] if self.younger_ms is not None else []
        parts += [f"{METADATA}{key}:{_quoted(value)}" for key, value in self.metadata.items()]
        return " ".join([*parts, *([_quoted(self.run_id)] if self.run_id else [])])

    def merged(self, other: "Filter") -> "Filter":
        """Return the runs that are in both, as far as one filter can say it: the other's values go first."""
        return Filter(
            {**self.wanted, **other.wanted},
            {**self.unwanted, **other.unwanted},
            tuple(dict.fromkeys([*self.flags, *other.flags])),
            self.older_ms if other.older_ms is None else other.older_ms,
            self.younger_ms if other.younger_ms is None else other.younger_ms,
            {**self.metadata, **other.metadata},
            other.run_id or self.run_id,
        )


PRESETS: Mapping[str, str] = {
    "in flight": "is:open",
    "waiting for action": "status:requires_action",
    "stuck": "is:overdue",
    "failed last hour": "outcome:failed age:<1h",
    "illegal": "is:illegal",
}


def parse(text: str) -> Filter:
    """Return the filter that a text says; raises BadQuery."""
    if len(text) > MAX_CHARS:
        raise BadQuery(f"a filter has at most {MAX_CHARS:,} characters")
    found = Filter()
    for word in _words(text):
        found = _with(found, word)
    return found


def age(text: str) -> int:
    """Return the milliseconds of an age such as 90s, 10m, 2h or 3d; raises BadQuery."""
    if not (found := AGE.fullmatch(f">{text}")):
        raise BadQuery(f"{text!r} is no age: such as 90s, 10m, 2h or 3d")
    return int(found[2]) * UNITS[found[3]] * 1_000


def span(milliseconds: int) -> str:
    """Return an age in the largest unit that it is a whole number of."""
    seconds = milliseconds // 1_000
    unit, length = next((unit, length) for unit, length in reversed(UNITS.items()) if not seconds % length)
    return f"{seconds // length}{unit}"


def _words(text: str) -> Sequence[str]:
    """Split at blanks, but not within quotes; the quotes stay."""
    if '"' in WORD.sub("", text):
        raise BadQuery("a quotation mark has no end")
    return WORD.findall(text)


def _with(found: Filter, word: str) -> Filter:
    if word.startswith('"') or ":" not in word:
        if found.run_id:
            raise BadQuery(f"one run id is enough: there are {found.run_id!r} and {_bare(word)!r}")
        return structs.replace(found, run_id=_bare(word))
    name, _, value = word.partition(":")
    is_unwanted, name = name.startswith("-"), name.removeprefix("-")
    if not value:
        raise BadQuery(f"{name}: a value is missing behind the colon")
    if name in LISTS:
        field = "unwanted" if is_unwanted else "wanted"
        before: Mapping[str, tuple[str, ...]] = getattr(found, field)
        values = (*before.get(name, ()), *_values(value))
        if len(values) > MAX_VALUES:
            raise BadQuery(f"{name}: at most {MAX_VALUES} values")
        return structs.replace(found, **{field: {**before, name: tuple(dict.fromkeys(values))}})
    if is_unwanted:
        raise BadQuery(f"-{name}: only {', '.join(LISTS)} can be left out")
    if name.startswith(METADATA) and name != METADATA:
        return structs.replace(found, metadata={**found.metadata, name.removeprefix(METADATA): _bare(value)})
    if name not in _OTHERS:
        raise BadQuery(f"{name!r} is no qualifier: {', '.join((*LISTS, *_OTHERS, METADATA + 'KEY'))}")
    return _OTHERS[name](found, value)


def _flagged(found: Filter, value: str) -> Filter:
    if value not in FLAGS:
        raise BadQuery(f"is:{value}: there is {', '.join(FLAGS)}")
    return structs.replace(found, flags=tuple(dict.fromkeys([*found.flags, value])))


def _aged(found: Filter, value: str) -> Filter:
    if not (match := AGE.fullmatch(value)):
        raise BadQuery(f"age:{value}: such as age:>5m or age:<1h")
    field = "older_ms" if match[1] == ">" else "younger_ms"
    return structs.replace(found, **{field: int(match[2]) * UNITS[match[3]] * 1_000})


def _by_id(found: Filter, value: str) -> Filter:
    return structs.replace(found, run_id=_bare(value))


_OTHERS: Mapping[str, Callable[[Filter, str], Filter]] = {"is": _flagged, "age": _aged, "id": _by_id}


def _values(text: str) -> list[str]:
    """Split at commas, but not within quotes."""
    return [_bare(part) for part in VALUE.findall(text)]


def _bare(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL) if text[:1] == '"' else text


def _quoted(value: str) -> str:
    if value and not any(char.isspace() or char in '\\,":-' for char in value):
        return value
    return '"{}"'.format(re.sub(r'(["\\])', r"\\\1", value))


def _quoted_all(values: Sequence[str]) -> str:
    return ",".join(map(_quoted, values))
