"""The payloads of the events that runs were last changed by, apart from the runs: large, and hardly ever asked for."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

IN_HAND = 0
"""No number of a payload: it is where it came with."""
LET_GO = -1
"""Neither: there is no room for it, and hardly a use (rules.md 17)."""


class Payloads(Protocol):
    """Payloads by number. Numbers begin at 1 and go up; none is given twice."""

    def add(self, payload: bytes) -> int:
        """Keep a payload; return its number."""

    def drop(self, number: int) -> None:
        """Forget a payload that is kept."""

    def equals(self, number: int, payload: bytes) -> bool:
        """Tell whether this is the payload that is kept under the number."""

    def read(self, numbers: Iterable[int]) -> Mapping[int, bytes]:
        """Return payloads that are kept, by number."""

    def usage(self) -> "PayloadUsage":
        """Return what they take."""


class PayloadUsage(NamedTuple):
    """What payloads take: how many are in memory and on disk alone, and how many bytes are used of each."""

    in_memory: int = 0
    memory_bytes: int = 0
    on_disk: int = 0
    disk_bytes: int = 0


class InMemory:
    """All of them in memory, as they are."""

    def __init__(self) -> None:
        """Start empty."""
        self._kept: dict[int, bytes] = {}
        self._last = IN_HAND

    def add(self, payload: bytes) -> int:
        """Keep a payload; return its number."""
        self._last += 1
        self._kept[self._last] = payload
        return self._last

    def drop(self, number: int) -> None:
        """Forget a payload that is kept."""
        del self._kept[number]

    def equals(self, number: int, payload: bytes) -> bool:
        """Tell whether this is the payload that is kept under the number."""
        return self._kept[number] == payload

    def read(self, numbers: Iterable[int]) -> Mapping[int, bytes]:
        """Return payloads that are kept, by number."""
        return {number: self._kept[number] for number in numbers}

    def usage(self) -> PayloadUsage:
        """Return what they take."""
        return PayloadUsage(len(self._kept), sum(map(len, self._kept.values())))
