"""What `dlq list` shows: the newest of the letters that are meant, and totals over all of them."""

import heapq
from collections import Counter
from typing import NamedTuple

from streamproc.dlq.letter import Foreign, Letter
from streamproc.dlq.receipts import Receipt, Receipts

MAX_NAMES = 1_000
OTHER = "other"
"""Counts what has no room: anybody can make up ids of schemas."""


class NameCounts(Counter[str]):
    """Counts MAX_NAMES names, and all others together."""

    def add(self, name: str) -> None:
        """Count one."""
        self[name if name in self or len(self) < MAX_NAMES else OTHER] += 1


class Seen:
    """Which reasons and schemas there are."""

    def __init__(self) -> None:
        self.reasons, self.schemas = NameCounts(), NameCounts()

    def add(self, letter: Letter) -> None:
        """Take a letter."""
        self.reasons.add(letter.reason)
        self.schemas.add(letter.schema)


class LetterRow(NamedTuple):
    """A letter without what its record holds, its size in bytes, and its receipt where it was replayed."""

    letter: Letter
    size: int
    receipt: Receipt | None


class LetterListing:
    """Takes letters in any order. `limit` 0: keeps all; `open_only`: passes over what was replayed."""

    def __init__(self, limit: int, *, open_only: bool = False) -> None:
        self.open_only = open_only
        self._limit = limit
        self._newest: list[tuple[tuple[int, int, int], LetterRow]] = []
        self.letters = 0
        self.replayed = 0
        self.foreign = 0
        self.seen = Seen()

    def add(self, found: Letter | Foreign, known: Receipts) -> None:
        """Take a letter, or count what is none."""
        if isinstance(found, Foreign):
            self.foreign += 1
            return
        receipt = known.of(found)
        if self.open_only and receipt is not None:
            return
        self.letters += 1
        self.replayed += receipt is not None
        self.seen.add(found)
        # The order of the list: a letter has one place, so rows are never compared.
        order = found.written_ms, found.partition, found.offset
        row = LetterRow(found._replace(key=None, value=None, headers=()), found.size, receipt)
        if self._limit and len(self._newest) >= self._limit:
            heapq.heappushpop(self._newest, (order, row))
        else:
            heapq.heappush(self._newest, (order, row))

    def rows(self) -> list[LetterRow]:
        """Return those that were rejected last, the newest at the end."""
        return [row for _, row in sorted(self._newest, key=lambda each: each[0])]
