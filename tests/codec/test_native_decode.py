"""The native decoder reads what the reference reads, whatever a producer writes, and refuses the rest in its words."""

import struct
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.codec.arrival import Framed
from streamproc.codec.reference import decode_one, refusal
from streamproc.codec.schemas import WriterSchema, load
from streamproc.codec.skim import MAX_NESTED, MAX_VALUES
from streamproc.core.model import RunEvent
from streamproc.core.profiles import ASSISTANTS, PROFILES
from streamproc.errors import RecordRejected, Unfit
from streamproc.local.simulate import simulate
from tests.fuzz.cases import credible, mutated, named, value_of
from tests.fuzz.producers import Producer
from tests.support.books import RUN_OBJECT_VERSIONS
from tests.support.native import needs_native
from tests.support.oddschemas import ODD, array, enum, maps, payload, record, text, with_field
from tests.support.runobjects import SCHEMAS, Arrived, encode, long

pytestmark = needs_native

ID, STATUS = {"name": "id", "type": "string"}, {"name": "status", "type": "string"}
R_S = text("r") + text("queued")
Said = tuple[str, str]


def framed(*payloads: bytes) -> list[Framed]:
    """Payloads as they arrive."""
    return [Framed(Arrived(7 + 3 * at, each), each, at % 3) for at, each in enumerate(payloads)]


def reference(each: Framed, schema: WriterSchema) -> RunEvent | Said:
    """The event, or why it is none."""
    try:
        return decode_one(each, schema)
    except RecordRejected as error:
        return error.reason, str(error)


def native(group: list[Framed], schema: WriterSchema) -> list[RunEvent | Said | None]:
    """The same in one batch; None for what is left to the reference."""
    found = schema.native.decode(group)
    refused = {row: refusal(fault, schema.where) for row, fault in found.faults}
    assert not refused.keys() & set(found.doubtful)
    assert len(found.events) + len(refused) + len(found.doubtful) == len(group)
    events = iter(found.events)
    others = {row: (error.reason, str(error)) for row, error in refused.items()} | dict.fromkeys(found.doubtful)
    return [others[row] if row in others else next(events) for row in range(len(group))]


def held(schema: WriterSchema, *payloads: bytes) -> list[RunEvent | Said]:
    """What both say of payloads, where the native one says anything."""
    group = framed(*payloads)
    expected = [reference(each, schema) for each in group]
    for said, wanted in zip(native(group, schema), expected, strict=True):
        assert said is None or said == wanted
        # What it read without doubt is sound; the words of a fault are the reference's own.
        assert said is not None or isinstance(wanted, RunEvent) or wanted[0].startswith(("bad_", "unknown_status"))
    return expected


def fitted(*fields: Any) -> WriterSchema:
    """A schema with an id, a status and more."""
    return WriterSchema(record("R", ID, STATUS, *fields), ASSISTANTS.shape)


# Any schema


@given(st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_whatever_a_producer_writes_is_read_alike(seed):
    """Unions of several types, maps, bytes and fixed where something is read; types in themselves beside it."""
    rng = Random(seed)
    document = Producer(rng).document()
    with suppress(Unfit):
        schema = WriterSchema(document, rng.choice(list(PROFILES.values())).shape if rng.random() < 0.1 else SHAPE)
        good = [encode(schema, named(rng, value_of(rng, document, {}))) for _ in range(6)]
        held(schema, *good, *(mutated(rng, each) for each in good * 4), b"")


SHAPE = ASSISTANTS.shape
BUNDLED = [
    (profile, WriterSchema(load(name).document, profile.shape))
    for profile in PROFILES.values()
    for name in profile.schemas
]


@pytest.mark.parametrize(("profile", "schema"), BUNDLED, ids=lambda it: getattr(it, "name", None) or it.label)
def test_every_bundled_schema_is_read_alike(profile, schema):
    rng = Random(profile.name)
    good = [encode(schema, credible(rng, value_of(rng, schema.document, {}), profile)) for _ in range(200)]
    held(schema, *good, *(mutated(rng, rng.choice(good)) for _ in range(3_000)))


@pytest.mark.parametrize("version", RUN_OBJECT_VERSIONS)
def test_what_producers_really_write_needs_no_help(version):
    """It would cost what the reference costs."""
    schema = SCHEMAS[version]
    events = simulate(seed=1, events=500, schema_version=version, bad_ratio=0)
    assert schema.native.decode(framed(*(event.value[len(schema.header) :] for event in events))).doubtful == []


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("first", [False, True])
def test_what_is_not_read_needs_no_help(odd, first):
    """Any type is skipped natively, symbols that are no names and types in themselves, too."""
    kind, value = ODD[odd]
    schema = WriterSchema(with_field(kind, first=first), SHAPE)
    group = framed(*[payload(value, first=first)] * 2)
    assert native(group, schema) == [decode_one(each, schema) for each in group]


FIXED = {"type": "fixed", "name": "F", "size": 4}
READ = (
    ({"name": "model", "type": ["null", "string", "long"]}, b"\x02" + text("a"), b"\x04" + long(-7), b"\x00"),
    ({"name": "model", "type": ["string", "bytes", "double"]}, b"\x02" + text("ß"), b"\x04" + struct.pack("<d", 7.0)),
    ({"name": "model", "type": enum("läuft", "a-b", "a-b", "")}, b"\x00", b"\x04", b"\x06"),
    ({"name": "model", "type": ["null", FIXED]}, b"\x02abcd", b"\x00"),
    ({"name": "model", "type": ["null", "string", FIXED]}, b"\x04abcd", b"\x02" + text("x")),
    ({"name": "model", "type": "bytes"}, text("gpt"), text("")),
    ({"name": "usage", "type": maps("long")}, long(1) + text("total_tokens") + long(7) + b"\x00", b"\x00"),
    (
        {"name": "usage", "type": ["null", maps(["null", "string"])]},
        b"\x02" + long(2) + (text("total_tokens") + b"\x02" + text("7")) * 2 + b"\x00",
    ),
    (
        {"name": "last_error", "type": maps("string")},
        long(2) + text("code") + text("a") + text("code") + text("b") + b"\x00",
        long(-1) + long(99) + text("code") + text("") + b"\x00",
    ),
    (
        {"name": "last_error", "type": ["null", record("A", {"name": "code", "type": "string"}), "string"]},
        b"\x02" + text("a"),
        b"\x04" + text("a"),
    ),
    (
        {"name": "created_at", "type": ["long", "string"]},
        b"\x00" + long(-(2**63)),
        b"\x02" + text("2024-06-01T00:00:00Z"),
    ),
    ({"name": "metadata", "type": maps(["null", "string", "bytes"])}, long(1) + text("k") + b"\x04\x02\xff" + b"\x00"),
)


@pytest.mark.parametrize(("field", "values"), [(field, values) for field, *values in READ])
def test_what_is_read_of_stranger_types_is_the_same(field, values):
    schema = fitted(field)
    assert all(isinstance(each, RunEvent) for each in held(schema, *(R_S + value for value in values)))


# Faults


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("string", long(9) + b"x", "a length is negative or reaches beyond the end"),
        ("string", long(-1), "a length is negative"),
        ("string", long(2**62), "a length is negative or reaches"),
        ("string", b"", "it ends in the middle of a value"),
        ("string", b"\xff" * 9 + b"\x81\x00", "more than 10 bytes"),
        ("long", b"\x80" * 9, "it ends in the middle of a value"),
        ("long", b"\x80" * 10 + b"\x00", "more than 10 bytes"),
        ("double", b"1234567", "a length"),
        (FIXED, b"123", "a length"),
        ("boolean", b"\x02", "neither 0 nor 1"),
        (["null", "long"], b"\x04", "a union's index"),
        (["null", "long"], b"\x01", "a union's index"),
        (enum("a"), b"\x02", "an enum's index"),
        (enum("a"), b"\x01", "an enum's index"),
        (array("long"), long(3) + b"\x00", "more items than there are bytes"),
        (array("long"), long(-(2**62)) + b"\x00", "more items than there are bytes"),
        (array("long"), long(-(2**63)) + b"\x00\x00\x00", "after the record"),
        ("long", b"\x00\x00", "bytes are left over after the record"),
        (array("long"), long(MAX_VALUES) + b"\x00" * (MAX_VALUES + 1), "more than 30,000 values"),
        (
            array(["null", record("Wide", *["null"] * 100)]),
            long(400) + b"\x02" * 400 + b"\x00",
            "more than 30,000 values",
        ),
    ],
)
def test_each_fault_has_the_words_of_the_reference(field, value, words):
    [(_, message)] = held(schema := fitted(field), R_S + value)
    assert words in message
    assert native(framed(R_S + value), schema) == [held(schema, R_S + value)[0]], "it needs no help to refuse"


@pytest.mark.parametrize("most", range(MAX_VALUES - 12, MAX_VALUES + 2))
def test_so_many_values_are_taken_by_both_and_not_one_more(most):
    schema = fitted(array("boolean"))
    held(schema, R_S + long(most) + b"\x01" * most + b"\x00", R_S + (long(1) + b"\x01") * (most // 2) + b"\x00")


NODES = (["null", "Node"], array("Node"), maps("Node"), ["null", maps(["null", array(["null", "Node"])])])
LEVELS = (
    b"\x02",
    long(1),
    long(1) + text("k"),
    b"\x02" + long(1) + text("k") + b"\x02" + long(1) + b"\x02",
)


@pytest.mark.parametrize(("kind", "level"), list(zip(NODES, LEVELS, strict=True)))
def test_a_type_in_itself_ends_at_the_same_depth(kind, level):
    """On the way there all is taken; behind it both refuse, and neither's stack overflows."""
    schema = fitted({"name": "first", "type": record("Node", {"name": "next", "type": kind})})
    ends = [reference(each, schema) for each in framed(*(R_S + level * n for n in range(MAX_NESTED)))]
    assert native(framed(*(R_S + level * n for n in range(MAX_NESTED))), schema) == ends
    assert {said[0] for said in ends} == {"undecodable", "too_complex"}
    assert held(schema, R_S + level * 50_000)[0][0] == "too_complex"
