"""Whatever is not read is of no matter: any type that can be decoded, with any attributes."""

from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.codec.arrival import Framed
from streamproc.codec.decode import decode
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.core.profiles import ASSISTANTS
from streamproc.schemacheck import check
from tests.codec.test_odd_schemas import alike
from tests.support.books import book_of, bundled_book
from tests.support.oddschemas import BASE, text
from tests.support.runobjects import RUN_OBJECTS, arrivals, encode, long

JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})
KEYS = (
    "doc",
    "default",
    "aliases",
    "order",
    "logicalType",
    "precision",
    "scale",
    "connect.name",
    "x",
    "items",
    "symbols",
)
LOGICAL = st.sampled_from(("decimal", "uuid", "date", "duration", "timestamp-millis", "time-micros", "x"))
ANY_NAME = st.text(max_size=6) | st.sampled_from(("id", "größe", "a.b", "RunObject", "null", "run-id", "odd_1", "T0"))


def junk(draw: st.DrawFn, *but: str) -> dict[str, Any]:
    """Attributes that say nothing, or something that is wrong."""
    found = draw(st.dictionaries(st.sampled_from([key for key in KEYS if key not in but]), JUNK, max_size=3))
    return {**found, "logicalType": draw(LOGICAL)} if draw(st.booleans()) else found


class Drawn:
    """Draws types, each with the bytes of a value of it."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._numbers = count()
        self._open: list[str] = []

    def of(self, depth: int) -> tuple[Any, bytes]:
        """Return a type of at most so many levels, and a value."""
        made = (self._leaf, self._array, self._map, self._union, self._record, self._enum, self._fixed, self._around)
        return self._draw(st.sampled_from(made if depth else made[:1]))(depth)

    def _leaf(self, _depth: int) -> tuple[Any, bytes]:
        kind, value = self._draw(
            st.sampled_from(
                (
                    *(
                        ("null", b""),
                        ("boolean", b"\x01"),
                        ("int", long(-7)),
                        ("long", long(2**62)),
                        ("float", bytes(4)),
                    ),
                    *(("double", bytes(8)), ("bytes", long(3) + b"\xff\x00\x80"), ("string", text("ä"))),
                )
            )
        )
        return ({"type": kind, **junk(self._draw)} if self._draw(st.booleans()) else kind), value

    def _items(self, depth: int, key: bytes) -> tuple[Any, bytes]:
        kind, value = self.of(depth - 1)
        if not value:  # Items without bytes are refused, and for a reason.
            kind, value = ["null", kind], b"\x02"
        times = self._draw(st.integers(0, 3))
        return kind, (long(times) + (key + value) * times if times else b"") + b"\x00"

    def _array(self, depth: int) -> tuple[Any, bytes]:
        items, value = self._items(depth, b"")
        return {**junk(self._draw, "items"), "type": "array", "items": items}, value

    def _map(self, depth: int) -> tuple[Any, bytes]:
        values, value = self._items(depth, text("k"))
        return {**junk(self._draw), "type": "map", "values": values}, value

    def _union(self, depth: int) -> tuple[Any, bytes]:
        branches = [self.of(depth - 1) for _ in range(self._draw(st.integers(1, 3)))]
        chosen = self._draw(st.integers(0, len(branches) - 1))
        # A record around it may stand in a union, too, and is not chosen: so there is an end.
        around = [self._draw(st.sampled_from(self._open))] if self._open else []
        return [*(kind for kind, _ in branches), *around], long(chosen) + branches[chosen][1]

    def _around(self, depth: int) -> tuple[Any, bytes]:
        kind, value = self.of(depth - 1)
        return {**junk(self._draw), "type": kind}, value

    def _named(self, kind: str, *but: str) -> dict[str, Any]:
        named = {**junk(self._draw, *but), "type": kind, "name": f"{self._draw(ANY_NAME)}{next(self._numbers)}"}
        return {**named, "namespace": self._draw(JUNK | ANY_NAME)} if self._draw(st.booleans()) else named

    def _record(self, depth: int) -> tuple[Any, bytes]:
        named = self._named("record")
        full = named["name"].removeprefix(".")
        # To be sure what it is called from inside: by a name with a dot, which is a full one.
        self._open += [full] if "." in full else []
        fields, value = [], b""
        for _ in range(self._draw(st.integers(0, 3))):
            kind, one = self.of(depth - 1)
            fields.append({**junk(self._draw), "name": self._draw(ANY_NAME), "type": kind})
            value += one
        if "." in full:
            self._open.remove(full)
        return {**named, "fields": fields}, value

    def _enum(self, _depth: int) -> tuple[Any, bytes]:
        symbols = self._draw(st.lists(st.text(max_size=3), min_size=1, max_size=4))
        index = self._draw(st.integers(0, len(symbols) - 1))
        return {**self._named("enum", "symbols"), "symbols": symbols}, long(index)

    def _fixed(self, _depth: int) -> tuple[Any, bytes]:
        size = self._draw(st.integers(0, 3))
        return {**self._named("fixed"), "size": size}, bytes(size)


@st.composite
def unread_fields(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """A field that nothing reads, and the bytes of its value."""
    kind, value = Drawn(draw).of(4)
    name = draw(ANY_NAME.filter(lambda it: it not in {field["name"] for field in BASE.document["fields"]}))
    found = junk(draw)
    if isinstance(found.get("aliases"), list):
        found["aliases"] = [7, None]
    return {**found, "name": name, "type": kind}, value


@given(unread_fields(), RUN_OBJECTS["v1_5"], st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_field_that_is_not_read_changes_nothing(odd: tuple[dict[str, Any], bytes], run: Any, first: bool) -> None:
    """Neither verdict nor event, by either decoder; the schema is said to be fit."""
    field, value = odd
    fields = BASE.document["fields"]
    document = {**BASE.document, "fields": [field, *fields] if first else [*fields, field]}
    assert check("mine", document, ASSISTANTS).faults == ()
    schema, plain = WriterSchema(document, ASSISTANTS.shape), encode(BASE, run)
    payload = value + plain if first else plain + value
    [arrival] = arrivals(schema.header + payload)
    decoded = decode([arrival], book_of(schema))
    expected = decode(arrivals(BASE.header + plain), bundled_book())
    assert not expected.rejections
    assert not decoded.rejections, decoded.rejections[0].message
    assert alike(decoded.events, *expected.events)
    assert decoded.events == [decode_one(Framed(arrival, payload), schema)]
