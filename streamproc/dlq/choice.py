"""The filters of dead letters on the command line, parsed and applied."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from streamproc.codec import framing
from streamproc.dlq.letter import UNFRAMED, Letter
from streamproc.errors import ConfigError

_PLACE = re.compile(r"(\d{1,9}):(\d{1,18})", re.ASCII)
_AGE = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_REASON = re.compile(r"[a-z0-9_]{1,100}")
_SCHEMA_ID = re.compile(r"(?:id:)?(\d{1,10})", re.ASCII)
_FINGERPRINT = re.compile(r"(?:crc64:)?([0-9a-f]{16})", re.ASCII)
_WORDS = (framing.label(framing.JSON), UNFRAMED)
"""Schemas that have neither id nor fingerprint."""
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

Place = tuple[int, int]
"""Partition and offset in the dead-letter topic."""


class WrongFilter(ConfigError):
    """A filter is invalid; the message says what is accepted."""


class Choice(NamedTuple):
    """A filter of dead letters. All fields must hold; an empty set or None admits any. Times in milliseconds.

    `since_ms` (included), `until_ms` (not included): when the record was rejected; `event_*`: the event's own time,
    which may be long before.
    """

    reasons: frozenset[str] = frozenset()
    schemas: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    partitions: frozenset[int] = frozenset()
    places: frozenset[Place] = frozenset()
    event_since_ms: int | None = None
    event_until_ms: int | None = None

    def checked(self) -> "Choice":
        """Return this filter; raises WrongFilter where no time lies between `since` and `until`."""
        for option, since, until in (
            ("", self.since_ms, self.until_ms),
            ("event-", self.event_since_ms, self.event_until_ms),
        ):
            if since is not None and until is not None and since >= until:
                raise WrongFilter(f"--{option}until is not after --{option}since: nothing is between them")
        return self

    def admits(self, letter: Letter) -> bool:
        """Tell whether a letter passes the filter."""
        return (
            self.covers(letter.partition, letter.offset)
            and (not self.reasons or letter.reason in self.reasons)
            and (not self.schemas or letter.schema in self.schemas)
            and _is_between(letter.written_ms, self.since_ms, self.until_ms)
            and _is_between(letter.source.timestamp, self.event_since_ms, self.event_until_ms)
        )

    def covers(self, partition: int, offset: int) -> bool:
        """Tell whether a record at this place, letter or not, may pass the filter."""
        if self.partitions and partition not in self.partitions:
            return False
        return not self.places or (partition, offset) in self.places

    def among(self, count: int) -> list[int]:
        """Return which of `count` partitions must be read; raises WrongFilter where one does not exist."""
        named = self.partitions | {partition for partition, _ in self.places}
        if wrong := sorted(partition for partition in named if partition >= count):
            raise WrongFilter(f"there is no partition {wrong[0]}: the dead-letter topic has 0 to {count - 1}")
        return [partition for partition in range(count) if self._may_be_in(partition)]

    def span(self, partition: int) -> tuple[int, int | None]:
        """Return the range of offsets of a partition to be read: start, and exclusive end (None: to the last)."""
        offsets = [offset for number, offset in self.places if number == partition]
        return (min(offsets), max(offsets) + 1) if offsets else (0, None)

    def _may_be_in(self, partition: int) -> bool:
        return (not self.partitions or partition in self.partitions) and (
            not self.places or any(number == partition for number, _ in self.places)
        )


def reasons(texts: Iterable[str]) -> frozenset[str]:
    """Read reasons; raises WrongFilter."""
    words = frozenset(texts)
    if wrong := sorted(text for text in words if not _REASON.fullmatch(text)):
        raise WrongFilter(f"--reason {wrong[0]!r}: give one word such as unknown_schema or undecodable")
    return words


def schemas(texts: Iterable[str]) -> frozenset[str]:
    """Read schemas as framing.label names them; raises WrongFilter."""
    return frozenset(map(_schema, texts))


def places(texts: Iterable[str]) -> frozenset[Place]:
    """Read places of letters; raises WrongFilter."""
    return frozenset(map(place, texts))


def place(text: str) -> Place:
    """Read the place of one letter; raises WrongFilter."""
    match = _PLACE.fullmatch(text)
    if match is None:
        raise WrongFilter(f"{text!r} is not the place of a dead letter: give partition and offset, such as 0:17")
    return int(match[1]), int(match[2])


def moment(option: str, text: str | None, now_ms: int) -> int | None:
    """Read an age or a time as Unix milliseconds; None where none is given. Raises WrongFilter."""
    if text is None:
        return None
    if age := _AGE.fullmatch(text):
        return now_ms - int(age[1]) * _UNIT_MS[age[2]]
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        return round(at.timestamp() * 1_000)
    except (ValueError, OverflowError):
        raise WrongFilter(
            f"{option} {text!r}: give an age such as 90m, 2h or 3d, or a time such as 2026-01-31T12:00 "
            "(UTC unless it names a time zone, as in +02:00)"
        ) from None


def _is_between(at_ms: int, since_ms: int | None, until_ms: int | None) -> bool:
    return (since_ms is None or at_ms >= since_ms) and (until_ms is None or at_ms < until_ms)


def _schema(text: str) -> str:
    if text in _WORDS:
        return text
    if number := _SCHEMA_ID.fullmatch(text):
        return f"id:{int(number[1])}"
    if fingerprint := _FINGERPRINT.fullmatch(text.lower()):
        return f"crc64:{fingerprint[1]}"
    raise WrongFilter(
        f"--schema {text!r}: give a registry id such as 17 or id:17, a fingerprint such as crc64:0123456789abcdef, "
        f"{_WORDS[0]}, or {UNFRAMED} for values without a framing header"
    )
