"""How far the read model has come, as every answer says it."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum

from streamproc.console.answers.common import AsOf, Rebuild
from streamproc.runtime.ports import TopicPartition

FRESH_S = 1.5
"""Complete so short a time ago is complete: it is asked about four times a second."""

MUCH = 20_000
"""Offsets that are unread at the start, from which on it is worth saying how long it will take."""


class Halt(StrEnum):
    """What keeps the follower from reading on, in one word."""

    KAFKA = "kafka"
    DISK = "disk"


class FollowerStatus:
    """Is told by the follower, asked by the answers. `clock` is monotonic, in seconds.

    `trouble`: why reading has come to a halt, in words, empty where it has not; `halt`: the same in one word.
    `records_read`: since the start, those of earlier read models among them; `skipped`: offsets of batches that nobody
    can read, by topic.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, is_new: bool = True, untouched_s: float = 0.0
    ) -> None:
        """Begin with a read model that is new, or was last written `untouched_s` ago."""
        self._clock = clock
        self._is_new = is_new
        self._next: dict[TopicPartition, int] = {}
        self._lag: dict[TopicPartition, int] = {}
        self._complete_at: float | None = None
        self._began_at = clock()
        self._known_at = self._began_at - untouched_s
        self._records = 0
        self._notes: dict[str, str] = {}
        self.records_read = 0
        self.skipped: Counter[str] = Counter()
        self.trouble = ""
        self.halt: Halt | None = None

    def begin(self) -> None:
        """Forget what was: the read model is built anew."""
        self._next, self._lag, self._records = {}, {}, 0
        self._complete_at, self._is_new = None, True
        self._began_at = self._known_at = self._clock()

    def read(self, next_offsets: Mapping[TopicPartition, int], records: int = 0) -> None:
        """Take note of what was written; the next offset of each partition."""
        self._next.update(next_offsets)
        self._records += records
        self.records_read += records

    def lags(self, lag: Mapping[TopicPartition, int], *, is_complete: bool) -> None:
        """Take note of how many offsets are unread; complete: the broker just said that nothing is."""
        self._lag.update(lag)
        self.trouble, self.halt = "", None
        if is_complete:
            self._complete_at = self._clock()

    def halted(self, halt: Halt, trouble: str) -> None:
        """Take note of what keeps the follower from reading on."""
        self.trouble, self.halt = trouble, halt

    def note(self, about: str, text: str) -> None:
        """Say what is missing, once for each matter; an empty text takes it back."""
        if text:
            self._notes[about] = text
        else:
            self._notes.pop(about, None)

    @property
    def was_complete(self) -> bool:
        """Whether everything that there was has been read once."""
        return self._complete_at is not None

    def partitions(self, topic: str) -> int:
        """Return how many partitions of a topic are read."""
        return sum(place.topic == topic for place in self._next)

    def lag(self) -> dict[str, int]:
        """Return how many offsets are unread, by partition."""
        return {f"{topic}:{partition}": lag for (topic, partition), lag in sorted(self._lag.items())}

    def lag_by_topic(self) -> Mapping[str, int]:
        """Return how many offsets are unread, by topic."""
        by_topic: Counter[str] = Counter()
        for place, lag in self._lag.items():
            by_topic[place.topic] += lag
        return by_topic

    def as_of(self) -> AsOf:
        """Return how far the answers go."""
        quiet_s = self._clock() - (self._known_at if self._complete_at is None else self._complete_at)
        # Nothing is 0 that was not complete: an answer says by that whether all is in it.
        behind_s = 0.0 if self.was_complete and quiet_s < FRESH_S else max(0.1, round(quiet_s, 1))
        offsets = {f"{topic}:{partition}": offset for (topic, partition), offset in sorted(self._next.items())}
        notes = [*([self.trouble] if self.trouble else []), *self._notes.values()]
        return AsOf(partitions=offsets, behind_s=behind_s, rebuild=self._rebuild(), notes=notes)

    def _rebuild(self) -> Rebuild | None:
        left, elapsed_s = sum(self._lag.values()), self._clock() - self._began_at
        if self.was_complete or (not self._is_new and left < MUCH):
            return None
        rate = self._records / elapsed_s if elapsed_s > 0 else 0.0
        fraction = self._records / max(self._records + left, 1)
        return Rebuild(
            records_read=self._records,
            records_left=left,
            fraction=round(fraction, 4),
            seconds_left=round(left / rate, 1) if rate else None,
        )
