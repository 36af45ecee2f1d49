"""Label values: closed sets, allow-lists and limits. Nothing that a producer writes makes series without end."""

import re
from collections.abc import Iterable, Mapping, Sequence

from streamproc.core.measure import OTHER

UNKNOWN = "unknown"
"""Of a run that names none: Prometheus takes an empty label for no label."""

# Nothing that an exposition has to escape, or that a person could take for something else.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/@+-]{0,99}")


class Labels(dict[str | None, str]):
    """What arrives → its label value: `known` as given, further plain names while there is room, else `other`."""

    def __init__(self, known: Mapping[str | None, str], room: int = 0) -> None:
        super().__init__(known)
        self._room = room

    def __missing__(self, value: str | None) -> str:
        """Admit a plain name for good, first come, first served; any other takes no room."""
        if self._room <= 0 or value is None or not _PLAIN.fullmatch(value):
            return OTHER
        self._room -= 1
        self[value] = value
        return value

    def exported(self) -> set[str]:
        """Return every label value there is so far."""
        return {*self.values(), OTHER}


class Pairs(dict[tuple[str, str], tuple[str, str]]):
    """A pair of label values → the one that it is counted under: the first `room` as they are, then (first, other)."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def __missing__(self, pair: tuple[str, str]) -> tuple[str, str]:
        """Admit a pair for good, first come, first served; (first, other) takes no room, as each first has it."""
        if pair[1] == OTHER or self._room <= 0:
            return pair[0], OTHER
        self._room -= 1
        self[pair] = pair
        return pair

    def exported(self, firsts: Iterable[str]) -> set[tuple[str, str]]:
        """Return every pair there is so far, and each of `firsts` with `other`."""
        return {*self, *((first, OTHER) for first in firsts)}


def closed(values: Iterable[str]) -> Labels:
    """Return labels that admit nothing but `values`."""
    return Labels({value: value for value in values})


def limited(allowed: Sequence[str], room: int) -> Labels:
    """Return labels for names that the producers choose: those allowed, or, where none are named, the first ones."""
    known: dict[str | None, str] = {name: name for name in allowed}
    return Labels({**known, None: UNKNOWN, "": UNKNOWN, UNKNOWN: UNKNOWN, OTHER: OTHER}, 0 if allowed else room)
