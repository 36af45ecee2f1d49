"""A schema is refused for what cannot be decoded, or is unsafe, and for nothing else."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from msgspec.structs import replace

from streamproc.codec.arrival import Framed
from streamproc.codec.decode import decode
from streamproc.codec.inline import inlined
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.codec.skim import MAX_NESTED, MAX_VALUES
from streamproc.core.deadlines import Deadlines
from streamproc.core.model import RunEvent, Verdict
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.errors import ConfigError, RecordRejected
from streamproc.replay import FileReplayTerms, replay
from streamproc.schemacheck import check
from streamproc.schemafile import read_document
from tests.support.books import book_of
from tests.support.oddschemas import (
    BASE,
    ODD,
    RUN,
    array,
    decimal,
    enum,
    maps,
    payload,
    record,
    text,
    with_field,
    write_container,
)
from tests.support.runobjects import SCHEMAS, arrivals, encode, long

TERMS = FileReplayTerms(
    "app", Rules(ASSISTANTS, Retention(86_400_000, 604_800_000), Deadlines(overdue=False)), 1_800_000_000_000
)
ID, STATUS = {"name": "id", "type": "string"}, {"name": "status", "type": "string"}
R_S = text("r") + text("queued")
NODE = record("Node", {"name": "next", "type": ["null", "Node"]})


def fitted(document: Any) -> WriterSchema:
    return WriterSchema(document, ASSISTANTS.shape)


def events(schema: WriterSchema, *payloads: bytes) -> list[RunEvent]:
    """The events of payloads, which both decoders agree on."""
    records = arrivals(*(schema.header + each for each in payloads))
    decoded = decode(records, book_of(schema))
    assert not decoded.rejections, [rejection.message for rejection in decoded.rejections]
    pairs = zip(records, payloads, strict=True)
    assert decoded.events == [decode_one(Framed(record, each), schema) for record, each in pairs]
    assert [event.payload for event in decoded.events] == list(payloads)
    assert {event.schema for event in decoded.events} == {schema.label}
    return decoded.events


def reason(schema: WriterSchema, value: bytes) -> str:
    """Why a payload is rejected, by both ways of decoding."""
    [arrival] = arrivals(schema.header + value)
    [rejection] = decode([arrival], book_of(schema)).rejections
    with pytest.raises(RecordRejected) as caught:
        decode_one(Framed(arrival, value), schema)
    assert caught.value.reason == rejection.reason
    return f"{rejection.reason}: {rejection.message}"


def faults(document: Any) -> str:
    """What a schema is refused for, said alike by `schema check` and by the service."""
    with pytest.raises(RecordRejected) as caught:
        fitted(document)
    assert caught.value.reason == "unfit_schema"
    report = check("mine", document, ASSISTANTS)
    assert str(caught.value) == f"its schema cannot be used: {'; '.join(report.faults)}"
    assert str(caught.value).isprintable()
    return "; ".join(report.faults)


def alike(found: list[RunEvent], *expected: RunEvent) -> bool:
    """Whether events say the same, whatever schema they were written with."""
    return [replace(event, schema="", payload=b"", offset=0, timestamp=0) for event in found] == [
        replace(event, schema="", payload=b"", offset=0, timestamp=0) for event in expected
    ]


[PLAIN] = events(BASE, payload())


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("odd", ODD)
def test_what_is_not_read_may_be_as_odd_as_it_likes(odd: str, first: bool) -> None:
    """It decodes to the event that it would be without: in a batch, and alone."""
    kind, value = ODD[odd]
    schema = fitted(with_field(kind, first=first))
    assert alike(events(schema, *[payload(value, first=first)] * 3), PLAIN, PLAIN, PLAIN)


@pytest.mark.parametrize("odd", ODD)
def test_schema_check_and_replay_take_what_the_service_takes(odd: str, tmp_path: Path) -> None:
    kind, value = ODD[odd]
    document = with_field(kind)
    assert check("mine", document, ASSISTANTS).faults == ()
    runs = [payload(value)] * 2
    path = write_container(tmp_path / "a.avro", document, [runs, runs])
    assert read_document(path) == document
    summary = replay([path], tmp_path / "out", TERMS)
    assert summary.rejected == {}
    assert summary.verdicts == {Verdict.APPLIED: 1, Verdict.DUPLICATE: 3}


def test_a_schema_with_references_may_be_as_odd() -> None:
    """As the registry's are put in, before anything else looks at them."""
    odd = record(
        "größe.Odd",
        {"name": "maß", "type": decimal(scale=-1, precision="x"), "aliases": None},
        {"name": "n", "type": "int", "default": "0"},
        {"name": "kind", "type": enum("ä", "ö"), "default": "ü"},
        {"name": "more", "type": ["null", "Odd"]},
    )
    document = {**BASE.document, "fields": [*BASE.document["fields"], {"name": "x", "type": "größe.Odd"}]}
    value = long(1) + b"\xff" + long(7) + b"\x02" + b"\x00"
    assert alike(events(fitted(inlined(document, [odd])), payload(value)), PLAIN)


# What is read


def test_a_path_may_name_a_field_that_is_no_avro_name() -> None:
    shape = ASSISTANTS.shape
    paths = {**shape.paths, "model": ("größe.run-model",), "required_tools": ("calls[].the name",)}
    odd = record("Größe", {"name": "run-model", "type": "string"})
    calls = array(record("Call", {"name": "the name", "type": "string"}))
    document = record("R", ID, STATUS, {"name": "größe", "type": ["null", odd]}, {"name": "calls", "type": calls})
    profile = dataclasses.replace(ASSISTANTS, shape=dataclasses.replace(shape, paths=paths))
    schema = WriterSchema(document, profile.shape)
    assert dict(check("mine", document, profile).found)["model"] == "größe.run-model (string)"
    [event] = events(schema, R_S + b"\x02" + text("gpt") + long(1) + text("look") + b"\x00")
    assert (event.model, event.required_tools) == ("gpt", ("look",))


def test_symbols_of_any_kind_are_read_as_they_are() -> None:
    """Also those that stand twice."""
    document = record("R", ID, {"name": "status", "type": enum("läuft", "in-progress", "in-progress")})
    schema = fitted(document)
    found = events(schema, *(text("r") + index for index in (b"\x00", b"\x02", b"\x04")))
    assert [event.status for event in found] == ["läuft", "in-progress", "in-progress"]
    [note] = [note for note in check("mine", document, ASSISTANTS).notes if "no statuses" in note]
    assert note.startswith("läuft, in-progress")


def test_a_field_that_is_read_and_stands_twice_is_refused() -> None:
    assert faults(record("R", ID, ID, STATUS)) == "id stands twice"
    assert faults(["null", record("R", STATUS, ID, STATUS)]) == "status stands twice"


# A union at the top


RUN_RECORD = record("Run", ID, STATUS, {"name": "model", "type": "string"}, namespace="x")
RUN_BYTES = R_S + text("gpt")


@pytest.mark.parametrize(
    ("union", "index"),
    [
        (["null", RUN_RECORD], b"\x02"),
        ([RUN_RECORD, "null"], b"\x00"),
        ([RUN_RECORD], b"\x00"),
        ({"type": ["null", RUN_RECORD]}, b"\x02"),
        (["null", "string", RUN_RECORD], b"\x04"),
        (["null", record("Other", "long"), RUN_RECORD], b"\x04"),
        ([RUN_RECORD, record("Other", {"name": "id", "type": "string"})], b"\x00"),
        ([{"type": "array", "items": RUN_RECORD}, "x.Run"], b"\x02"),
    ],
)
def test_a_union_may_stand_at_the_top(union: Any, index: bytes, tmp_path: Path) -> None:
    schema = fitted(union)
    found = events(schema, index + RUN_BYTES, index + RUN_BYTES)
    assert {(event.run_id, event.status, event.model) for event in found} == {("r", "queued", "gpt")}
    report = check("mine", union, ASSISTANTS)
    assert report.faults == ()
    assert dict(report.found)["model"] == "model (string)"
    path = write_container(tmp_path / "a.avro", union, [[index + RUN_BYTES]])
    assert replay([path], tmp_path / "out", TERMS).verdicts == {Verdict.APPLIED: 1}


@pytest.mark.parametrize("version", ["v1", "v1_5", "v2", "v2_1"])
def test_the_bundled_runobject_or_null_is_read_as_the_runobject(version: str) -> None:
    """Everything that is read of it; the payload is the union's, and so is the fingerprint."""
    single = SCHEMAS[version]
    schema = fitted(["null", single.document])
    assert schema.fingerprint != single.fingerprint
    values = [encode(single, {**RUN, "metadata": {"a": "b"}, "thread_id": thread}) for thread in ("t1", "t2")]
    assert alike(events(schema, *(b"\x02" + value for value in values)), *events(single, *values))


def test_a_null_at_the_top_is_a_run_without_an_id() -> None:
    schema = fitted(["null", RUN_RECORD])
    assert reason(schema, b"\x00") == "bad_run_id: the run id is null"
    assert len(events(schema, b"\x02" + RUN_BYTES)) == 1
    good, bad = schema.header + b"\x02" + RUN_BYTES, schema.header + b"\x00"
    decoded = decode(arrivals(good, bad, good), book_of(schema))
    assert ([event.run_id for event in decoded.events], len(decoded.rejections)) == (["r", "r"], 1)


def test_records_of_a_union_at_the_top_each_hold_what_they_hold() -> None:
    started = record("Started", ID, STATUS, {"name": "started_at", "type": "long"})
    failed = record(
        "Failed", STATUS, {"name": "last_error", "type": record("E", {"name": "code", "type": "string"})}, ID
    )
    schema = fitted([started, failed, record("Ping", "long")])
    first, second = events(schema, b"\x00" + R_S + long(7), b"\x02" + text("failed") + text("oom") + text("r"))
    assert (first.started_at, first.error_code) == (7, None)
    assert (second.status, second.started_at, second.error_code) == ("failed", None, "oom")
    assert reason(schema, b"\x04" + long(1)).startswith("bad_run_id")


@pytest.mark.parametrize("top", [["null"], [], ["null", "string"], [array(RUN_RECORD)], array(RUN_RECORD), enum("A")])
def test_a_top_without_a_record_is_refused(top: Any) -> None:
    assert faults(top) == "it must be a record"


def test_what_is_wrong_under_a_union_at_the_top_has_the_path_of_the_field() -> None:
    wrong = record("R", ID, {"name": "status", "type": "boolean"}, {"name": "usage", "type": record("U", "long")})
    assert faults(["null", wrong]).startswith("status is boolean: it must be string, enum")
    assert "tags[]: its items take no bytes" in faults(
        ["null", record("R", ID, STATUS, {"name": "tags", "type": array("null")})]
    )


# Types that contain themselves


def nested(levels: int) -> bytes:
    return R_S + b"\x02" * levels + b"\x00"


CHAIN = record("R", ID, STATUS, {"name": "node", "type": NODE})


def test_a_payload_may_be_nested_up_to_a_depth() -> None:
    """A record and a union for each level; the first node is in every run."""
    schema = fitted(CHAIN)
    deepest = (MAX_NESTED - 2) // 2
    assert len(events(schema, nested(deepest), nested(100))) == 2
    for levels in (deepest + 1, 2_000, 500_000):
        assert reason(schema, nested(levels)).startswith("too_complex")
    assert "undecodable" in reason(schema, nested(5)[:-1])


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        (array("R"), long(1) + R_S),
        (["null", "R"], b"\x02" + R_S),
        (maps("R"), long(1) + text("k") + R_S),
        (
            ["null", maps(["null", array(["null", "R"])])],
            b"\x02" + long(1) + text("k") + b"\x02" + long(1) + b"\x02" + R_S,
        ),
        (
            array(record("A", {"name": "b", "type": array(record("B", {"name": "r", "type": ["null", "R"]}))})),
            long(1) + long(1) + b"\x02" + R_S,
        ),
    ],
)
def test_a_depth_without_end_kills_no_decoder(kind: Any, level: bytes) -> None:
    """Half a megabyte of nothing but beginnings; fastavro alone overflows the stack at five kilobytes."""
    schema = fitted(record("R", ID, STATUS, {"name": "more", "type": kind}))
    assert "too_complex" in reason(schema, R_S + level * (500_000 // len(level)))
    assert len(events(schema, R_S + b"\x00")) == 1


def test_a_payload_of_a_type_without_end_holds_so_many_values_at_most() -> None:
    schema = fitted(record("R", ID, STATUS, {"name": "more", "type": array(NODE)}))
    most = MAX_VALUES // 2 - 10
    assert len(events(schema, R_S + long(most) + b"\x00" * most + b"\x00")) == 1
    assert "more than 30,000 values" in reason(schema, R_S + long(MAX_VALUES) + b"\x00" * MAX_VALUES + b"\x00")


@pytest.mark.parametrize("where", [array("Wide"), array(["null", "Wide"])])
def test_what_takes_no_bytes_counts_in_a_type_without_end_too(where: Any) -> None:
    """A record of a hundred nulls is a hundred values more, wherever it stands."""
    wide = record("Wide", *["null"] * 100, ["null", "Wide"])
    schema = fitted(record("R", ID, STATUS, ["null", wide], where))
    item = b"\x00" if where["items"] == "Wide" else b"\x02\x00"
    fit, over = MAX_VALUES // 102 - 2, MAX_VALUES // 102 + 1
    assert len(events(schema, R_S + b"\x00" + long(fit) + item * fit + b"\x00")) == 1
    assert "more than 30,000 values" in reason(schema, R_S + b"\x00" + long(over) + item * over + b"\x00")


def test_replay_survives_what_is_nested_too_deeply(tmp_path: Path) -> None:
    """Where the record ends is not known, so the file is named; the process goes on."""
    path = write_container(tmp_path / "a.avro", CHAIN, [[nested(3)], [nested(100_000)]])
    with pytest.raises(
        ConfigError, match=r"a\.avro has a record in the block at byte \d+ that cannot be read: .*deeper"
    ):
        replay([path], tmp_path / "out", TERMS)
    path = write_container(tmp_path / "b.avro", CHAIN, [[nested(3)], [nested(100)]])
    assert replay([path], tmp_path / "more", TERMS).records == 2


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("R", "more: R contains itself with no end"),
        (record("N", {"name": "n", "type": "N"}), "more.n: N contains itself with no end"),
        ({**record("N", {"name": "n", "type": ["N"]}), "namespace": "x"}, "more.n: x.N contains itself with no end"),
        (record("A", {"name": "b", "type": record("B", {"name": "a", "type": "A"})}), "more.b.a: A contains itself"),
        (record("A", ["A", record("B", "A")]), "more.f0: A contains itself"),
        (enum(), "more is an enum without symbols"),
        (record("A", "long", [enum(), []]), "more.f1 is an enum without symbols"),
        ([], "more is a union of nothing"),
        (record("A", [[]]), "more.f0 is a union of nothing"),
    ],
)
def test_a_type_of_which_there_can_be_no_value_is_refused_with_its_path(kind: Any, where: str) -> None:
    document = record("R", ID, STATUS, {"name": "more", "type": kind})
    assert where in faults(document)


def test_many_records_in_each_other_are_loaded_all_the_same() -> None:
    """An expression of forty kinds, each of which may hold each other: walked once each, or there were no end."""
    names = [f"K{n}" for n in range(40)]
    kinds = [
        record(name, {"name": "left", "type": ["null", "K0"]}, {"name": "rest", "type": array(names)}) for name in names
    ]
    document = record("R", ID, STATUS, {"name": "tree", "type": array(kinds)})
    schema = fitted(document)
    tree = long(1) + b"\x4e" + b"\x02\x00\x00" + long(1) + b"\x02\x00\x00" + b"\x00" + b"\x00"
    assert len(events(schema, R_S + tree)) == 1


def test_what_has_to_be_in_every_value_counts_in_full() -> None:
    """Also of a type that contains itself: of it, too, a few lines can stand for millions of values."""
    doubled = [record("K0", {"name": "top", "type": ["null", "K40"]})]
    doubled += [record(f"K{n}", f"K{n - 1}", f"K{n - 1}") for n in range(1, 41)]
    assert "more than 5,000 types" in faults(record("R", ID, STATUS, *doubled))


@pytest.mark.parametrize("step", [1, -1])
def test_types_may_refer_to_each_other_in_a_chain_of_any_length(step: int) -> None:
    """A payload's own depth is bounded: see MAX_NESTED. So is that of types that do not contain themselves."""
    last = 600
    kinds = [record(f"K{n}", {"name": "next", "type": ["null", f"K{n + 1}"]}) for n in range(last)]

    def ending(kind: Any) -> Any:
        ends = record(f"K{last}", {"name": "next", "type": kind})
        return record("R", ID, STATUS, {"name": "first", "type": ["null", "K0"]}, array([*kinds, ends][::step]))

    schema = fitted(ending(["null", "K0"]))
    assert len(events(schema, R_S + b"\x02" * 100 + b"\x00" + b"\x00")) == 1
    assert reason(schema, R_S + b"\x02" * last + b"\x00" + b"\x00").startswith("too_complex")
    assert faults(ending("long")) == f"first{'.next' * 16}: it is nested deeper than 32 types"


def test_a_definition_that_stands_twice_may_be_named_where_decoding_needs_the_same_of_both() -> None:
    """Its aliases count wherever it stands."""
    first = record("Err", {"name": "kode", "type": "string", "doc": "why"}, enum("A"), doc="one")
    second = record("Err", {"name": "kode", "type": "string", "aliases": ["code"]}, "Kind", doc="two")
    document = record("R", ID, STATUS, {"name": "last_error", "type": first}, second, {"name": "more", "type": "Err"})
    value = text("oom") + b"\x00"
    [event] = events(fitted(document), R_S + value * 3)
    assert event.error_code == "oom"


@pytest.mark.parametrize(
    "again", [record("B", "int"), record("B", {"name": "f1", "type": "long"}), enum("A", name="B")]
)
@pytest.mark.parametrize("name", ["A", "B", "C"])
def test_a_name_for_several_types_is_not_taken_for_any_of_them(again: Any, name: str) -> None:
    """Also where they differ in what is inside only."""
    outer = [record("C", record("A", record("B", "long"))), record("C", record("A", again))]
    document = record("R", ID, STATUS, *outer, {"name": "more", "type": name})
    assert faults(document) == f"more uses {name}, which the schema defines in several ways"
    assert len(fitted(record("R", ID, STATUS, *outer)).tree.types) == 7


def test_a_type_inside_may_be_named_in_one_definition_only_where_the_name_is_for_one_type() -> None:
    outer = [record("A", record("B", "long")), record("A", "B")]
    assert len(fitted(record("R", ID, STATUS, *outer)).tree.types) == 3
    for fields, at in (((*outer, record("B", "int")), "f3"), ((record("B", "int"), *outer), "f4")):
        assert faults(record("R", ID, STATUS, *fields)) == f"{at}.f0 uses B, which the schema defines in several ways"


# Where and why


def test_too_deep_a_nesting_has_its_path() -> None:
    kind: Any = "long"
    for _ in range(2_000):
        kind = array(kind)
    assert faults(record("R", ID, STATUS, record("U", kind))) == "f2.f0 is nested too deeply"
    assert faults(kind) == "it is nested too deeply"


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("Unknown", "more uses Unknown, which the schema does not define"),
        (record("x.R", array(["null", "Unknown"])), "more.f0[] uses x.Unknown, which the schema does not define"),
        (
            record("O", record("I", "long"), record("I", "int"), maps("I")),
            "more.f2{} uses I, which the schema defines in",
        ),
        ({"type": "array"}, "more is no Avro schema: it does not say what is in the array"),
        (array({"type": "map"}), "more[] is no Avro schema: it does not say what is in the map"),
        (array(7), "more[] is no Avro schema: a type is a name"),
        ({"type": "record", "fields": []}, "more is no Avro schema: its record has no name"),
        ({"type": "record", "name": "X", "fields": 7}, "more is no Avro schema: its fields are no list"),
        (
            {"type": "record", "name": "X", "fields": [{"type": "long"}]},
            "more is no Avro schema: its field 0 has no name",
        ),
        (record("X", {"name": "größe", "type": {"type": "enum", "name": "E"}}), "more.größe: the symbols of an enum"),
        ({"type": "fixed", "name": "F", "size": "16"}, "more: the size of a fixed is no number"),
        (record("x" * 300, {"name": "y" * 3_000, "type": "Z"}), "y… uses Z, which the schema does not define"),
    ],
)
def test_a_schema_that_cannot_be_decoded_is_refused_with_the_fields_path(kind: Any, fault: str, tmp_path: Path) -> None:
    """By the service, `schema check` and `replay`."""
    document = record("R", ID, STATUS, {"name": "more", "type": kind})
    assert fault in faults(document)
    path = write_container(tmp_path / "a.avro", document, [[R_S]])
    with pytest.raises(ConfigError) as caught:
        replay([path], tmp_path / "out", TERMS)
    assert str(caught.value).startswith(f"{path} holds no RunObjects: its schema cannot be used: ")
    assert fault in str(caught.value)


def test_a_container_whose_schema_is_no_json_is_no_run_objects(tmp_path: Path) -> None:
    path = write_container(tmp_path / "a.avro", None, [])
    path.write_bytes(path.read_bytes().replace(b"null", b"nul "))
    with pytest.raises(ConfigError, match="no JSON"):
        replay([path], tmp_path / "out", TERMS)


def test_damage_behind_the_header_has_its_place_in_the_file(tmp_path: Path) -> None:
    """Counted from the beginning, whatever header fastavro is given."""
    odd, value = ODD["a decimal of too great a scale"]
    run = payload(value)
    path = write_container(tmp_path / "a.avro", with_field(odd), [[run]])
    second = path.stat().st_size
    path = write_container(tmp_path / "a.avro", with_field(odd), [[run], [run]])
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ConfigError, match=rf"a\.avro is damaged in the block at byte {second} "):
        replay([path], tmp_path / "out", TERMS)


def test_files_that_fastavro_writes_are_still_read(tmp_path: Path) -> None:
    """Recursive ones, too, in every compression."""
    document = fastavro.parse_schema(json.loads(json.dumps(CHAIN)))
    runs = [{"id": f"r{n}", "status": "queued", "node": {"next": {"next": None}}} for n in range(500)]
    for codec in ("null", "deflate", "snappy", "bzip2", "xz"):
        buffer = io.BytesIO()
        fastavro.writer(buffer, document, runs, codec=codec, sync_interval=1_000)
        path = tmp_path / f"{codec}.avro"
        path.write_bytes(buffer.getvalue())
        assert replay([path], tmp_path / codec, TERMS).verdicts == {Verdict.APPLIED: 500}
