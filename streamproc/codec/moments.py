"""A time of an object, however it is written, as Unix seconds.

Go, protobuf and Avro have no null for a number: what they write for a time that is not set is 0, the year 1, or less.
"""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from streamproc.codec.arrival import MAX_UNIX_SECONDS
from streamproc.core.model import EventFlag

TIME_UNSET, TIME_UNREADABLE = EventFlag.TIME_UNSET, EventFlag.TIME_UNREADABLE
MAX_TIME_CHARS = 100
"""No way to write a time takes as many."""
_EPOCH, _SECOND = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None), timedelta(seconds=1)
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,25}")
_BASIC_DATE = re.compile(r"[0-9]{8}")
"""ISO 8601 without dashes, and no number."""
_NO_YEAR = "0000-"
"""What MySQL calls a time that is none."""
_EARLY_YEAR = re.compile(r"[\s-]0[0-9]{3}\s")
_OFFSET = r"[+-][0-9]{2}:?[0-9]{2}"
_ZONE = re.compile(rf"(?<=[0-9])\s*+(?P<offset>{_OFFSET})?+\s*+(?:UTC|GMT|Z)$", re.IGNORECASE)
_BLANK_OFFSET = re.compile(rf"(?<=[0-9])\s++(?={_OFFSET}$)")
_REGION = re.compile(r"\[[^\[\]]*+\]$")
"""What Java puts behind an offset: the offset says it all."""
_RFC_ZONE = r"GMT|UTC?|Z|[ECMP][SD]T|[+-][0-9]{4}"
_RFC = re.compile(
    r"(?:[a-z]+,?\s+)?[0-9]{1,2}[\s-][a-z]{3,9}[\s-][0-9]{2,4}\s+[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?"
    rf"(?:\s+(?:{_RFC_ZONE}))?",
    re.IGNORECASE,
)
"""RFC 1123, 2822 and 850, as HTTP and mail have it; of zones by name only those whose meaning they give."""


def seconds(value: Any, per_second: int, odd: list[EventFlag]) -> int | None:
    """Return a time in Unix seconds, from a number of units of which a second has `per_second`, or from a text.

    Texts are ISO 8601 (UTC unless they say otherwise), RFC 1123, or the number. None where nothing is there, where what
    is there means that it is not set, and where it cannot be read; `odd` is told of the latter two.
    """
    if value is None:
        return None
    try:
        found = _of_text(value.strip(), per_second) if isinstance(value, str) else _of_number(value, per_second)
    except (ValueError, TypeError, OverflowError):
        found = MAX_UNIX_SECONDS + 1
    if 0 < found <= MAX_UNIX_SECONDS:
        return found
    odd.append(TIME_UNSET if found <= 0 else TIME_UNREADABLE)
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
        # Of years below 100 the library makes those of this century or the last: Go's zero is in the year 1.
        if _EARLY_YEAR.search(text):
            return 0
        moment = parsedate_to_datetime(text)
    else:
        moment = datetime.fromisoformat(_with_offset(text))
    # Not timestamp(): at both ends of the calendar there are moments that datetime has no UTC for.
    return (moment.replace(tzinfo=None) - _EPOCH - (moment.utcoffset() or timedelta())) // _SECOND


def _with_offset(text: str) -> str:
    """Return a text whose zone, if it names one, is an offset right behind the time, as ISO 8601 has it."""
    text = _BLANK_OFFSET.sub("", _REGION.sub("", text))
    return _ZONE.sub(lambda zone: zone["offset"] or "+00:00", text)
