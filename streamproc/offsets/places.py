"""Parses the arguments of the command line: partitions, offsets, and targets of a reset. Pure."""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from streamproc.codec.deadletter import MAX_MESSAGE_CHARS
from streamproc.errors import ConfigError
from streamproc.runtime.ports import TopicPartition

EARLIEST = "earliest"
MAX_WHY_CHARS = MAX_MESSAGE_CHARS

_PARTITION = re.compile(r"([A-Za-z0-9._-]{1,249}):(\d{1,9})", re.ASCII)
_PLACE = re.compile(r"([A-Za-z0-9._-]{1,249}):(\d{1,9}):(\d{1,18})", re.ASCII)
_OFFSET = re.compile(r"\d{1,18}", re.ASCII)


class WrongPlace(ConfigError):
    """The argument is invalid; the message says what is accepted."""


class Passage(NamedTuple):
    """Records to be skipped: those of a partition from the offset `first` to `through` (included), and why."""

    source: TopicPartition
    first: int
    through: int
    why: str

    @property
    def offsets(self) -> str:
        """The offsets in words."""
        return f"offset {self.first}" if self.first == self.through else f"offsets {self.first} to {self.through}"


class Target(NamedTuple):
    """The target of a reset: an offset, or a time in milliseconds; where both are None, the first existing record."""

    offset: int | None = None
    time_ms: int | None = None


def passage(place: str, through: int | None, why: str) -> Passage:
    """Read which records are to be skipped; raises WrongPlace."""
    match = _PLACE.fullmatch(place)
    if match is None:
        raise WrongPlace(f"{place!r} is not a place: give topic, partition and offset, such as run-events:0:17")
    first = int(match[3])
    if through is not None and through < first:
        raise WrongPlace(f"--through {through} lies before {place}: it names the last offset to skip")
    if not why.strip() or len(why) > MAX_WHY_CHARS:
        raise WrongPlace(
            f"--why has {len(why):,} characters: say in 1 to {MAX_WHY_CHARS:,} why nobody needs the records"
        )
    return Passage(TopicPartition(match[1], int(match[2])), first, first if through is None else through, why)


def partition(text: str) -> TopicPartition:
    """Read a partition; raises WrongPlace."""
    match = _PARTITION.fullmatch(text)
    if match is None:
        raise WrongPlace(f"{text!r} is not a partition: give topic and number, such as run-events:0")
    return TopicPartition(match[1], int(match[2]))


def target(text: str) -> Target:
    """Read the target of a reset; raises WrongPlace."""
    if text == EARLIEST:
        return Target()
    if _OFFSET.fullmatch(text):
        return Target(offset=int(text))
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        time_ms = round(at.timestamp() * 1_000)
    except (ValueError, OverflowError):
        time_ms = -1
    if time_ms < 0:
        raise WrongPlace(
            f"--to {text!r}: give {EARLIEST}, an offset such as 1700, or a time such as 2026-01-31T12:00:00Z (UTC "
            "unless it names a time zone, as in +02:00)"
        )
    return Target(time_ms=time_ms)
