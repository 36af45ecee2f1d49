"""Converts the values of an object, of any type, to those of an event, and flags what is odd about them.

All framings share these rules: the reference decoder and JSON use these functions; the native decoder gives the same
results, and leaves doubtful values to them. Each function takes any value, and adds its flags to `odd`.
"""

import codecs
import re
import sys
from collections.abc import Mapping
from sys import intern
from typing import Any

from streamproc.codec.arrival import (
    MAX_LONG,
    MAX_METADATA_KEY_CHARS,
    MAX_METADATA_PAIRS,
    MAX_METADATA_VALUE_CHARS,
    MAX_TOOL_CHARS,
    MAX_TOOLS,
    MAX_TOOLS_CHARS,
    refusal,
)
from streamproc.core.model import EventFlag, Usage

VALUE_UNREADABLE = EventFlag.VALUE_UNREADABLE
DAMAGED = "streamproc.damaged"
"""An error handler for decoding: it marks bytes that are not UTF-8 by half a surrogate pair, which no text may hold."""
ASTRAY = object()
"""Stands for a value of a wrong type."""
_HALF = re.compile("[\ud800-\udfff]")
_KINDS = {bool: "a boolean", list: "a list", dict: "an object", float: "NaN or infinite", object: "in no object"}
_REPLACEMENT, _NO_TEXT, _ESCAPE = "\ufffd", "\udfff", "\U0010ffff"
_COUNT = re.compile(r"[+-]?[0-9]{1,19}")


def _rest(error: Any) -> tuple[str, int]:
    # Handles all remaining bytes at once: one call for each bad byte would take seconds for some megabytes.
    return _with_halves(error.object[error.start :]), len(error.object)


def _with_halves(raw: bytes) -> str:
    """Decode bytes: half a surrogate pair replaces those that are not UTF-8. A U+FFFD in the text stays as it is."""
    if _REPLACEMENT.encode() not in raw:
        return raw.decode(errors="replace").replace(_REPLACEMENT, _NO_TEXT)
    # Meanwhile that U+FFFD is written as _ESCAPE and 1, and _ESCAPE itself as _ESCAPE and 0.
    for old, new in ((_ESCAPE, f"{_ESCAPE}0"), (_REPLACEMENT, f"{_ESCAPE}1")):
        raw = raw.replace(old.encode(), new.encode())
    decoded = raw.decode(errors="replace").replace(_REPLACEMENT, _NO_TEXT)
    return decoded.replace(f"{_ESCAPE}1", _REPLACEMENT).replace(f"{_ESCAPE}0", _ESCAPE)


codecs.register_error(DAMAGED, _rest)


def text(value: Any, limit: int, odd: list[EventFlag]) -> str | None:
    """Return a text of at most `limit` characters, for a number its shortest form; None where the value is neither."""
    if value is None:
        return None
    result = value if isinstance(value, str) else _as_text(value)
    if result is None:
        odd.append(VALUE_UNREADABLE)
        return None
    if len(result) > limit:
        odd.append(EventFlag.NAME_OVER_LIMIT)
        result = result[:limit]
    if not result.isascii() and _HALF.search(result):
        odd.append(EventFlag.TEXT_DAMAGED)
        result = _HALF.sub(_REPLACEMENT, result)
    return result


def _as_text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode(errors=DAMAGED)
    if isinstance(value, float):
        if value.is_integer():
            return str(int(value))
        return repr(value) if abs(value) < float("inf") else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def required(value: Any, target: str) -> str | None:
    """Return an id or a status; raises RecordRejected (`bad_run_id`, `bad_status`) where the value cannot be one.

    Damaged bytes are not replaced here: two different damaged ids could become the same.
    """
    odd: list[EventFlag] = []
    result = text(value, sys.maxsize, odd)
    if VALUE_UNREADABLE in odd:
        raise refusal(target, f"is {_KINDS.get(type(value), 'no value')}: it must be a text or a number")
    if odd:
        raise refusal(target, "is damaged: it holds bytes that are no UTF-8, or half a surrogate pair")
    return result


def count(value: Any, odd: list[EventFlag]) -> int | None:
    """Return a whole number that fits an Avro long, also from a float or a text; None where the value is none."""
    if value is None:
        return None
    is_whole = isinstance(value, float) and value.is_integer()
    is_digits = isinstance(value, str) and _COUNT.fullmatch(value.strip())
    number = int(value) if is_whole or is_digits else value
    if isinstance(number, int) and not isinstance(number, bool) and -MAX_LONG - 1 <= number <= MAX_LONG:
        return number
    odd.append(VALUE_UNREADABLE)
    return None


def usage(prompt: int | None, completion: int | None, total: int | None) -> Usage | None:
    """Return the token counts, None where none is known. A missing count is 0; a missing total is the sum."""
    if prompt is None and completion is None and total is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    return prompt, completion, _capped(prompt + completion) if total is None else total


def _capped(number: int) -> int:
    """Return the nearest number that fits an Avro long."""
    return max(-MAX_LONG, min(number, MAX_LONG))


def tools(value: Any, odd: list[EventFlag]) -> tuple[str, ...]:
    """Return the names in a list of tools, from the first up to the limits. Tools without a name are left out."""
    if not isinstance(value, list):
        odd += [] if value is None else [VALUE_UNREADABLE]
        return ()
    names: list[str] = []
    room = MAX_TOOLS_CHARS
    for item in value:
        name = text(item, MAX_TOOL_CHARS, odd)
        if name is None:
            continue
        room -= len(name)
        if len(names) == MAX_TOOLS or room < 0:
            odd.append(EventFlag.TOOLS_OVER_LIMIT)
            break
        names.append(intern(name))
    return tuple(names)


def metadata(value: Any, odd: list[EventFlag]) -> None:
    """Flag metadata that are over their limits. That is only counted: a run is never rejected for its metadata."""
    if isinstance(value, Mapping):
        odd += [EventFlag.METADATA_OVER_LIMIT] if _is_over_limit(value) else []
    elif value is not None:
        odd.append(VALUE_UNREADABLE)


def _is_over_limit(pairs: Mapping[str, Any]) -> bool:
    return len(pairs) > MAX_METADATA_PAIRS or any(
        len(key) > MAX_METADATA_KEY_CHARS or (isinstance(value, str) and len(value) > MAX_METADATA_VALUE_CHARS)
        for key, value in pairs.items()
    )
