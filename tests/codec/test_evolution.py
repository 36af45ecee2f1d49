"""Producers change their schemas without asking: what is read all the same, by both decoders alike."""

from dataclasses import replace

import fastavro
import pytest

from streamproc.codec.arrival import Framed
from streamproc.codec.decode import decode
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.core.model import EventFlag
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import RecordRejected
from tests.support.books import book_of, bundled_book
from tests.support.runobjects import arrivals, encode

T = 1_717_200_000
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
NANOS = {"type": "long", "logicalType": "timestamp-nanos"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-millis"}
USAGE = {
    "type": "record",
    "name": "Usage",
    "fields": [{"name": name, "type": ["null", "int"]} for name in ("total_tokens", "prompt_tokens")],
}
CODE = {"type": "record", "name": "Error", "fields": [{"name": "code", "type": "string"}]}
OTHER_CODE = {"type": "record", "name": "Other", "fields": [{"name": "x", "type": "int"}, *CODE["fields"]]}


def _record(called, /, **types):
    return {"type": "record", "name": called, "fields": [{"name": each, "type": kind} for each, kind in types.items()]}


def _schema(*fields, **types):
    """A writer's schema: its fields in whatever order, an id and a status among them unless given."""
    named = {"status": "string", **types, "id": types.get("id", "string")}
    own = {field["name"] for field in fields} | {alias for field in fields for alias in field.get("aliases", ())}
    listed = [{"name": name, "type": kind} for name, kind in named.items() if name not in own]
    return WriterSchema({"type": "record", "name": "Mine", "fields": [*fields, *listed]}, ASSISTANTS.shape)


def _event(schema, **values):
    """The event of one record, which both decoders must agree on."""
    found = {"id": "run_1", "status": "queued", **values}
    payload = encode(schema, {field["name"]: found.get(field["name"]) for field in schema.document["fields"]})
    [record] = arrivals(schema.header + payload)
    decoded = decode([record], book_of(schema))
    assert not decoded.rejections, decoded.rejections
    alone = decode_one(Framed(record, payload), schema)
    assert decoded.events == [alone]
    return alone


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("long", T),
        ("int", T),
        (["null", "int"], T),
        (["int", "null"], T),
        (["long", "null"], T),
        ("double", float(T) + 0.75),
        (["null", "float"], 1_717_200_000.0),
        (MILLIS, T * 1_000 + 999),
        (["null", MILLIS], T * 1_000),
        ([MILLIS, "null"], T * 1_000),
        (MICROS, T * 1_000_000 + 1),
        (NANOS, T * 1_000_000_000),
        (LOCAL, T * 1_000),
        ("string", "2024-06-01T00:00:00Z"),
        ("string", "2024-06-01T00:00:00.123456789+00:00"),
        (["null", "string"], "2024-06-01T02:00:00+02:00"),
        (["null", "string"], "2024-06-01 00:00:00"),
        (["null", "string", "long"], "2024-06-01T00:00:00Z"),
        (["null", "string", "long"], T),
        (["null", "string", MILLIS], T * 1_000),
    ],
)
def test_a_time_is_read_whatever_it_is_written_as(kind, value):
    """Unix seconds, the logical types, ISO 8601 (UTC where it does not say), in unions of any order."""
    schema = _schema(created_at=kind)
    seconds = 1_717_200_000 if kind != ["null", "float"] else int(value)
    assert abs(_event(schema, created_at=value).created_at - seconds) <= (64 if kind == ["null", "float"] else 0)


FIXED = {"type": "fixed", "name": "F", "size": 4}
DATE = {"type": "int", "logicalType": "date"}
OF_DAY = {"type": "int", "logicalType": "time-millis"}


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("created_at", "boolean", True),
        ("created_at", "bytes", b"2024-06-01T00:00:00Z"),
        ("created_at", DATE, 20_000),
        ("created_at", ["null", OF_DAY], 20_000),
        ("created_at", ["null", "int", MILLIS], T),
        ("created_at", ["null", "string", "boolean"], True),
        ("created_at", {"type": "array", "items": "long"}, [T]),
        ("created_at", ["null", _record("Timestamp", seconds="long", nanos="int")], {"seconds": T, "nanos": 0}),
        ("model", "boolean", True),
        ("model", FIXED, b"gpt4"),
        ("model", ["null", "string", FIXED], b"gpt4"),
        ("model", ["null", {"type": "array", "items": "string"}], ["a"]),
        ("usage", ["null", "string"], "none"),
        ("usage", "long", 0),
        ("usage", {"type": "array", "items": USAGE}, []),
        ("usage", _record("U", total_tokens="bytes"), {"total_tokens": b"12"}),
        ("usage", _record("U", total_tokens=["null", "boolean"]), {"total_tokens": False}),
        ("metadata", "string", "{}"),
        ("metadata", ["null", {"type": "array", "items": "string"}], []),
        ("required_action", ["null", "string"], "submit_tool_outputs"),
        ("required_action", _record("A", submit_tool_outputs=_record("S", tool_calls="string")), None),
    ],
)
def test_what_is_of_a_type_that_cannot_be_read_is_null_and_flagged_where_it_is_there(name, kind, value):
    """Only the id and the status make a schema unfit."""
    schema = _schema({"name": name, "type": kind})
    if value is None:
        value = {"submit_tool_outputs": {"tool_calls": "none"}}
    event = _event(schema, **{name: value})
    assert schema.plan.unread
    assert (event.created_at, event.model, event.usage, event.required_tools) == (None, None, None, ())
    assert event.flags == ((EventFlag.TIME_UNREADABLE if name == "created_at" else EventFlag.VALUE_UNREADABLE),)
    if isinstance(kind, list):
        assert _event(schema, **{name: None}).flags == ()


@pytest.mark.parametrize("name", ["id", "status"])
@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("long", 42, "42"),
        ("int", -1, "-1"),
        ("double", 500.0, "500"),
        ("double", 0.5, "0.5"),
        (["null", "string", "long"], 7, "7"),
        ("bytes", b"abc", "abc"),
    ],
)
def test_an_id_or_a_status_that_is_a_number_is_its_text(name, kind, value, text):
    event = _event(_schema(**{name: kind}), **{name: value})
    assert (event.run_id if name == "id" else event.status, event.flags) == (text, ())


@pytest.mark.parametrize(
    ("kind", "value", "usage"),
    [
        ("double", 12.0, (0, 0, 12)),
        ("float", 12.0, (0, 0, 12)),
        ("string", "12", (0, 0, 12)),
        (["null", "string", "long"], "12", (0, 0, 12)),
        ("double", 12.5, None),
        ("double", float("nan"), None),
        ("double", 1e19, None),
        ("string", "12.0", None),
        ("string", "", None),
    ],
)
def test_token_counts_are_read_from_whatever_is_a_whole_number(kind, value, usage):
    event = _event(_schema(usage=_record("U", total_tokens=kind)), usage={"total_tokens": value})
    assert (event.usage, event.flags) == (usage, () if usage else (EventFlag.VALUE_UNREADABLE,))


@pytest.mark.parametrize("good", [0, T])
def test_of_several_places_the_first_that_says_something_counts(good):
    """0 says nothing of a time, nor does what cannot be read: that is flagged, and the next place is tried."""
    paths = {**ASSISTANTS.shape.paths, "created_at": ("created_at", "made"), "model": ("model", "agent")}
    shape = replace(ASSISTANTS.shape, paths=paths)
    document = _record(
        "Mine", id="string", status="string", created_at="long", made=MILLIS, model="boolean", agent="int"
    )
    schema = WriterSchema(document, shape)
    event = _event(schema, created_at=good, made=(T + 1) * 1_000, model=True, agent=4)
    assert (event.created_at, event.model) == (good or T + 1, "4")
    assert event.flags == (
        (EventFlag.VALUE_UNREADABLE,) if good else (EventFlag.TIME_UNSET, EventFlag.VALUE_UNREADABLE)
    )


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", "gpt-4o"),
        (["null", "string"], "gpt-4o"),
        (["string", "null"], "gpt-4o"),
        ("bytes", b"gpt-4o"),
        (["null", "bytes"], b"gpt-4o"),
        ({"type": "enum", "name": "Model", "symbols": ["a", "gpt_4o"]}, "gpt_4o"),
        (["null", "string", "bytes"], b"gpt-4o"),
        ({"type": "string", "logicalType": "uuid"}, "gpt-4o"),
        ({"type": "string", "avro.java.string": "String"}, "gpt-4o"),
    ],
)
def test_a_text_is_read_from_strings_enums_and_bytes(kind, value):
    assert _event(_schema(model=kind), model=value).model in {"gpt-4o", "gpt_4o"}


def test_a_status_never_seen_before_in_an_enum_with_new_symbols_is_read():
    """rules.md 14: it counts as active; it must not stop the stream."""
    schema = _schema(status={"type": "enum", "name": "Status", "symbols": ["queued", "paused_by_admin"]})
    assert _event(schema, status="paused_by_admin").status == "paused_by_admin"


def test_a_renamed_field_is_found_by_the_alias_that_its_writer_gives_it():
    schema = _schema({"name": "run_id", "type": "string", "aliases": ["id"]}, {"name": "agent", "type": "string"})
    assert _event(schema, run_id="run_7", agent="a").run_id == "run_7"


def test_a_field_of_the_name_goes_before_one_with_the_alias():
    schema = _schema({"name": "old", "type": "string", "aliases": ["id"]}, {"name": "id", "type": "string"})
    assert _event(schema, old="wrong", id="right").run_id == "right"


def test_nested_records_by_name_are_read():
    """The second field refers to the record that the first one defines."""
    schema = _schema({"name": "first_error", "type": ["null", CODE]}, {"name": "last_error", "type": ["null", "Error"]})
    assert _event(schema, last_error={"code": "server_error"}).error_code == "server_error"


def test_names_in_namespaces_are_read():
    inner = {"type": "record", "name": "a.b.Error", "fields": [{"name": "code", "type": "string"}]}
    fields = [
        *({"name": "id", "type": "string"}, {"name": "status", "type": "string"}, {"name": "first", "type": inner}),
        {"name": "last_error", "type": ["null", "a.b.Error"]},
    ]
    schema = WriterSchema({"type": "record", "name": "Mine", "namespace": "x", "fields": fields}, ASSISTANTS.shape)
    assert _event(schema, first={"code": "no"}, last_error={"code": "yes"}).error_code == "yes"


def test_a_field_in_several_records_of_a_union_is_read_from_each():
    schema = _schema(last_error=["null", CODE, OTHER_CODE, "string"])
    assert _event(schema, last_error=("Error", {"code": "a"})).error_code == "a"
    assert _event(schema, last_error=("Other", {"x": 1, "code": "b"})).error_code == "b"
    assert _event(schema, last_error="text").error_code is None
    assert _event(schema, last_error=None).error_code is None


@pytest.mark.parametrize("swapped", [False, True])
def test_a_field_that_only_some_records_of_a_union_have_is_read_from_those(swapped):
    """Further down, too."""
    a, b = _record("A", details=_record("AD", code="string")), _record("B", details=_record("BD", message="string"))
    shape = replace(ASSISTANTS.shape, paths={**ASSISTANTS.shape.paths, "error_code": ("last_error.details.code",)})
    kinds = ["null", b, a] if swapped else ["null", a, b]
    document = _record("Mine", id="string", status="string", last_error=kinds)
    schema = WriterSchema(document, shape)
    assert _event(schema, last_error=("A", {"details": {"code": "x"}})).error_code == "x"
    assert _event(schema, last_error=("B", {"details": {"message": "y"}})).error_code is None


def test_a_union_whose_values_cannot_be_told_apart_is_not_read():
    aliased = {**_record("E2", kode="string")["fields"][0], "aliases": ["code"]}
    schema = _schema(last_error=["null", {**_record("E2"), "fields": [aliased]}, _record("E3", kode="long")])
    why = "last_error.code has a name that means something else in another branch of a union"
    assert schema.plan.unread == {"error_code": why}
    event = _event(schema, last_error=("E2", {"kode": "x"}))
    assert (event.error_code, event.flags) == (None, (EventFlag.VALUE_UNREADABLE,))
    assert _event(schema, last_error=None).flags == ()


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "map", "values": "long"},
        ["null", {"type": "map", "values": ["null", "long"]}],
        ["null", USAGE, {"type": "map", "values": "string"}],
    ],
)
def test_a_map_is_read_as_a_record_of_its_keys(kind):
    """As it is in JSON."""
    schema = _schema(usage=kind)
    text = isinstance(kind, list) and len(kind) == 3
    found = {"prompt_tokens": "3" if text else 3, "other": "4" if text else 4}
    event = _event(schema, usage=found)
    assert (event.usage, event.flags) == ((3, 0, 3), ())


@pytest.mark.parametrize(
    ("name", "fields", "value"),
    [
        ("usage", {"prompt_tokens": "long", "cost": ["null", "long", "double"]}, {"prompt_tokens": 1, "cost": None}),
        ("last_error", {"code": "string", "param": ["null", "string", "long"]}, {"code": "a", "param": "x"}),
        ("last_error", {"code": "string", "param": ["string"]}, {"code": "a", "param": "x"}),
        ("extra", {"blob": "bytes", "choice": ["null", "string", "long"]}, {"blob": b"\xff", "choice": "x"}),
        ("extra", {"blob": ["null", "bytes", "long"]}, {"blob": b"\xff"}),
        ("extra", {"blob": ["null", _record("Money", amount="bytes"), "long"]}, {"blob": {"amount": b"\xff"}}),
    ],
)
def test_a_record_that_may_be_null_may_hold_anything_beside_what_is_read(name, fields, value):
    schema = _schema(**{name: ["null", _record("Inner", **fields)]})
    found = [{"id": "r", "status": "queued", name: each} for each in (None, value, None)]
    records = arrivals(*(schema.header + encode(schema, each) for each in found))
    decoded = decode(records, book_of(schema))
    alone = [decode_one(Framed(record, record.value[len(schema.header) :]), schema) for record in records]
    assert decoded.events == alone


@pytest.mark.parametrize(
    "types",
    [
        {"id": ["string"]},
        {"status": ["string"]},
        {"created_at": ["long"]},
        {"usage": [USAGE]},
        {"metadata": [{"type": "map", "values": "string"}]},
    ],
)
def test_a_union_of_one_type_is_that_type(types):
    values = {"created_at": T, "usage": {"total_tokens": 7, "prompt_tokens": None}, "metadata": {"a": "b"}}
    [name] = types
    event = _event(_schema(**types), **{name: values.get(name, "x")})
    assert event.usage == ((0, 0, 7) if name == "usage" else None)


@pytest.mark.parametrize(
    ("name", "unit"), [("Timestamp", 1_000), ("MicroTimestamp", 1_000_000), ("NanoTimestamp", 1_000_000_000)]
)
def test_a_time_as_debezium_writes_it_is_read(name, unit):
    """A plain long with a name of Kafka Connect's, and no logical type."""
    kind = {"type": "long", "connect.version": 1, "connect.name": f"io.debezium.time.{name}"}
    assert _event(_schema(created_at=["null", kind]), created_at=T * unit).created_at == T


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ({"type": "long", "logicalType": "date"}, T),
        ({"type": "int", "logicalType": "timestamp-millis"}, T),
        ({"type": "double", "logicalType": "timestamp-millis"}, T + 0.5),
        ({"type": "string", "logicalType": "date"}, "2024-06-01T00:00:00Z"),
    ],
)
def test_a_logical_type_on_another_type_than_its_own_counts_for_nothing(kind, value):
    """So says Avro's specification."""
    assert _event(_schema(created_at=kind), created_at=value).created_at == T


@pytest.mark.parametrize("types", [{"last_error": "null"}, {"usage": _record("U", total_tokens="null")}])
def test_what_is_always_null_is_absent(types):
    """As schemas that were inferred from samples have it."""
    values = {"usage": {"total_tokens": None}}
    event = _event(_schema(**types), **{name: values.get(name) for name in types})
    assert (event.usage, event.error_code) == (None, None)


@pytest.mark.parametrize("start", [b" ", b"\r\n\t", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_json_may_begin_with_white_space_or_a_byte_order_mark(start):
    [event] = decode(arrivals(start + b'{"id":"r","status":"queued"}'), bundled_book()).events
    assert event.run_id == "r"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "total_tokens": 9}, (3, 0, 9)),
        ({"prompt_tokens": None, "total_tokens": 9}, (0, 0, 9)),
        ({"prompt_tokens": 3, "total_tokens": None}, (3, 0, 3)),
        ({"prompt_tokens": None, "total_tokens": None}, None),
        (None, None),
    ],
)
def test_token_counts_that_are_not_given_count_as_none(usage, expected):
    assert _event(_schema(usage=["null", USAGE]), usage=usage).usage == expected


def test_extra_fields_anywhere_are_passed_over():
    extra = {"type": "array", "items": {"type": "map", "values": ["null", "double", "string"]}}
    tool = _record("Call", weight="double", function=["null", _record("Fn", name=["null", "string"])])
    outputs = _record("Outputs", tool_calls={"type": "array", "items": ["null", tool]})
    action = _record("Action", note=["null", "string"], submit_tool_outputs=outputs)
    schema = _schema({"name": "zeroth", "type": extra}, required_action=["null", action])
    calls = [{"weight": 1.0, "function": {"name": "look"}}, None, {"weight": 0.5, "function": None}]
    event = _event(
        schema, zeroth=[{"a": 1.5}, {}], required_action={"note": None, "submit_tool_outputs": {"tool_calls": calls}}
    )
    assert event.required_tools == ("look",)


def test_an_id_that_may_be_null_is_read_and_a_null_is_a_bad_record():
    schema = _schema(id=["null", "string"])
    assert _event(schema).run_id == "run_1"
    [record] = arrivals(schema.header + encode(schema, {"id": None, "status": "queued"}))
    [rejection] = decode([record], book_of(schema)).rejections
    assert (rejection.reason, rejection.message) == ("bad_run_id", "the run id is null")


def test_what_cannot_be_read_is_refused_with_every_path_and_its_reason():
    fields = [
        *({"name": "id", "type": "boolean"}, {"name": "created_at", "type": "boolean"}),
    ]
    with pytest.raises(RecordRejected) as caught:
        WriterSchema({"type": "record", "name": "Mine", "fields": fields}, ASSISTANTS.shape)
    assert caught.value.reason == "unfit_schema"
    for fault in ("id is boolean: it must be string, enum, bytes or a number", "status is missing"):
        assert fault in str(caught.value)
    assert "created_at" not in str(caught.value)


def test_a_schema_is_compiled_once_and_its_document_is_left_alone():
    document = {"type": "record", "name": "Mine", "fields": [{"name": n, "type": "string"} for n in ("id", "status")]}
    before = repr(document)
    WriterSchema(document, ASSISTANTS.shape)
    assert repr(document) == before
    assert fastavro.parse_schema(document)
