"""The text of the filter bar (`status:failed,expired -assistant:a age:>5m meta.team:x run_id`), parsed and written."""

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
"""Qualifiers with a list of values; with a minus in front, runs with these values are left out."""
FLAGS = ("open", "ended", "overdue", "illegal")
MAX_CHARS = 2_000
MAX_VALUES = 50


class BadQuery(ValueError):
    """The text is not a valid filter; the message says where, and what is allowed there."""


class Filter(Struct, frozen=True):
    """A filter of runs. Empty, or None: any.

    `wanted`, `unwanted`: values by qualifier (LISTS); a run matches if it has any, or none, of them. `flags`: of FLAGS,
    all must hold. `older_ms`, `younger_ms`: the time that the run has been in its status. `metadata`: values by key.
    `run_id`: a prefix.
    """

    wanted: Mapping[str, tuple[str, ...]] = {}
    unwanted: Mapping[str, tuple[str, ...]] = {}
    flags: tuple[str, ...] = ()
    older_ms: int | None = None
    younger_ms: int | None = None
    metadata: Mapping[str, str] = {}
    run_id: str = ""

    def text(self) -> str:
        """Return the text that `parse` turns into this filter."""
        parts = [f"{name}:{_quoted_all(values)}" for name, values in self.wanted.items()]
        parts += [f"-{name}:{_quoted_all(values)}" for name, values in self.unwanted.items()]
        parts += [f"is:{flag}" for flag in self.flags]
        parts += [f"age:>{span(self.older_ms)}"] if self.older_ms is not None else []
        parts += [f"age:<{span(self.younger_ms)}"] if self.younger_ms is not None else []
        parts += [f"{METADATA}{key}:{_quoted(value)}" for key, value in self.metadata.items()]
        return " ".join([*parts, *([_quoted(self.run_id)] if self.run_id else [])])

    def merged(self, overlay: "Filter") -> "Filter":
        """Return both filters as one. Where both set the same qualifier, `overlay` wins."""
        return Filter(
            {**self.wanted, **overlay.wanted},
            {**self.unwanted, **overlay.unwanted},
            tuple(dict.fromkeys([*self.flags, *overlay.flags])),
            self.older_ms if overlay.older_ms is None else overlay.older_ms,
            self.younger_ms if overlay.younger_ms is None else overlay.younger_ms,
            {**self.metadata, **overlay.metadata},
            overlay.run_id or self.run_id,
        )


PRESETS: Mapping[str, str] = {
    "in flight": "is:open",
    "waiting for action": "status:requires_action",
    "stuck": "is:overdue",
    "failed last hour": "outcome:failed age:<1h",
    "illegal": "is:illegal",
}


def parse(text: str) -> Filter:
    """Parse a filter; raises BadQuery."""
    if len(text) > MAX_CHARS:
        raise BadQuery(f"a filter has at most {MAX_CHARS:,} characters")
    parsed = Filter()
    for word in _words(text):
        parsed = _with(parsed, word)
    return parsed


def age(text: str) -> int:
    """Return the milliseconds of an age such as 90s, 10m, 2h or 3d; raises BadQuery."""
    if not (match := AGE.fullmatch(f">{text}")):
        raise BadQuery(f"{text!r} is no age: such as 90s, 10m, 2h or 3d")
    return int(match[2]) * UNITS[match[3]] * 1_000


def span(milliseconds: int) -> str:
    """Write an age in the largest unit of which it is a whole multiple."""
    seconds = milliseconds // 1_000
    unit, length = next((unit, length) for unit, length in reversed(UNITS.items()) if not seconds % length)
    return f"{seconds // length}{unit}"


def _words(text: str) -> Sequence[str]:
    """Split at blanks, but not within quotes; the quotes stay."""
    if '"' in WORD.sub("", text):
        raise BadQuery("a quotation mark has no end")
    return WORD.findall(text)


def _with(current: Filter, word: str) -> Filter:
    if word.startswith('"') or ":" not in word:
        if current.run_id:
            raise BadQuery(f"one run id is enough: there are {current.run_id!r} and {_bare(word)!r}")
        return structs.replace(current, run_id=_bare(word))
    name, _, value = word.partition(":")
    is_unwanted, name = name.startswith("-"), name.removeprefix("-")
    if not value:
        raise BadQuery(f"{name}: a value is missing behind the colon")
    if name in LISTS:
        field = "unwanted" if is_unwanted else "wanted"
        before: Mapping[str, tuple[str, ...]] = getattr(current, field)
        values = (*before.get(name, ()), *_values(value))
        if len(values) > MAX_VALUES:
            raise BadQuery(f"{name}: at most {MAX_VALUES} values")
        return structs.replace(current, **{field: {**before, name: tuple(dict.fromkeys(values))}})
    if is_unwanted:
        raise BadQuery(f"-{name}: only {', '.join(LISTS)} can be left out")
    if name.startswith(METADATA) and name != METADATA:
        return structs.replace(current, metadata={**current.metadata, name.removeprefix(METADATA): _bare(value)})
    if name not in _OTHERS:
        raise BadQuery(f"{name!r} is no qualifier: {', '.join((*LISTS, *_OTHERS, METADATA + 'KEY'))}")
    return _OTHERS[name](current, value)


def _flagged(current: Filter, value: str) -> Filter:
    if value not in FLAGS:
        raise BadQuery(f"is:{value}: there is {', '.join(FLAGS)}")
    return structs.replace(current, flags=tuple(dict.fromkeys([*current.flags, value])))


def _aged(current: Filter, value: str) -> Filter:
    if not (match := AGE.fullmatch(value)):
        raise BadQuery(f"age:{value}: such as age:>5m or age:<1h")
    field = "older_ms" if match[1] == ">" else "younger_ms"
    return structs.replace(current, **{field: int(match[2]) * UNITS[match[3]] * 1_000})


def _by_id(current: Filter, value: str) -> Filter:
    return structs.replace(current, run_id=_bare(value))


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
