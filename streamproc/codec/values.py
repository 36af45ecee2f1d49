"""The values of an object, whatever their type: as the event holds them, and what is odd about them.

One reading for all framings: the reference decoder and JSON read each value with it, the native decoder reads the same
where that is beyond doubt. Each function takes any value, and tells `odd` of its flags.
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

DAMAGED = "streamproc.damaged"
"""An error handler for decoding: a half of a surrogate pair, which no text may hold, where bytes are no UTF-8."""
ASTRAY = object()
"""Stands for what is there, but where something else belongs."""
_HALF = re.compile("[\ud800-\udfff]")
_KINDS = {bool: "a boolean", list: "a list", dict: "an object", float: "NaN or infinite", object: "in no object"}
_REPLACEMENT, _NO_TEXT, _ESCAPE = "\ufffd", "\udfff", "\U0010ffff"
_COUNT = re.compile(r"[+-]?[0-9]{1,19}")


def _rest(error: Any) -> tuple[str, int]:
    # All that follows, at once: a call for each bad byte would take seconds for some megabytes of them.
    return _with_halves(error.object[error.start :]), len(error.object)


def _with_halves(raw: bytes) -> str:
    """Return a text with a half where Python puts U+FFFD for bytes that are no UTF-8; one that was there stays."""
    if _REPLACEMENT.encode() not in raw:
        return raw.decode(errors="replace").replace(_REPLACEMENT, _NO_TEXT)
    # It is written as _ESCAPE and 1 meanwhile, and _ESCAPE itself as _ESCAPE and 0.
    for old, new in ((_ESCAPE, f"{_ESCAPE}0"), (_REPLACEMENT, f"{_ESCAPE}1")):
        raw = raw.replace(old.encode(), new.encode())
    found = raw.decode(errors="replace").replace(_REPLACEMENT, _NO_TEXT)
    return found.replace(f"{_ESCAPE}1", _REPLACEMENT).replace(f"{_ESCAPE}0", _ESCAPE)


codecs.register_error(DAMAGED, _rest)


def text(value: Any, limit: int, odd: list[EventFlag]) -> str | None:
    """Return a text of at most `limit` characters, of a number its shortest form; None where there is none to read."""
    if value is None:
        return None
    found = value if isinstance(value, str) else _as_text(value)
    if found is None:
        odd.append(EventFlag.VALUE_UNREADABLE)
        return None
    if len(found) > limit:
        odd.append(EventFlag.NAME_OVER_LIMIT)
        found = found[:limit]
    if not found.isascii() and _HALF.search(found):
        odd.append(EventFlag.TEXT_DAMAGED)
        found = _HALF.sub(_REPLACEMENT, found)
    return found


def _as_text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode(errors=DAMAGED)
    if isinstance(value, float):
        if value.is_integer():
            return str(int(value))
        return repr(value) if abs(value) < float("inf") else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def required(value: Any, target: str) -> str | None:
    """Return an id or a status; raises RecordRejected (`bad_run_id`, `bad_status`) where it is none.

    Nothing stands in for what is damaged here: two ids that are could become one.
    """
    odd: list[EventFlag] = []
    found = text(value, sys.maxsize, odd)
    if not odd:
        return found
    if EventFlag.VALUE_UNREADABLE in odd:
        raise refusal(target, f"is {_KINDS.get(type(value), 'no value')}: it must be a text or a number")
    raise refusal(target, "is damaged: it holds bytes that are no UTF-8, or half a surrogate pair")


def count(value: Any, odd: list[EventFlag]) -> int | None:
    """Return a whole number that fits an Avro long, also from a float or a text; None where there is none to read."""
    if value is None:
        return None
    is_whole = isinstance(value, float) and value.is_integer()
    is_digits = isinstance(value, str) and _COUNT.fullmatch(value.strip())
    found = int(value) if is_whole or is_digits else value
    if isinstance(found, int) and not isinstance(found, bool) and -MAX_LONG - 1 <= found <= MAX_LONG:
        return found
    odd.append(EventFlag.VALUE_UNREADABLE)
    return None


def usage(prompt: int | None, completion: int | None, total: int | None) -> Usage | None:
    """Return token counts where any is known; what is not given counts as none, the total as their sum."""
    if prompt is None and completion is None and total is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    return prompt, completion, _capped(prompt + completion) if total is None else total


def _capped(number: int) -> int:
    """Return a number that fits an Avro long."""
    return max(-MAX_LONG, min(number, MAX_LONG))


def tools(found: Any, odd: list[EventFlag]) -> tuple[str, ...]:
    """Return the names of a list of tools, as many of the first ones as are kept; one without a name is left out."""
    if not isinstance(found, list):
        odd += [] if found is None else [EventFlag.VALUE_UNREADABLE]
        return ()
    kept: list[str] = []
    room = MAX_TOOLS_CHARS
    for each in found:
        name = text(each, MAX_TOOL_CHARS, odd)
        if name is None:
            continue
        room -= len(name)
        if len(kept) == MAX_TOOLS or room < 0:
            odd.append(EventFlag.TOOLS_OVER_LIMIT)
            break
        kept.append(intern(name))
    return tuple(kept)


def metadata(found: Any, odd: list[EventFlag]) -> None:
    """Say whether metadata are over their limits: they are only ever counted, a run is not stranded for them."""
    if isinstance(found, Mapping):
        odd += [EventFlag.METADATA_OVER_LIMIT] if _is_over_limit(found) else []
    elif found is not None:
        odd.append(EventFlag.VALUE_UNREADABLE)


def _is_over_limit(pairs: Mapping[str, Any]) -> bool:
    return len(pairs) > MAX_METADATA_PAIRS or any(
        len(key) > MAX_METADATA_KEY_CHARS or (isinstance(value, str) and len(value) > MAX_METADATA_VALUE_CHARS)
        for key, value in pairs.items()
    )
