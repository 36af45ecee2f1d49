"""What the windows know of the sources: how far each partition of the events has come (rules.md 18)."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from streamproc.core.measure import Mark

NOT_HEARD = -1
"""Stands for the watermark of a source that has not sent a mark."""


class SourceMark(Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """What is known of one source, in the format of an earlier release: each source under its own key."""

    watermark: int
    read_until: int
    seen_at: int


class Sources(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What is known of every source, by its partition. Times in milliseconds.

    `watermarks`: no event before it is unread, NOT_HEARD where nothing is known; `read_until`: when it was last caught
    up, by the clock, 0 while it is not; `seen_at`: the clock when it last had an event. Lists, since there may be
    thousands of sources, each of which is heard of every few seconds.
    """

    watermarks: list[int]
    read_until: list[int]
    seen_at: list[int]

    def __post_init__(self) -> None:
        """Raise ValueError if the restored lists do not have the same sources."""
        if not len(self.watermarks) == len(self.read_until) == len(self.seen_at):
            raise ValueError("lists of different lengths")

    @classmethod
    def of(cls, count: int, known: Mapping[Any, Any]) -> "Sources":
        """Return `count` sources, each as its SourceMark in `known` says, if there is one."""
        sources = cls([NOT_HEARD] * count, [0] * count, [0] * count)
        for number in range(count):
            mark = known.get(number)
            if isinstance(mark, SourceMark):
                sources.watermarks[number] = mark.watermark
                sources.read_until[number] = mark.read_until
                sources.seen_at[number] = mark.seen_at
        return sources

    @property
    def all_heard(self) -> bool:
        """Whether each has sent a mark."""
        return NOT_HEARD not in self.watermarks

    @property
    def watermark(self) -> int:
        """The time up to which everything was read: the minimum of all sources; NOT_HEARD before each has sent one."""
        return min(self.watermarks, default=NOT_HEARD)

    def copy(self) -> "Sources":
        """Return an independent copy."""
        return Sources(self.watermarks.copy(), self.read_until.copy(), self.seen_at.copy())

    def hear(self, marks: Iterable[Mark]) -> None:
        """Note marks; ignore one of a partition that does not exist."""
        watermarks, read_until, seen_at, count = self.watermarks, self.read_until, self.seen_at, len(self.watermarks)
        for mark in marks:
            number, sent_at = mark.source_partition, mark.sent_at
            if number >= count:
                continue
            known = watermarks[number]
            # A source that was caught up when it sent the mark had read everything: its time is the clock's as of then.
            watermark = sent_at if mark.idle and sent_at > mark.watermark else mark.watermark
            if watermark > known:
                watermarks[number] = watermark
            read_until[number] = sent_at if mark.idle else 0
            # For a source without an earlier mark, silence counts from now on.
            seen = sent_at if known == NOT_HEARD and sent_at > mark.seen_at else mark.seen_at
            if seen > seen_at[number]:  # noqa: PLR1730  max() is a call
                seen_at[number] = seen
