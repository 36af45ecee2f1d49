"""JSON objects as events: the slower framing, for producers without Avro.

Only the top-level fields in which a shape's paths begin are decoded, strictly; the rest of the object may be anything.
The standard library decodes what many writers emit though it is not strictly JSON: half a surrogate pair, bytes that
are not UTF-8, NaN, very long numbers, control characters in texts.
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
from streamproc.errors import RecordRejected, RejectionReason

LABEL = "json"
MAX_DEPTH = 200
"""Limit on lists and objects nested in each other."""
MAX_DIGITS = 4_300
"""Limit on the digits of an integer: Python converts no more."""
MAX_NAMES_SHOWN, MAX_NAME_CHARS_SHOWN = 8, 40
"""How many field names of an object one message shows, and how many characters of each."""
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MARKS = b",", b"[", b"{"
"""The number of these marks outside texts, plus one, bounds the number of an object's values."""
_TEXT = rb'"(?:[^"\\]++|\\.)*+"?+'
"""A text without a closing quote matches to the end: otherwise each quote in it would be tried as a beginning."""
_TEXTS = re.compile(rb'"[^"]*+"?+')
_BRACKETS = bytes.maketrans(b"[{]}", b"(())")
_NO_MARKS = bytes(set(range(256)) - set(b'[{]}"'))


class JsonFormat:
    """Reads JSON objects of one shape. There is no schema, so no native decoder can be compiled for them."""

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
                RejectionReason.TOO_COMPLEX, f"a JSON object cannot be taken: it holds more than {MAX_VALUES:,} values"
            )
        if is_deep(payload):
            raise RecordRejected(
                RejectionReason.UNDECODABLE, f"not a run in JSON: it is nested deeper than {MAX_DEPTH}"
            )
        try:
            fields: Any = self._decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            fields = leniently(payload)
        try:
            return event_of(fields, framed, self.label, self._getters)
        except RecordRejected as error:
            raise RecordRejected(error.reason, f"{error}{self._instead(fields, payload)}") from None

    def _instead(self, decoded: Any, payload: bytes) -> str:
        """Return a hint for an object that lacks an id or a status: the fields that it has; "" for any other object."""
        lacking = [target for target in REQUIRED if not any(pick(decoded, place) for place in self._paths[target])]
        try:
            fields = _FIELDS.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""
        if not lacking or not fields:
            return ""
        names = [shown(name[:MAX_NAME_CHARS_SHOWN]) for name in islice(fields, MAX_NAMES_SHOWN)]
        more = f" and {len(fields) - MAX_NAMES_SHOWN:,} more" if len(fields) > MAX_NAMES_SHOWN else ""
        field_list = f": the object has {', '.join(names)}{more}"
        path = self._paths[lacking[0]][0]
        inside = next((name for name, value in fields.items() if pick(_inner(value), path)), None)
        if inside is None:
            return field_list
        path_inside = ".".join((shown(inside[:MAX_NAME_CHARS_SHOWN]), *path))
        return f"{field_list}; is this an envelope? A profile says where things are: {lacking[0]} = {path_inside}"


def _inner(value: msgspec.Raw) -> Any:
    """Return the object in a field; an empty one where the field holds anything else."""
    try:
        return msgspec.json.decode(value, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def leniently(payload: bytes) -> Any:
    """Decode JSON that a strict decoder refuses. Damaged texts are marked as `values.text` expects them.

    Raises RecordRejected (`undecodable`).
    """
    try:
        return _LENIENT.decode(payload.decode(errors=DAMAGED))
    except json.JSONDecodeError as error:
        raise RecordRejected(
            RejectionReason.UNDECODABLE, f"not a run in JSON: {error.msg} (character {error.pos})"
        ) from None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float("inf")


_LENIENT = json.JSONDecoder(strict=False, parse_int=_integer)


def marked(count: int) -> re.Pattern[bytes]:
    """Return a pattern for a beginning with `count` marks outside texts; it counts without creating objects."""
    return re.compile(rb'(?:(?:[^",\[{]++|%b)*+[,\[{]){%d}+' % (_TEXT, count), re.DOTALL)


_COMPLEX = marked(MAX_VALUES)


def _is_complex(payload: bytes) -> bool:
    return sum(map(payload.count, _MARKS)) >= MAX_VALUES and _COMPLEX.match(payload) is not None


def is_deep(payload: bytes) -> bool:
    """Tell whether more than MAX_DEPTH lists and objects are nested in each other. Kinds of brackets may be mixed.

    The standard library and msgspec fail at some depth below Python's recursion limit, which depends on the caller.
    """
    marks = payload.translate(_BRACKETS, _NO_MARKS)
    if marks.count(b"(") <= MAX_DEPTH:
        return False
    if b"\\" in payload:
        marks = payload.replace(rb"\\", b"").replace(rb"\"", b"").translate(_BRACKETS, _NO_MARKS)
    # Two adjacent quotes are an empty text by now; removing them first removes most texts cheaply.
    brackets = _TEXTS.sub(b"", marks.replace(b'""', b""))
    levels = 0
    while brackets.count(b"(") + levels > MAX_DEPTH:
        outer = brackets.replace(b"()", b"")
        if outer == brackets or levels == MAX_DEPTH:  # To go on to the innermost would take the square of the depth.
            return True
        brackets, levels = outer, levels + 1
    return False
