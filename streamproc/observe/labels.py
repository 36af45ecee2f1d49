"""Label values: closed sets, allow-lists and limits. Nothing that a producer writes makes series without end."""

import re
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from streamproc.core.measure import OTHER
from streamproc.observe.busiest import Busiest

UNKNOWN = "unknown"
"""Of a run that names none: Prometheus takes an empty label for no label."""

# Nothing that an exposition has to escape, or that a person could take for something else.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/@+-]{0,99}")

Pair = tuple[str, str]
Label = TypeVar("Label", bound=Hashable)


class _Placed(dict[Any, Label]):
    """What arrives → what it is counted under, for who has a place that is itself."""

    _busiest: Busiest[Label]

    def turn(self, passed: int = 1) -> Sequence[Label]:
        """Give places to who was clearly busier; return those that hold none any more."""
        swaps = self._busiest.turn(passed)
        for before, after in swaps:
            del self[before]
            self[after] = after
        return [before for before, _ in swaps]


class Labels(_Placed[str]):
    """What arrives → its label value: `known` as given, further plain names that have a place, else `other`.

    A place goes to who comes first, and later to who is clearly busier; see `Busiest`. Who is known keeps its own.
    """

    def __init__(self, known: Mapping[str | None, str], room: int = 0) -> None:
        super().__init__(known)
        self._known = frozenset(known)
        self._busiest: Busiest[str] = Busiest(room, _PLAIN.fullmatch)

    def __missing__(self, value: str | None) -> str:
        """Give a free place to a plain name; any other takes none."""
        if not self._busiest.has_room or value is None or not _PLAIN.fullmatch(value):
            return OTHER
        self._busiest.take_place(value)
        self[value] = value
        return value

    def count(self, value: str | None, amount: int) -> None:
        """Count what a name did, for who is to have a place."""
        if value is not None and value not in self._known:
            self._busiest.add(value, amount)

    def exported(self) -> set[str]:
        """Return every label value there is now."""
        return {*self.values(), OTHER}


class Pairs(_Placed[Pair]):
    """A pair of label values → the one that it is counted under: itself where it has a place, else (first, other)."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._busiest: Busiest[Pair] = Busiest(room)

    def __missing__(self, pair: Pair) -> Pair:
        """Give a free place to a pair; (first, other) takes none, as each first has it."""
        if pair[1] == OTHER or not self._busiest.has_room:
            return pair[0], OTHER
        self._busiest.take_place(pair)
        self[pair] = pair
        return pair

    def count(self, pair: Pair, amount: int) -> None:
        """Count what a pair did, for who is to have a place."""
        if pair[1] != OTHER:
            self._busiest.add(pair, amount)

    def without(self, firsts: Container[str], seconds: Container[str]) -> Sequence[Pair]:
        """Forget pairs with these; return those that are no more."""
        gone = self._busiest.forget(lambda pair: pair[0] in firsts or pair[1] in seconds)
        for pair in gone:
            del self[pair]
        return gone

    def exported(self, firsts: Iterable[str]) -> set[Pair]:
        """Return every pair there is now, and each of `firsts` with `other`."""
        return {*self, *((first, OTHER) for first in firsts)}


def closed(values: Iterable[str]) -> Labels:
    """Return labels that admit nothing but `values`."""
    return Labels({value: value for value in values})


def limited(allowed: Sequence[str], room: int) -> Labels:
    """Return labels for names that the producers choose: those allowed, or, where none are named, the busiest."""
    known: dict[str | None, str] = {name: name for name in allowed}
    return Labels({**known, None: UNKNOWN, "": UNKNOWN, UNKNOWN: UNKNOWN, OTHER: OTHER}, 0 if allowed else room)
