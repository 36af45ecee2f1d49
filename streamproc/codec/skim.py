"""A strict check of one payload, which keeps no value: is it an encoding of its schema, and how many values has it?

fastavro accepts negative indices of unions and enums, and integers that are too long; and in Avro a megabyte may hold
a million records. So the reference decoder skims first. Besides, fastavro overflows the stack where a type contains
itself and a payload nests it thousands of times.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from streamproc.codec.avro import Names, endless, kind, parts
from streamproc.codec.weight import BRANCHES_PER_VALUE, values
from streamproc.errors import RejectionReason

MAX_VALUES = 30_000
"""Limit on the values of one record. A RunObject has about a hundred; the limit takes the reference decoder some 20 ms
and 5 MB."""
MAX_NESTED = 300
"""Limit on nested types in a payload whose schema sets none: enough for a hundred nested records, each an item, which
may be null, of a list. Each type takes some 1.5 KB of fastavro's stack, and two Python frames here."""
MOST_VALUES_SKIMMED = 100 * MAX_VALUES
"""Limit on the values of a record in a file, where only the record's end is needed."""
MAX_LONG_BITS = 64
U64, LEAST_LONG = 2**64 - 1, -(2**63)

Left = list[int]
"""What is left of the limits: values, and nested types."""
Skim = Callable[[bytes, int, Left], int]
"""Takes a payload and a value's start, and returns the value's end; raises Faulty, IndexError at a payload's end."""


class Fault(Enum):
    """Why a payload is refused: the reason of its rejection, and words that show nothing of the payload.

    The native decoder numbers them in this order.
    """

    ENDS_EARLY = RejectionReason.UNDECODABLE, "it ends in the middle of a value"
    LONG_INTEGER = RejectionReason.UNDECODABLE, "an integer has more than 10 bytes"
    BAD_BOOLEAN = RejectionReason.UNDECODABLE, "a boolean is neither 0 nor 1"
    BAD_LENGTH = RejectionReason.UNDECODABLE, "a length is negative or reaches beyond the end"
    BAD_SYMBOL = RejectionReason.UNDECODABLE, "an enum's index is out of range"
    BAD_BRANCH = RejectionReason.UNDECODABLE, "a union's index is out of range"
    TOO_MANY_ITEMS = RejectionReason.UNDECODABLE, "a list claims more items than there are bytes"
    TRAILING_BYTES = RejectionReason.TRAILING_BYTES, "bytes are left over"
    TOO_MANY_VALUES = RejectionReason.TOO_COMPLEX, f"it holds more than {MAX_VALUES:,} values"
    TOO_DEEP = RejectionReason.TOO_COMPLEX, f"its values are nested deeper than {MAX_NESTED} types"

    def __init__(self, reason: RejectionReason, words: str) -> None:
        self.reason = reason
        self.words = words


class Faulty(Exception):
    """The payload has a fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.words)
        self.fault = fault


class Skimmer:
    """Skims payloads of one schema: the record `root` in normal form, one of `names`.

    `is_endless`: whether types may contain themselves, so that the schema does not bound the depth of a payload.
    """

    def __init__(self, root: str, names: Names) -> None:
        without_end = endless(names)
        finite = {name: named for name, named in names.items() if name not in without_end}
        compiler = _SkimCompiler(names, without_end)
        self.is_endless = bool(without_end)
        self._skim = compiler.skim(root)
        self._cost = values(root, finite)

    def check(self, payload: bytes) -> None:
        """Raise Faulty unless a payload is exactly one record."""
        if self._end(payload, 0, [MAX_VALUES - self._cost, MAX_NESTED]) != len(payload):
            raise Faulty(Fault.TRAILING_BYTES)

    def end(self, block: bytes, at: int) -> int:
        """Return where a record of a block ends, even one too complex to be decoded; raises Faulty."""
        return self._end(block, at, [MOST_VALUES_SKIMMED, MAX_NESTED])

    def _end(self, payload: bytes, at: int, left: Left) -> int:
        try:
            return self._skim(payload, at, left)
        except IndexError:
            raise Faulty(Fault.ENDS_EARLY) from None
        except RecursionError:  # Only where the caller had nearly used up the stack.
            raise Faulty(Fault.TOO_DEEP) from None


def _long(payload: bytes, at: int) -> tuple[int, int]:
    byte = payload[at]
    at += 1
    if byte < 0x80:  # noqa: PLR2004  the last byte of an Avro long
        return (byte >> 1) ^ -(byte & 1), at
    encoded, shift = byte & 0x7F, 7
    while True:
        byte = payload[at]
        at += 1
        encoded |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            encoded &= U64
            return (encoded >> 1) ^ -(encoded & 1), at
        shift += 7
        if shift >= MAX_LONG_BITS:
            raise Faulty(Fault.LONG_INTEGER)


def _skip_long(payload: bytes, at: int, _left: Left) -> int:
    return at + 1 if payload[at] < 0x80 else _long(payload, at)[1]  # noqa: PLR2004


def _skip_null(_payload: bytes, at: int, _left: Left) -> int:
    return at


def _skip_boolean(payload: bytes, at: int, _left: Left) -> int:
    if payload[at] > 1:
        raise Faulty(Fault.BAD_BOOLEAN)
    return at + 1


def _end_of(payload: bytes, at: int, size: int) -> int:
    if not 0 <= size <= len(payload) - at:
        raise Faulty(Fault.BAD_LENGTH)
    return at + size


def _skip_text(payload: bytes, at: int, _left: Left) -> int:
    size = payload[at]
    if size < 0x80:  # noqa: PLR2004  true for most texts: then what _long does, without the call
        size, at = (size >> 1) ^ -(size & 1), at + 1
    else:
        size, at = _long(payload, at)
    end = at + size
    if not at <= end <= len(payload):
        raise Faulty(Fault.BAD_LENGTH)
    return end


def _skip_fixed(size: int) -> Skim:
    return lambda payload, at, _left: _end_of(payload, at, size)


def _skip_enum(symbols: Sequence[str]) -> Skim:
    count = len(symbols)

    def skip(payload: bytes, at: int, _left: Left) -> int:
        index, at = _long(payload, at)
        if not 0 <= index < count:
            raise Faulty(Fault.BAD_SYMBOL)
        return at

    return skip


def _skip_union(skims: Sequence[Skim], costs: Sequence[int]) -> Skim:
    count = len(skims)
    extra = [cost - 1 + count // BRANCHES_PER_VALUE for cost in costs]

    def skip(payload: bytes, at: int, left: Left) -> int:
        index, at = _long(payload, at)
        if not 0 <= index < count:
            raise Faulty(Fault.BAD_BRANCH)
        _spend(left, extra[index])
        return skims[index](payload, at, left)

    return skip


def _skip_optional(null: int, value: Skim, cost: int) -> Skim:
    """Skip a union of null (at the index `null`) and one other type, like `_skip_union`, in a third of the time."""
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
        for field in skims:
            at = field(payload, at, left)
        return at

    return skip


def _skip_blocks(item: Skim, cost: int) -> Skim:
    def skip(payload: bytes, at: int, left: Left) -> int:
        while True:
            count, at = _long(payload, at)
            if count == 0:
                return at
            if count < 0:
                _, at = _long(payload, at)
                # The least long has no positive counterpart: both decoders take such a block as empty.
                count = 0 if count == LEAST_LONG else -count
            if count > len(payload) - at:  # Each item takes at least one byte: `vet` makes sure.
                raise Faulty(Fault.TOO_MANY_ITEMS)
            _spend(left, 1 + count * cost)  # The 1 bounds the number of empty blocks, which take time, too.
            for _ in range(count):
                at = item(payload, at, left)

    return skip


def _spend(left: Left, cost: int) -> None:
    left[0] -= cost
    if left[0] < 0:
        raise Faulty(Fault.TOO_MANY_VALUES)


_LEAVES: dict[str, Skim] = {
    "null": _skip_null,
    "boolean": _skip_boolean,
    "int": _skip_long,
    "long": _skip_long,
    "float": _skip_fixed(4),
    "double": _skip_fixed(8),
    "string": _skip_text,
    "bytes": _skip_text,
}


def _skip_nested(bodies: dict[str, Skim], name: str, cost: int, types: int) -> Skim:
    """Skip a type that may contain itself; `types`: the number of types from the enclosing such type to this one."""

    def skip(payload: bytes, at: int, left: Left) -> int:
        left[1] -= types
        if left[1] < 0:
            raise Faulty(Fault.TOO_DEEP)
        _spend(left, cost)
        at = bodies[name](payload, at, left)
        left[1] += types
        return at

    return skip


class _SkimCompiler:
    """Makes the skims of types. Those `without_end` are made once each, and look each other up when they run."""

    def __init__(self, names: Names, without_end: frozenset[str]) -> None:
        self._names = names
        self._finite = {name: named for name, named in names.items() if name not in without_end}
        self._bodies: dict[str, Skim] = {}
        self._bodies |= {name: self._of(names[name], 0) for name in without_end}

    def skim(self, schema: Any) -> Skim:
        """Return the skim of a type."""
        return self._of(schema, 1)

    def _of(self, schema: Any, depth: int) -> Skim:  # noqa: PLR0911  one for each kind of type
        """`depth`: how many types are around this one, up to the nearest that may contain itself."""
        if isinstance(schema, str) and schema in self._names:
            if schema not in self._finite:
                cost = values(self._names[schema], self._finite) - 1
                return _skip_nested(self._bodies, schema, cost, depth)
            schema = self._names[schema]
        inside = parts(schema)
        skims = [self._of(part, depth + 1) for part in inside]
        match kind(schema):
            case "union":
                if len(inside) == 2 and "null" in inside and inside[0] != inside[1]:  # noqa: PLR2004
                    null = inside.index("null")
                    return _skip_optional(null, skims[1 - null], self._values(inside[1 - null]))
                return _skip_union(skims, [self._values(part) for part in inside])
            case "record":
                return _skip_record(skims)
            case "array":
                return _skip_blocks(skims[0], self._values(inside[0]))
            case "map":
                value, cost = skims[0], 1 + self._values(inside[0])
                return _skip_blocks(lambda payload, at, left: value(payload, _skip_text(payload, at, left), left), cost)
            case "enum":
                return _skip_enum(schema["symbols"])
            case "fixed":
                return _skip_fixed(schema["size"])
            case leaf:
                return _LEAVES[leaf]

    def _values(self, schema: Any) -> int:
        return values(schema, self._finite)
