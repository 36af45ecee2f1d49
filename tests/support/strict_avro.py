"""A third opinion on what is valid Avro: a plain reading of the specification that keeps no values."""

from collections.abc import Callable
from typing import Any

MAX_VARINT_BYTES = 10
Check = Callable[[Any, bytes, int], int]


class Invalid(Exception):
    """Not an encoding of the schema."""


def is_valid(schema: Any, payload: bytes) -> bool:
    """Return whether `payload` is one value of `schema`, and nothing else. Takes no named references."""
    try:
        return _skip(schema, payload, 0) == len(payload)
    except Invalid:
        return False


def _skip(schema: Any, payload: bytes, at: int) -> int:
    """Return where the value that starts at `at` ends."""
    if isinstance(schema, list):
        branch, at = _long(payload, at)
        _require(0 <= branch < len(schema))
        return _skip(schema[branch], payload, at)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, dict | list):
        return _skip(kind, payload, at)
    return _SKIP[kind](schema, payload, at)


def _require(condition: bool) -> None:
    if not condition:
        raise Invalid


def _long(payload: bytes, at: int) -> tuple[int, int]:
    found = 0
    for index in range(MAX_VARINT_BYTES):
        _require(at + index < len(payload))
        byte = payload[at + index]
        found |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            found &= 2**64 - 1
            return (found >> 1) ^ -(found & 1), at + index + 1
    raise Invalid


def _sized(payload: bytes, at: int) -> tuple[bytes, int]:
    length, at = _long(payload, at)
    _require(0 <= length <= len(payload) - at)
    return payload[at : at + length], at + length


def _text(_schema: Any, payload: bytes, at: int) -> int:
    return _sized(payload, at)[1]  # What is in it is a matter of reading, not of decoding.


def _boolean(_schema: Any, payload: bytes, at: int) -> int:
    _require(payload[at : at + 1] in {b"\x00", b"\x01"})
    return at + 1


def _fixed(size: int) -> Check:
    def skip(_schema: Any, payload: bytes, at: int) -> int:
        _require(at + size <= len(payload))
        return at + size

    return skip


def _record(schema: Any, payload: bytes, at: int) -> int:
    for field in schema["fields"]:
        at = _skip(field["type"], payload, at)
    return at


def _blocks(item: Check) -> Check:
    def skip(schema: Any, payload: bytes, at: int) -> int:
        while True:
            count, at = _long(payload, at)
            if count == 0:
                return at
            if count < 0:
                _, at = _long(payload, at)
            for _ in range(abs(count)):
                at = item(schema, payload, at)

    return skip


_SKIP: dict[str, Check] = {
    "null": lambda _schema, _payload, at: at,
    "boolean": _boolean,
    "long": lambda _schema, payload, at: _long(payload, at)[1],
    "double": _fixed(8),
    "string": _text,
    "record": _record,
    "array": _blocks(lambda schema, payload, at: _skip(schema["items"], payload, at)),
    "map": _blocks(lambda schema, payload, at: _skip(schema["values"], payload, _text(None, payload, at))),
}
