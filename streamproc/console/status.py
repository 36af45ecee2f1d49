"""How far the read model has read; part of every answer."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum

from streamproc.console.answers.common import AsOf, Rebuild
from streamproc.runtime.ports import TopicPartition

FRESH_S = 1.5
"""A read model that was complete this short a time ago counts as complete: the check comes four times a second."""

MUCH = 20_000
"""From this many unread offsets at the start, the time left is shown."""


class Halt(StrEnum):
    """What stops the follower from reading on, in one word."""

    KAFKA = "kafka"
    DISK = "disk"


class FollowerStatus:
    """Written by the follower, read by the answers. `clock` is monotonic, in seconds.

    `trouble`: why reading has stopped, in words, empty where it has not; `halt`: the same in one word. `records_read`:
    since the process started, over all rebuilds; `skipped`: offsets in batches that cannot be read, by topic.
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
        """Reset the progress: the read model is built anew."""
        self._next, self._lag, self._records = {}, {}, 0
        self._complete_at, self._is_new = None, True
        self._began_at = self._known_at = self._clock()

    def read(self, next_offsets: Mapping[TopicPartition, int], records: int = 0) -> None:
        """Note that records were written, and the next offset of each partition."""
        self._next.update(next_offsets)
        self._records += records
        self.records_read += records

    def lags(self, lag: Mapping[TopicPartition, int], *, is_complete: bool) -> None:
        """Note how many offsets are unread. `is_complete`: the broker just confirmed that none are."""
        self._lag.update(lag)
        self.trouble, self.halt = "", None
        if is_complete:
            self._complete_at = self._clock()

    def halted(self, halt: Halt, trouble: str) -> None:
        """Note what stops the follower from reading on."""
        self.trouble, self.halt = trouble, halt

    def note(self, about: str, text: str) -> None:
        """Set the note on a matter (`about`); an empty text removes it."""
        if text:
            self._notes[about] = text
        else:
            self._notes.pop(about, None)

    @property
    def was_complete(self) -> bool:
        """Whether the read model has been complete at least once."""
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
        """Return up to where the answers are complete."""
        quiet_s = self._clock() - (self._known_at if self._complete_at is None else self._complete_at)
        # Never 0 before the read model was complete: callers take 0 to mean that nothing is missing.
        behind_s = 0.0 if self.was_complete and quiet_s < FRESH_S else max(0.1, round(quiet_s, 1))
        offsets = {f"{topic}:{partition}": offset for (topic, partition), offset in sorted(self._next.items())}
        notes = [*([self.trouble] if self.trouble else []), *self._notes.values()]
        return AsOf(partitions=offsets, behind_s=behind_s, rebuild=self._rebuild(), notes=notes)

    def _rebuild(self) -> Rebuild | None:
        records_left, elapsed_s = sum(self._lag.values()), self._clock() - self._began_at
        if self.was_complete or (not self._is_new and records_left < MUCH):
            return None
        rate = self._records / elapsed_s if elapsed_s > 0 else 0.0
        fraction = self._records / max(self._records + records_left, 1)
        return Rebuild(
            records_read=self._records,
            records_left=records_left,
            fraction=round(fraction, 4),
            seconds_left=round(records_left / rate, 1) if rate else None,
        )
