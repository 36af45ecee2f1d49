"""Only the id and the status can cost an event: whatever stands anywhere else is read, or null and flagged.

In JSON and in Avro, by both decoders alike; within the limits on size, depth and number of values.
"""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from streamproc.codec.arrival import FLAGS, Framed
from streamproc.codec.decode import decode
from streamproc.codec.jsonobject import MAX_DEPTH, JsonFormat, is_deep
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.codec.skim import MAX_VALUES
from streamproc.core.model import EventFlag
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.shape import TIMES
from tests.support.books import book_of, bundled_book
from tests.support.odd_values import WHOLE, T, alike, as_json, taken
from tests.support.oddschemas import dangers
from tests.support.runobjects import SCHEMAS, arrivals, encode, run_object

V2_1 = SCHEMAS["v2_1"]
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


# JSON: any value at any place


def _places(node, at=()):
    """Each place in an object but the id and the status."""
    inside = node if isinstance(node, dict) else dict(enumerate(node)) if isinstance(node, list) else {}
    for place, value in (((*at, name), value) for name, value in inside.items()):
        if place not in {("id",), ("status",)}:
            yield place
            yield from _places(value, place)


def _with(node, place, value):
    """The object with another value at a place."""
    if not place:
        return value
    step, *rest = place
    if isinstance(node, list):
        return [_with(inside, rest, value) if number == step else inside for number, inside in enumerate(node)]
    return {**node, step: _with(node.get(step), rest, value)}


PLACES = [*_places(WHOLE), ("extra",), ("last_error", "extra"), ("usage", "extra")]
texts = (
    st.text(st.characters(exclude_categories=()), max_size=30)
    | st.sampled_from(("\ud83d", "\udc00x", "\ud83d\ude00", "\x00\n", "x" * 1_100, "0", "12.0", "-1", "nan"))
    | st.sampled_from(("0001-01-01T00:00:00Z", "2026-11-28 01:20:00 UTC", "Sat, 28 Nov 2026 01:20:00 GMT"))
)
numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from((0, -1, 2**63, -(2**63), 10**400, 10**4_299, 12.0, 1e300, float("nan"), float("-inf")))
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(texts, inside, max_size=4),
    max_leaves=12,
)


@given(place=st.sampled_from(PLACES), value=anything, ensure_ascii=st.booleans())
@settings(SLOW, max_examples=600)
def test_any_json_at_any_place_but_two_leaves_id_and_status_and_the_rest_as_they_are(place, value, ensure_ascii):
    event = taken(as_json(_with(WHOLE, place, value), ensure_ascii=ensure_ascii))
    plain = taken(as_json(WHOLE))
    assert (event.run_id, event.status) == ("run_1", "failed")
    others = {name for name in TIMES if name != place[0]} | {"thread_id", "assistant_id", "model"} - {place[0]}
    assert all(getattr(event, name) == getattr(plain, name) for name in others)
    if place[-1] in {"extra", "object", "instructions", "message", "arguments"}:
        assert structs.replace(event, payload=plain.payload) == plain


@given(st.dictionaries(st.sampled_from([place[0] for place in PLACES]), anything, min_size=1))
@settings(SLOW, max_examples=200)
def test_any_json_at_all_places_but_two_at_once_costs_nothing_but_itself(values):
    event = taken(as_json({**WHOLE, **values}))
    assert (event.run_id, event.status) == ("run_1", "failed")


@given(
    place=st.sampled_from(PLACES),
    raw=st.binary(max_size=30).map(lambda raw: raw.replace(b'"', b"").replace(b"\\", b"")),
)
@example(("instructions",), b"\xed\xa0\xbd")
@settings(SLOW, max_examples=300)
def test_any_bytes_in_a_text_of_json_but_two_cost_nothing_but_it(place, raw):
    """Also control characters, and the halves of surrogate pairs in what only looks like UTF-8."""
    value = as_json(_with(WHOLE, place, "@@")).replace(b"@@", raw)
    event = taken(value)
    assert (event.run_id, event.status) == ("run_1", "failed")


@pytest.mark.parametrize(
    ("inside", "taken"),
    [
        (b"9" * 5_000, True),
        (b"-" + b"9" * 200_000, True),
        (b"1e99999", True),
        (b"NaN", True),
        (b'{"a":1,"a":2}', True),
        (b'"\\ud83d"', True),
        (b"nan", False),
        (b"01", False),
        (b"[1,]", False),
        (b"'a'", False),
        (b'"\\x"', False),
        (b'"', False),
    ],
)
@pytest.mark.parametrize("name", ["x", "usage", "model", "started_at"])
def test_what_json_writers_make_is_taken_and_what_is_no_json_is_not(name, inside, taken):
    value = b'{"id":"r","status":"queued","%b":%b}' % (name.encode(), inside)
    decoded = decode(arrivals(value), bundled_book())
    assert [rejection.reason for rejection in decoded.rejections] == ([] if taken else ["undecodable"])


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, 900, 5_000, 29_000])
@pytest.mark.parametrize("odd", [b"", b'"\\ud83d",', b'"[[[]]]\\\\","\\"]]",' + b'"]]",' * 100])
@pytest.mark.parametrize("name", [b"x", b"usage"])
def test_how_deep_an_object_is_decides_alike_whatever_parses_it(depth, odd, name):
    """Neither parser may come to Python's own limit, which depends on how deep the caller is."""
    value = b'{"id":"r","status":"queued","%b":[%b%b]}' % (name, odd, b"[" * (depth - 1) + b"]" * (depth - 1))
    decoded = decode(arrivals(value), bundled_book())
    assert [rejection.reason for rejection in decoded.rejections] == ([] if depth < MAX_DEPTH else ["undecodable"])


def test_how_deep_an_object_is_is_told_without_going_to_its_innermost():
    """By the last level that is taken; one after the other, these would take a quarter of an hour."""
    assert is_deep(b"[" * 500_000 + b"]" * 500_000)


@pytest.mark.parametrize("odd", [b"1", b'"\\ud83d"'])
def test_too_many_values_are_too_complex_whatever_parses_them(odd):
    value = b'{"id":"r","status":"queued","x":[%b]}' % b",".join([odd] * MAX_VALUES)
    [rejection] = decode(arrivals(value), bundled_book()).rejections
    assert rejection.reason == "too_complex"


class _Refuses:
    """A decoder that takes nothing."""

    def decode(self, _payload):
        raise msgspec.DecodeError


@given(st.dictionaries(st.sampled_from([*WHOLE, "x"]), anything))
@settings(SLOW, max_examples=200)
def test_the_lenient_parser_says_what_the_strict_one_does(found):
    """Which of them takes a record depends on what else is in it."""
    value = as_json({**found, "id": "r", "status": "s"})
    [record] = arrivals(value)
    lenient = JsonFormat(ASSISTANTS.shape)
    lenient._decoder = _Refuses()
    assert lenient.read(Framed(record, value)) == taken(value)


# Avro: any type at any place that is read, any value of it

_names = st.integers(0, 10**9).map("T{}".format)
LEAVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


def _named(kind, **more):
    return _names.map(lambda name: {"type": kind, "name": name, **more})


def _fields(kinds):
    return [{"name": f"f{number}", "type": kind} for number, kind in enumerate(kinds)]


def _union(kinds):
    """A union of types of which no two are of a kind, as Avro has it, and none is a union."""
    seen = {}
    for kind in kinds:
        if not isinstance(kind, list):
            seen.setdefault(str(kind["type"] if isinstance(kind, dict) else kind), kind)
    return [*seen.values()] or ["null"]


types = st.recursive(
    st.sampled_from(LEAVES)
    | st.sampled_from(("timestamp-millis", "timestamp-nanos", "time-micros")).map(
        lambda logical: {"type": "long", "logicalType": logical}
    )
    | st.sampled_from(("date", "time-millis")).map(lambda logical: {"type": "int", "logicalType": logical})
    | _named("enum", symbols=["a", "b"])
    | _named("fixed", size=3),
    lambda inside: (
        inside.map(lambda kind: {"type": "map", "values": kind})
        | inside.filter(lambda kind: kind != "null").map(lambda kind: {"type": "array", "items": kind})
        | st.tuples(_names, st.lists(inside, min_size=1, max_size=3)).map(
            lambda made: {"type": "record", "name": made[0], "fields": _fields(made[1])}
        )
        | inside.map(lambda kind: _union(["null", kind]))
        | st.lists(inside, min_size=1, max_size=3).map(_union)
    ),
    max_leaves=5,
)
EDGES = (0, -1, 1, T, T * 1_000, 253_402_300_800, 2**63 - 1, -(2**63))


def _value(schema):  # noqa: PLR0911  one for each kind
    """A strategy for the values of a type; fastavro tells the branches of unions by their values."""
    if isinstance(schema, list):
        return st.one_of([_value(branch) for branch in schema])
    kind = schema["type"] if isinstance(schema, dict) else schema
    match kind:
        case "record":
            return st.fixed_dictionaries({field["name"]: _value(field["type"]) for field in schema["fields"]})
        case "array":
            return st.lists(_value(schema["items"]), max_size=3)
        case "map":
            return st.dictionaries(_text, _value(schema["values"]), max_size=3)
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "fixed":
            return st.binary(min_size=3, max_size=3)
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.sampled_from((0, -1, T, 2**31 - 1, -(2**31))),
        "long": st.sampled_from(EDGES) | st.integers(-(2**63), 2**63 - 1),
        "float": st.floats(width=32),
        "double": st.floats() | st.sampled_from((12.0, 500.0, float(T), 1e18, -0.0)),
        "bytes": st.binary(max_size=12) | _text.map(str.encode),
        "string": _text,
    }[kind]


_text = (
    st.text(max_size=12)
    | st.sampled_from(("", "12", " 7 ", "x" * 1_100, "ß" * 600, "@@@@", "0001-01-01T00:00:00Z", str(T), "\ufffd"))
    | st.sampled_from(("2026-11-28 01:20:00 UTC", "Sat, 28 Nov 2026 01:20:00 GMT", "2026-11-28T01:20:00Z"))
)
PATHS = [path for target, paths in ASSISTANTS.shape.paths.items() if target not in {"id", "status"} for path in paths]


def _around(steps, kind, number=0):
    """A type in which another one stands at the end of some steps, records around it."""
    if not steps:
        return kind
    step, *rest = steps
    inside = _around(rest, kind, number + 1)
    if step.endswith("[]"):
        inside, step = {"type": "array", "items": inside}, step[:-2]
    return {"type": "record", "name": f"Way{number}", "fields": [{"name": step, "type": inside}]}


@st.composite
def _schemas(draw):
    """A schema with any type somewhere on the way to something that is read, or beside it."""
    path = draw(st.sampled_from([*PATHS, "extra"])).split(".")
    way = path[: draw(st.integers(1, len(path)))]
    [first] = _around(way, draw(types))["fields"]
    if draw(st.booleans()):
        first = {**first, "type": _union(["null", first["type"]])}
    fields = [{"name": "id", "type": "string"}, {"name": "status", "type": "string"}]
    fields.insert(draw(st.integers(0, 2)), first)
    return {"type": "record", "name": "Mine", "fields": fields}


def _alone(record, schema):
    return decode_one(Framed(record, record.value[len(schema.header) :]), schema)


@given(document=_schemas(), data=st.data())
@settings(SLOW, max_examples=500)
def test_any_type_at_any_place_but_two_leaves_the_schema_fit_and_its_events_taken(document, data):
    """And both decoders read the same. Bytes that are no text come to stand in texts, too."""
    assume(not dangers(document))
    schema = WriterSchema(document, ASSISTANTS.shape)
    [name] = {field["name"] for field in document["fields"]} - {"id", "status"}
    kind = next(field["type"] for field in document["fields"] if field["name"] == name)
    values = [{"id": "r", "status": "failed", name: value} for value in data.draw(st.lists(_value(kind), max_size=4))]
    payloads = [encode(schema, value).replace(b"@@@@", b"\xf0\x9f\xff@") for value in values]
    records = arrivals(*(schema.header + payload for payload in payloads))
    decoded = decode(records, book_of(schema))
    assert decoded.rejections == []
    assert decoded.events == [_alone(record, schema) for record in records]
    for event in decoded.events:
        assert (event.run_id, event.status) == ("r", "failed")
        assert set(event.flags) <= set(FLAGS)


PLAIN = ("boolean", "long", "double", "string", ["null", "string"], {"type": "array", "items": "string"})


@given(data=st.data(), path=st.sampled_from(PATHS), kind=st.sampled_from(PLAIN), nullable=st.booleans())
@settings(SLOW, max_examples=400)
def test_the_same_odd_object_is_the_same_event_in_avro_and_in_json(data, path, kind, nullable):
    way = path.split(".")
    way = way[: data.draw(st.integers(1, len(way)))]
    [first] = _around(way, kind)["fields"]
    if nullable:
        first = {**first, "type": _union(["null", first["type"]])}
    fields = [{"name": "id", "type": "string"}, {"name": "status", "type": "string"}, first]
    schema = WriterSchema({"type": "record", "name": "Mine", "fields": fields}, ASSISTANTS.shape)
    found = {"id": "r", "status": "failed", first["name"]: data.draw(_value(first["type"]))}
    [in_avro] = decode(arrivals(schema.header + encode(schema, found)), book_of(schema)).events
    assert alike(taken(as_json(found))) == alike(in_avro)


@given(
    data=st.data(),
    first=st.sampled_from(("long", "double", "string", ["null", "long"], "boolean", "bytes")),
    second=st.sampled_from(("long", "string", ["null", "double"], ["null", "string"])),
)
@settings(SLOW, max_examples=300)
def test_of_several_places_both_decoders_take_the_same(data, first, second):
    paths = {
        "created_at": ("a", "b"),
        "model": ("a", "b"),
        "total_tokens": ("a", "b"),
        **{name: ASSISTANTS.shape.paths[name] for name in ("id", "status")},
    }
    shape = replace(ASSISTANTS.shape, paths=paths)
    fields = [{"name": "id", "type": "string"}, {"name": "status", "type": "string"}]
    fields += [{"name": "a", "type": first}, {"name": "b", "type": second}]
    schema = WriterSchema({"type": "record", "name": "Mine", "fields": fields}, shape)
    kinds = st.fixed_dictionaries({"id": st.just("r"), "status": st.just("s"), "a": _value(first), "b": _value(second)})
    records = arrivals(*(schema.header + encode(schema, each) for each in data.draw(st.lists(kinds, max_size=5))))
    assert decode(records, book_of(schema)).events == [_alone(record, schema) for record in records]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("thread_id", "model", "instructions", "id", "status")), st.binary(min_size=4, max_size=4)
        ),
        max_size=12,
    )
)
@settings(SLOW, max_examples=200)
def test_damaged_texts_cost_the_records_whose_id_or_status_they_are(drawn):
    """Anywhere in a batch, beside others."""
    texts = dict.fromkeys(("thread_id", "model", "instructions", "id", "status"), "abcd")
    values = []
    for name, raw in drawn:
        values.append(V2_1.header + encode(V2_1, run_object(**{**texts, name: "@@@@"})).replace(b"@@@@", raw))
    records = arrivals(*values)
    decoded = decode(records, bundled_book())
    refused = {rejection.record.offset: rejection.reason for rejection in decoded.rejections}
    events = {event.offset: event for event in decoded.events}
    for record, (name, raw) in zip(records, drawn, strict=True):
        text = raw.decode(errors="replace")
        damaged = text.encode() != raw
        if name in {"id", "status"}:
            assert (record.offset in refused) >= damaged
            assert refused.get(record.offset, "bad") in {"bad", "bad_run_id", "bad_status"}
        else:
            event = events[record.offset]
            assert event == _alone(record, V2_1)
            assert event.flags == ((EventFlag.TEXT_DAMAGED,) if damaged and name != "instructions" else ())
            assert name == "instructions" or getattr(event, name) == text
