"""Reads a time of an object, in any common notation, as Unix seconds.

Go, protobuf and Avro have no null for a number: for a time that is not set they write 0, the year 1, or less.
"""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from streamproc.codec.arrival import MAX_UNIX_SECONDS
from streamproc.core.model import EventFlag

TIME_UNSET, TIME_UNREADABLE = EventFlag.TIME_UNSET, EventFlag.TIME_UNREADABLE
MAX_TIME_CHARS = 100
"""No notation of a time is longer."""
_EPOCH, _SECOND = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None), timedelta(seconds=1)
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,25}")
_BASIC_DATE = re.compile(r"[0-9]{8}")
"""An ISO 8601 date without dashes, which must not be read as a number."""
_NO_YEAR = "0000-"
"""The beginning of MySQL's zero date: a time that is not set."""
_EARLY_YEAR = re.compile(r"[\s-]0[0-9]{3}\s")
_OFFSET = r"[+-][0-9]{2}:?[0-9]{2}"
_ZONE = re.compile(rf"(?<=[0-9])\s*+(?P<offset>{_OFFSET})?+\s*+(?:UTC|GMT|Z)$", re.IGNORECASE)
_BLANK_OFFSET = re.compile(rf"(?<=[0-9])\s++(?={_OFFSET}$)")
_REGION = re.compile(r"\[[^\[\]]*+\]$")
"""The region that Java appends to an offset; the offset alone is enough."""
_RFC_ZONE = r"GMT|UTC?|Z|[ECMP][SD]T|[+-][0-9]{4}"
_RFC = re.compile(
    r"(?:[a-z]+,?\s+)?[0-9]{1,2}[\s-][a-z]{3,9}[\s-][0-9]{2,4}\s+[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?"
    rf"(?:\s+(?:{_RFC_ZONE}))?",
    re.IGNORECASE,
)
"""Times as in HTTP and mail (RFC 1123, 2822 and 850), with the zone names that these RFCs define."""


def seconds(value: Any, per_second: int, odd: list[EventFlag]) -> int | None:
    """Return a time in Unix seconds, from a number of units of which a second has `per_second`, or from a text.

    A text is ISO 8601 (UTC unless it names a zone), RFC 1123, or the number. Returns None where the value is null,
    means "not set", or cannot be read; the latter two add a flag to `odd`.
    """
    if value is None:
        return None
    try:
        unix_seconds = _of_text(value.strip(), per_second) if isinstance(value, str) else _of_number(value, per_second)
    except (ValueError, TypeError, OverflowError):
        unix_seconds = MAX_UNIX_SECONDS + 1
    if 0 < unix_seconds <= MAX_UNIX_SECONDS:
        return unix_seconds
    odd.append(TIME_UNSET if unix_seconds <= 0 else TIME_UNREADABLE)
    return None


def _of_number(value: Any, per_second: int) -> int:
    if isinstance(value, bool):
        raise TypeError
    return int(value // per_second)


def _of_text(text: str, per_second: int) -> int:
    if not text or text.startswith(_NO_YEAR):
        return 0
    if len(text) > MAX_TIME_CHARS or not text.isascii():
        raise ValueError
    if _NUMBER.fullmatch(text) and not _BASIC_DATE.fullmatch(text):
        return _of_number(int(text) if _WHOLE.fullmatch(text) else float(text), per_second)
    if _RFC.fullmatch(text):
        # The library moves years below 100 into this century or the last; but Go's zero time is in the year 1.
        if _EARLY_YEAR.search(text):
            return 0
        moment = parsedate_to_datetime(text)
    else:
        moment = datetime.fromisoformat(_with_offset(text))
    # Not timestamp(): it fails near both ends of the calendar, where the time in UTC is out of datetime's range.
    return (moment.replace(tzinfo=None) - _EPOCH - (moment.utcoffset() or timedelta())) // _SECOND


def _with_offset(text: str) -> str:
    """Return a time with its zone, if there is one, as an offset directly behind the time, as ISO 8601 requires."""
    text = _BLANK_OFFSET.sub("", _REGION.sub("", text))
    return _ZONE.sub(lambda zone: zone["offset"] or "+00:00", text)
