"""The payload of the last event of each run, stored apart from the runs: large, and rarely read."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

IN_HAND = 0
"""Instead of a number: the payload is still with its run."""
LET_GO = -1
"""Instead of a number: the payload was dropped, as there was no room and hardly a use for it (rules.md 17)."""


class Payloads(Protocol):
    """Payloads by number. Numbers begin at 1 and go up; none is given twice."""

    def add(self, payload: bytes) -> int:
        """Store a payload; return its number."""

    def drop(self, number: int) -> None:
        """Drop a stored payload."""

    def equals(self, number: int, payload: bytes) -> bool:
        """Tell whether this is the payload stored under the number."""

    def read(self, numbers: Iterable[int]) -> Mapping[int, bytes]:
        """Return stored payloads by number."""

    def usage(self) -> "PayloadUsage":
        """Return how much room the payloads take."""


class PayloadUsage(NamedTuple):
    """The room that payloads take: how many are in memory, how many only on disk, and the bytes of each."""

    in_memory: int = 0
    memory_bytes: int = 0
    on_disk: int = 0
    disk_bytes: int = 0


class InMemory:
    """Stores all payloads in memory, uncompressed."""

    def __init__(self) -> None:
        """Start empty."""
        self._payloads: dict[int, bytes] = {}
        self._last = IN_HAND

    def add(self, payload: bytes) -> int:
        """Store a payload; return its number."""
        self._last += 1
        self._payloads[self._last] = payload
        return self._last

    def drop(self, number: int) -> None:
        """Drop a stored payload."""
        del self._payloads[number]

    def equals(self, number: int, payload: bytes) -> bool:
        """Tell whether this is the payload stored under the number."""
        return self._payloads[number] == payload

    def read(self, numbers: Iterable[int]) -> Mapping[int, bytes]:
        """Return stored payloads by number."""
        return {number: self._payloads[number] for number in numbers}

    def usage(self) -> PayloadUsage:
        """Return how much room the payloads take."""
        return PayloadUsage(len(self._payloads), sum(map(len, self._payloads.values())))
