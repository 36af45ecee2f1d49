"""Assigns a few places to names: first come, first served, until other names were clearly busier for a while.

Pure: no clock; the caller ends the turns. Memory is bounded, whatever names come.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from msgspec import Struct

Name = TypeVar("Name", bound=Hashable)

DECAY = 0.9
"""Factor on a score after each turn: it halves in seven turns."""
CLEARLY = 2.0
"""A name takes a place if it is this many times as busy as the holder."""
TURNS = 3
"""It must be so for this many turns in a row, and appear in each."""
LEAST = 3.0
"""A name with a lower score takes no place from a holder."""
CANDIDATES = 10
"""How many candidates are remembered for each place."""


class _Score(Struct):
    """`score`: the count, with decay of older turns; `turns`: how many in a row the name was clearly busier."""

    score: float = 0.0
    came: bool = False
    turns: int = 0


class Busiest(Generic[Name]):
    """A number of places, and the names that have them.

    Of the names without a place only the more frequent are remembered (Misra and Gries, cut at the median), with a
    score that is never too high: names that come once each, however many, displace none. `fits`: who may have one.
    """

    def __init__(self, places: int, fits: Callable[[Name], object] = lambda _: True) -> None:
        self._places = places
        self._fits = fits
        self._most_others = 2 * CANDIDATES * places
        self._holders: dict[Name, _Score] = {}
        self._others: dict[Name, _Score] = {}

    @property
    def has_room(self) -> bool:
        """Whether a place is free."""
        return len(self._holders) < self._places

    def __contains__(self, name: Name) -> bool:
        """Tell whether a name is remembered, with a place or without."""
        return name in self._holders or name in self._others

    def __len__(self) -> int:
        """Return how many names are remembered."""
        return len(self._holders) + len(self._others)

    def take_place(self, name: Name) -> None:
        """Give a free place away."""
        self._holders[name] = self._others.pop(name) if name in self._others else _Score()

    def forget(self, is_gone: Callable[[Name], bool]) -> list[Name]:
        """Forget names, and return those of them that had places."""
        self._others = {name: standing for name, standing in self._others.items() if not is_gone(name)}
        gone = [name for name in self._holders if is_gone(name)]
        for name in gone:
            del self._holders[name]
        return gone

    def add(self, name: Name, amount: float) -> None:
        """Count what a name did."""
        if amount <= 0 or not self._places:
            return
        standing = self._holders.get(name) or self._others.get(name)
        if standing is None:
            if not self._fits(name):
                return
            standing = self._others[name] = _Score()
        standing.score += amount
        standing.came = True
        if len(self._others) > self._most_others:
            self._cut()

    def turn(self, passed: int = 1) -> list[tuple[Name, Name]]:
        """End a turn, `passed` of them where nothing came in between; return who lost a place, and to whom."""
        swaps = self._swaps() if len(self._holders) == self._places and self._places else []
        for before, after in swaps:
            self._others[before], self._holders[after] = self._holders.pop(before), self._others.pop(after)
            self._others[before].turns = 0
        decay = DECAY**passed
        for standings in (self._holders, self._others):
            for standing in standings.values():
                standing.score *= decay
                standing.came = False
        self._others = {name: standing for name, standing in self._others.items() if standing.score >= 1 / 2}
        return swaps

    def _swaps(self) -> list[tuple[Name, Name]]:
        """Pair the weakest holders with the busiest challengers; a few at most, so that few series change at a time."""
        weakest = sorted(self._holders, key=lambda name: self._holders[name].score)[: max(1, self._places // 5)]
        enough = max(LEAST, CLEARLY * self._holders[weakest[0]].score)
        for standing in self._others.values():
            standing.turns = standing.turns + 1 if standing.came and standing.score >= enough else 0
        ready = [name for name, standing in self._others.items() if standing.turns >= TURNS]
        ready.sort(key=lambda name: -self._others[name].score)
        return [
            (before, after)
            for before, after in zip(weakest, ready, strict=False)
            if self._others[after].score >= CLEARLY * self._holders[before].score
        ]

    def _cut(self) -> None:
        """Forget the rarer half; what the others lose by it they had of names that are as frequent."""
        scores = sorted([standing.score for standing in self._others.values()])
        cut = scores[len(scores) // 2]
        for standing in self._others.values():
            standing.score -= cut
        self._others = {name: standing for name, standing in self._others.items() if standing.score > 0}
