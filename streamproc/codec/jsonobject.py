"""JSON objects as events: the slower framing, for producers without Avro.

Only what the paths of a shape begin with is decoded, strictly; the rest of the object may be anything. What is not
strictly JSON, but is what many JSON writers make, is left to the standard library: half a surrogate pair, bytes that
are no UTF-8, NaN, numbers without end, control characters in texts.
"""

import json
import re
from itertools import islice
from typing import Any, TypedDict

import msgspec

from streamproc.codec.arrival import Framed
from streamproc.codec.framing import BOM
from streamproc.codec.names import shown
from streamproc.codec.plan import steps
from streamproc.codec.skim import MAX_VALUES
from streamproc.codec.targets import Getters, TargetPath, event_of, pick
from streamproc.codec.values import DAMAGED
from streamproc.core.model import RunEvent
from streamproc.core.shape import REQUIRED, Shape
from streamproc.errors import RecordRejected

LABEL = "json"
MAX_DEPTH = 200
"""Of lists and objects one inside the other."""
MAX_DIGITS = 4_300
"""Of an integer: Python makes none of more."""
MAX_TOLD, MAX_NAME_TOLD = 8, 40
"""Names of an object's fields in one message, and characters of each."""
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MARKS = b",", b"[", b"{"
"""An object holds no more values than it has of these outside its texts, and one."""
_TEXT = rb'"(?:[^"\\]++|\\.)*+"?+'
"""One without an end goes on to the end: or each quote in it would be tried as a beginning."""
_TEXTS = re.compile(rb'"[^"]*+"?+')
_BRACKETS = bytes.maketrans(b"[{]}", b"(())")
_NO_MARKS = bytes(set(range(256)) - set(b'[{]}"'))


class JsonFormat:
    """Reads JSON objects of one shape. Has no schema, so there is nothing that a native decoder could take."""

    label = LABEL

    def __init__(self, shape: Shape) -> None:
        names = {steps(path)[0]: Any for paths in shape.paths.values() for path in paths}
        self._decoder = msgspec.json.Decoder(TypedDict("RunObject", names, total=False))  # type: ignore[operator]
        self._paths = {target: [steps(path) for path in shape.paths[target]] for target in REQUIRED}
        self._getters = Getters(
            {
                target: [TargetPath(steps(path), shape.per_second) for path in paths]
                for target, paths in shape.paths.items()
            },
            shape.statuses,
            shape.only,
        )

    def read(self, framed: Framed) -> RunEvent:
        """Return the event of one object.

        Raises RecordRejected (`undecodable`, `too_complex`, and what `arrival.check` raises).
        """
        payload = framed.payload.removeprefix(BOM)
        if len(payload) > MAX_VALUES and _is_complex(payload):
            raise RecordRejected(
                "too_complex", f"a JSON object cannot be taken: it holds more than {MAX_VALUES:,} values"
            )
        if is_deep(payload):
            raise RecordRejected("undecodable", f"not a run in JSON: it is nested deeper than {MAX_DEPTH}")
        try:
            found: Any = self._decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = leniently(payload)
        try:
            return event_of(found, framed, self.label, self._getters)
        except RecordRejected as error:
            raise RecordRejected(error.reason, f"{error}{self._instead(found, payload)}") from None

    def _instead(self, found: Any, payload: bytes) -> str:
        """Return what an object has that lacks an id or a status, for whoever wonders why; nothing for any other."""
        lacking = [target for target in REQUIRED if not any(pick(found, place) for place in self._paths[target])]
        try:
            fields = _FIELDS.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""
        if not lacking or not fields:
            return ""
        names = [shown(name[:MAX_NAME_TOLD]) for name in islice(fields, MAX_TOLD)]
        more = f" and {len(fields) - MAX_TOLD:,} more" if len(fields) > MAX_TOLD else ""
        said = f": the object has {', '.join(names)}{more}"
        path = self._paths[lacking[0]][0]
        inside = next((name for name, value in fields.items() if pick(_inner(value), path)), None)
        if inside is None:
            return said
        way = ".".join((shown(inside[:MAX_NAME_TOLD]), *path))
        return f"{said}; is this an envelope? A profile says where things are: {lacking[0]} = {way}"


def _inner(value: msgspec.Raw) -> Any:
    """Return what stands in a field, where that is an object; its values are no matter."""
    try:
        return msgspec.json.decode(value, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def leniently(payload: bytes) -> Any:
    """Return what JSON says that a strict decoder refuses, damaged texts as `values.text` knows them.

    Raises RecordRejected (`undecodable`).
    """
    try:
        return _LENIENT.decode(payload.decode(errors=DAMAGED))
    except json.JSONDecodeError as error:
        raise RecordRejected("undecodable", f"not a run in JSON: {error.msg} (character {error.pos})") from None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float("inf")


_LENIENT = json.JSONDecoder(strict=False, parse_int=_integer)


def marked(count: int) -> re.Pattern[bytes]:
    """Return what matches a beginning with so many marks outside of texts, and makes no object on the way."""
    return re.compile(rb'(?:(?:[^",\[{]++|%b)*+[,\[{]){%d}+' % (_TEXT, count), re.DOTALL)


_COMPLEX = marked(MAX_VALUES)


def _is_complex(payload: bytes) -> bool:
    return sum(map(payload.count, _MARKS)) >= MAX_VALUES and _COMPLEX.match(payload) is not None


def is_deep(payload: bytes) -> bool:
    """Tell whether more than MAX_DEPTH lists and objects stand one inside the other, whatever they are closed with.

    The standard library and msgspec end somewhere between that and Python's own limit, which depends on the caller.
    """
    marks = payload.translate(_BRACKETS, _NO_MARKS)
    if marks.count(b"(") <= MAX_DEPTH:
        return False
    if b"\\" in payload:
        marks = payload.replace(rb"\\", b"").replace(rb"\"", b"").translate(_BRACKETS, _NO_MARKS)
    # Two quotes side by side say nothing of what is around them: most texts are gone with them.
    brackets = _TEXTS.sub(b"", marks.replace(b'""', b""))
    levels = 0
    while brackets.count(b"(") + levels > MAX_DEPTH:
        outer = brackets.replace(b"()", b"")
        if outer == brackets or levels == MAX_DEPTH:  # To go on to the innermost would take the square of the depth.
            return True
        brackets, levels = outer, levels + 1
    return False
