"""A strict look over one payload, without keeping a value: is it an encoding of its schema, and how much is in it?

fastavro takes negative indices of unions and enums, and integers that are too long; and nothing in Avro keeps a
megabyte from being a million records. So the reference decoder skims first, and large payloads are always skimmed.
"""

from collections.abc import Callable, Sequence
from typing import Any

from streamproc.codec.avro import Names, kind, parts, resolved
from streamproc.codec.weight import BRANCHES_PER_VALUE, cells, values

MAX_VALUES = 30_000
"""In one record. A RunObject has about a hundred; so many take some 20 ms and 5 MB in whichever decoder."""
MAX_LONG_BITS = 64
U64 = 2**64 - 1
BAD_LENGTH = "a length is negative or reaches beyond the end"

Left = list[int]
"""Two numbers: how many values there may still be, and how many cells the items of lists have had in columns so far."""
Skim = Callable[[bytes, int, Left], int]
"""Returns where the value that begins at a place ends; raises Malformed, TooComplex, IndexError at a payload's end."""


class Malformed(Exception):
    """The payload is no encoding of the schema; the text says why, and shows nothing of it."""


class TooComplex(Exception):
    """The payload holds more than MAX_VALUES values."""


class Skimmer:
    """Skims payloads of one schema: a record, parsed by fastavro, that does not contain itself."""

    def __init__(self, schema: Any, names: Names) -> None:
        self._skim = _skim_of(schema, names)
        self._cost = values(schema, names)
        self._width = cells(schema, names)

    def skim(self, payload: bytes) -> tuple[int, int]:
        """Return where the record ends, and how many cells it takes in columns; raises Malformed or TooComplex."""
        left = [MAX_VALUES - self._cost, self._width]
        try:
            return self._skim(payload, 0, left), left[1]
        except IndexError:
            raise Malformed("it ends in the middle of a value") from None


def _long(payload: bytes, at: int) -> tuple[int, int]:
    byte = payload[at]
    at += 1
    if byte < 0x80:  # noqa: PLR2004  the last byte of an Avro long
        return (byte >> 1) ^ -(byte & 1), at
    found, shift = byte & 0x7F, 7
    while True:
        byte = payload[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            found &= U64
            return (found >> 1) ^ -(found & 1), at
        shift += 7
        if shift >= MAX_LONG_BITS:
            raise Malformed("an integer has more than 10 bytes")


def _skip_long(payload: bytes, at: int, _left: Left) -> int:
    return at + 1 if payload[at] < 0x80 else _long(payload, at)[1]  # noqa: PLR2004


def _skip_null(_payload: bytes, at: int, _left: Left) -> int:
    return at


def _skip_boolean(payload: bytes, at: int, _left: Left) -> int:
    if payload[at] > 1:
        raise Malformed("a boolean is neither 0 nor 1")
    return at + 1


def _end_of(payload: bytes, at: int, size: int) -> int:
    if not 0 <= size <= len(payload) - at:
        raise Malformed(BAD_LENGTH)
    return at + size


def _skip_bytes(payload: bytes, at: int, _left: Left) -> int:
    size, at = _long(payload, at)
    return _end_of(payload, at, size)


def _skip_text(payload: bytes, at: int, _left: Left) -> int:
    size = payload[at]
    if size < 0x80:  # noqa: PLR2004  as most are: the rest is _long, without the call
        size, at = (size >> 1) ^ -(size & 1), at + 1
    else:
        size, at = _long(payload, at)
    end = at + size
    if not at <= end <= len(payload):
        raise Malformed(BAD_LENGTH)
    return end


def _skip_fixed(size: int) -> Skim:
    return lambda payload, at, _left: _end_of(payload, at, size)


def _skip_enum(symbols: Sequence[str]) -> Skim:
    count = len(symbols)

    def skip(payload: bytes, at: int, _left: Left) -> int:
        index, at = _long(payload, at)
        if not 0 <= index < count:
            raise Malformed("an enum's index is out of range")
        return at

    return skip


def _skip_union(skims: Sequence[Skim], costs: Sequence[int]) -> Skim:
    count = len(skims)
    extra = [cost - 1 + count // BRANCHES_PER_VALUE for cost in costs]

    def skip(payload: bytes, at: int, left: Left) -> int:
        index, at = _long(payload, at)
        if not 0 <= index < count:
            raise Malformed("a union's index is out of range")
        _spend(left, extra[index])
        return skims[index](payload, at, left)

    return skip


def _skip_optional(null: int, value: Skim, cost: int) -> Skim:
    """Skip a union of null, at the index `null`, and one other type: as `_skip_union`, in a third of the time."""
    nothing, something = null << 1, (1 - null) << 1
    skims, costs = [_skip_null, value], [1, cost]
    if null:
        skims.reverse()
        costs.reverse()
    union = _skip_union(skims, costs)

    def skip(payload: bytes, at: int, left: Left) -> int:
        index = payload[at]
        if index == nothing:
            return at + 1
        if index == something and cost == 1:
            return value(payload, at + 1, left)
        return union(payload, at, left)

    return skip


def _skip_record(skims: Sequence[Skim]) -> Skim:
    def skip(payload: bytes, at: int, left: Left) -> int:
        for each in skims:
            at = each(payload, at, left)
        return at

    return skip


def _skip_blocks(item: Skim, cost: int, width: int) -> Skim:
    def skip(payload: bytes, at: int, left: Left) -> int:
        while True:
            count, at = _long(payload, at)
            if count == 0:
                return at
            if count < 0:
                _, at = _long(payload, at)
                count = -count
            if count > len(payload) - at:  # No item is without bytes: see `vet`.
                raise Malformed("a list claims more items than there are bytes")
            _spend(left, 1 + count * cost)  # A block of nothing much takes its time, too.
            left[1] += count * width
            for _ in range(count):
                at = item(payload, at, left)

    return skip


def _spend(left: Left, cost: int) -> None:
    left[0] -= cost
    if left[0] < 0:
        raise TooComplex(f"it holds more than {MAX_VALUES:,} values")


_LEAVES: dict[str, Skim] = {
    "null": _skip_null,
    "boolean": _skip_boolean,
    "int": _skip_long,
    "long": _skip_long,
    "float": _skip_fixed(4),
    "double": _skip_fixed(8),
    "string": _skip_text,
    "bytes": _skip_bytes,
}


def _skim_of(schema: Any, names: Names) -> Skim:  # noqa: PLR0911  one for each kind of type
    schema = resolved(schema, names)
    inside = parts(schema)
    skims = [_skim_of(part, names) for part in inside]
    match kind(schema):
        case "union":
            if len(inside) == 2 and "null" in inside and inside[0] != inside[1]:  # noqa: PLR2004
                null = inside.index("null")
                return _skip_optional(null, skims[1 - null], values(inside[1 - null], names))
            return _skip_union(skims, [values(part, names) for part in inside])
        case "record" | "error":
            return _skip_record(skims)
        case "array":
            return _skip_blocks(skims[0], values(inside[0], names), cells(inside[0], names))
        case "map":
            value, cost = skims[0], 1 + values(inside[0], names)
            width = 1 + cells(inside[0], names)
            return _skip_blocks(
                lambda payload, at, left: value(payload, _skip_text(payload, at, left), left), cost, width
            )
        case "enum":
            return _skip_enum(schema["symbols"])
        case "fixed":
            return _skip_fixed(schema["size"])
        case leaf:
            return _LEAVES[leaf]
