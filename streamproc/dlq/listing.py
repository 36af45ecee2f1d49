"""The content of `dlq list`: the newest letters that pass the filter, and totals over all of them."""

import heapq
from collections import Counter
from typing import NamedTuple

from streamproc.dlq.letter import Foreign, Letter
from streamproc.dlq.receipts import Receipt, Receipts

MAX_NAMES = 1_000
OTHER = "other"
"""The name for all further names: anybody can make up ids of schemas."""


class NameCounts(Counter[str]):
    """Counts by name; names beyond the first MAX_NAMES are counted together."""

    def add(self, name: str) -> None:
        """Count one."""
        self[name if name in self or len(self) < MAX_NAMES else OTHER] += 1


class LetterCounts:
    """Counts of letters by reason and by schema."""

    def __init__(self) -> None:
        self.reasons, self.schemas = NameCounts(), NameCounts()

    def add(self, letter: Letter) -> None:
        """Count a letter."""
        self.reasons.add(letter.reason)
        self.schemas.add(letter.schema)


class ListedLetter(NamedTuple):
    """A letter without the record's content, its size in bytes, and its receipt, None where it was not replayed."""

    letter: Letter
    size: int
    receipt: Receipt | None


class LetterListing:
    """Collects letters in any order. `limit`: how many rows to keep, 0 for all; `open_only`: skip replayed letters."""

    def __init__(self, limit: int, *, open_only: bool = False) -> None:
        self.open_only = open_only
        self._limit = limit
        self._newest: list[tuple[tuple[int, int, int], ListedLetter]] = []
        self.letters = 0
        self.replayed = 0
        self.foreign = 0
        self.counts = LetterCounts()

    def add(self, letter: Letter | Foreign, receipts: Receipts) -> None:
        """Add a letter, or count a record that is not one."""
        if isinstance(letter, Foreign):
            self.foreign += 1
            return
        receipt = receipts.of(letter)
        if self.open_only and receipt is not None:
            return
        self.letters += 1
        self.replayed += receipt is not None
        self.counts.add(letter)
        # No two letters have the same place, so the heap never compares rows.
        order = letter.written_ms, letter.partition, letter.offset
        row = ListedLetter(letter._replace(key=None, value=None, headers=()), letter.size, receipt)
        if self._limit and len(self._newest) >= self._limit:
            heapq.heappushpop(self._newest, (order, row))
        else:
            heapq.heappush(self._newest, (order, row))

    def rows(self) -> list[ListedLetter]:
        """Return the letters that were rejected last, the newest at the end."""
        return [row for _, row in sorted(self._newest, key=lambda entry: entry[0])]
