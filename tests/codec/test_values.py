"""What becomes of values of each kind, by example: what is read, what is null and flagged, what is refused."""

import codecs
import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec.arrival import Framed
from streamproc.codec.decode import decode
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.codec.values import DAMAGED
from streamproc.core.model import EventFlag
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.shape import TIMES
from tests.support.books import book_of, bundled_book
from tests.support.native import needs_native
from tests.support.odd_values import WHOLE, T, as_json, taken
from tests.support.oddschemas import maps, record
from tests.support.runobjects import SCHEMAS, arrivals, encode, framed, run_object

V2_1 = SCHEMAS["v2_1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(500, "500"), (500.0, "500"), (0.5, "0.5"), (-0.0, "0"), (1e22, "1" + "0" * 22), (2**70, str(2**70))],
)
def test_a_number_where_a_text_is_read_is_its_shortest_form(value, text):
    event = taken(as_json({**WHOLE, "last_error": {"code": value}, "model": value}))
    assert (event.error_code, event.model, event.flags) == (text, text, ())
    [event] = decode(arrivals(as_json({"id": value or 1, "status": value or 1})), bundled_book()).events
    assert event.run_id == event.status == (text if value else "1")


@pytest.mark.parametrize("name", ["id", "status"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "is a boolean"),
        (["s3cr3t"], "is a list"),
        ({"s3cr3t": 1}, "is an object"),
        (float("nan"), "is NaN or infinite"),
        ("s3cr3t\ud83d", "is damaged"),
        (None, "is null"),
    ],
)
def test_an_id_or_a_status_that_is_none_is_refused_by_its_type_and_never_shown(name, value, words):
    [rejection] = decode(arrivals(as_json({**WHOLE, name: value})), bundled_book()).rejections
    assert rejection.reason == ("bad_run_id" if name == "id" else "bad_status")
    assert words in rejection.message
    assert "s3cr3t" not in rejection.message


def test_two_damaged_ids_do_not_become_one_run():
    good = V2_1.header + encode(V2_1, run_object(id="run_qq"))
    values = [good, good.replace(b"qq", b"q\xfe"), good.replace(b"qq", b"q\xff"), good]
    decoded = decode(arrivals(*values), bundled_book())
    assert [event.run_id for event in decoded.events] == ["run_qq"] * 2
    assert [rejection.reason for rejection in decoded.rejections] == ["bad_run_id"] * 2


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({"usage": "none"}, (EventFlag.VALUE_UNREADABLE,)),
        ({"last_error": "boom"}, (EventFlag.VALUE_UNREADABLE,)),
        ({"required_action": []}, (EventFlag.VALUE_UNREADABLE,)),
        ({"required_action": {"submit_tool_outputs": {"tool_calls": {}}}}, (EventFlag.VALUE_UNREADABLE,)),
        ({"metadata": []}, (EventFlag.VALUE_UNREADABLE,)),
        ({"usage": None, "last_error": None, "required_action": None, "metadata": None}, ()),
        ({"usage": {}, "last_error": {}, "required_action": {}, "metadata": {}}, ()),
        ({"usage": {"total_tokens": 12.5}}, (EventFlag.VALUE_UNREADABLE,)),
        ({"usage": {"total_tokens": True}}, (EventFlag.VALUE_UNREADABLE,)),
        ({"usage": {"total_tokens": 2**63}}, (EventFlag.VALUE_UNREADABLE,)),
        ({"model": False}, (EventFlag.VALUE_UNREADABLE,)),
        ({"model": ["a"], "thread_id": {}}, (EventFlag.VALUE_UNREADABLE,)),
        ({"model": float("inf")}, (EventFlag.VALUE_UNREADABLE,)),
        ({"model": "cut \ud83d"}, (EventFlag.TEXT_DAMAGED,)),
        ({"instructions": "cut \ud83d", "metadata": {"\ud83d": "\udc00"}}, ()),
        (
            {"model": "x" * 1_025, "started_at": 0, "failed_at": "?"},
            (EventFlag.NAME_OVER_LIMIT, EventFlag.TIME_UNSET, EventFlag.TIME_UNREADABLE),
        ),
    ],
)
def test_what_is_odd_is_flagged_once(fields, flags):
    assert taken(as_json({**WHOLE, **fields})).flags == flags


def test_what_is_damaged_is_shown_as_such_and_only_where_it_is():
    event = taken(as_json({**WHOLE, "model": "a\ud83d\ude00\udc00b"}))
    assert event.model == "a\U0001f600\ufffdb"
    value = as_json({**WHOLE, "model": "@@"}).replace(b"@@", b"a\xf0\x9f b\xed\xa0\xbd")
    assert taken(value).model == "a\ufffd b\ufffd\ufffd\ufffd"
    whole = taken(as_json({**WHOLE, "model": "\ufffd"}))
    assert (whole.model, whole.flags) == ("\ufffd", ())


@pytest.mark.parametrize(
    ("calls", "tools", "flags"),
    [
        ([{"function": {"name": "a"}}, None, {}, {"function": None}, {"function": {"name": None}}], ("a",), ()),
        ([{"function": {"name": 7}}, {"function": {"name": "b"}}], ("7", "b"), ()),
        ([7, {"function": {"name": "b"}}], ("b",), (EventFlag.VALUE_UNREADABLE,)),
        ([{"function": "f"}, {"function": {"name": "b"}}], ("b",), (EventFlag.VALUE_UNREADABLE,)),
        ([{"function": {"name": ["f"]}}, {"function": {"name": "b"}}], ("b",), (EventFlag.VALUE_UNREADABLE,)),
        ([{"function": {"name": "\ud83d"}}], ("\ufffd",), (EventFlag.TEXT_DAMAGED,)),
    ],
)
def test_a_tool_without_a_name_that_can_be_read_is_left_out(calls, tools, flags):
    event = taken(as_json({**WHOLE, "required_action": {"submit_tool_outputs": {"tool_calls": calls}}}))
    assert (event.required_tools, event.flags) == (tools, flags)


def test_token_counts_are_read_from_whole_floats_and_digits():
    event = taken(as_json({**WHOLE, "usage": {"prompt_tokens": 12.0, "completion_tokens": "3", "total_tokens": 15.0}}))
    assert (event.usage, event.flags) == ((12, 3, 15), ())


NULLS = dict.fromkeys(("started_at", "expires_at", "cancelled_at", "failed_at", "completed_at", "last_error", "usage"))
CASE = {
    **WHOLE,
    **NULLS,
    "status": "queued",
    "required_action": None,
    "metadata": {},
    "tools": [],
    "instructions": None,
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            dict.fromkeys(("started_at", "expires_at", "cancelled_at", "failed_at", "completed_at"), 0),
            {**dict.fromkeys(("started_at", "expires_at", "failed_at"), None), "flags": (EventFlag.TIME_UNSET,)},
        ),
        (
            {"started_at": T + 5, "expires_at": 0, "completed_at": T + 9},
            {"started_at": T + 5, "expires_at": None, "completed_at": T + 9, "flags": (EventFlag.TIME_UNSET,)},
        ),
        (
            {"started_at": "0001-01-01T00:00:00Z", "expires_at": ""},
            {"started_at": None, "expires_at": None, "flags": (EventFlag.TIME_UNSET,)},
        ),
        (
            {
                "last_error": {"code": 500, "message": "x"},
                "usage": {"prompt_tokens": 12.0, "completion_tokens": 3.0, "total_tokens": 15.0},
            },
            {"error_code": "500", "usage": (12, 3, 15), "flags": ()},
        ),
    ],
)
def test_the_cases_that_came_out_wrong(fields, expected):
    """After the lines of shared/cases/events.jsonl that are about values; in Avro where its types allow."""
    found = {**CASE, **fields}
    events = [taken(as_json(found))]
    document = json.loads(json.dumps(V2_1.document))
    for field in document["fields"]:
        if field["name"] in TIMES:
            field["type"] = ["null", "long", "string"]
    counts = [{"name": name, "type": "double"} for name in WHOLE["usage"]]
    for field in document["fields"]:
        if field["name"] == "usage":
            field["type"] = ["null", {"type": "record", "name": "U", "fields": counts}]
        elif field["name"] == "last_error":
            parts = [{"name": "code", "type": "int"}, {"name": "message", "type": "string"}]
            field["type"] = ["null", {"type": "record", "name": "E", "fields": parts}]
    schema = WriterSchema(document, ASSISTANTS.shape)
    events.append(taken(schema.header + encode(schema, found), book_of(schema)))
    for event in events:
        assert {name: getattr(event, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        ({"a": "b"}, ()),
        ({"a": "v" * 513}, (EventFlag.METADATA_OVER_LIMIT,)),
        ({f"k{n}": "v" for n in range(17)}, (EventFlag.METADATA_OVER_LIMIT,)),
        ({"pair": 0.5}, ()),
        ("none", (EventFlag.VALUE_UNREADABLE,)),
        (None, ()),
    ],
)
def test_a_record_of_metadata_in_a_union_with_a_map_counts_as_pairs(value, flags):
    """Found by fuzzing: to the native decoder it was unreadable."""
    small, wide = record("S", _text("a")), record("W", *(_text(f"k{n}") for n in range(17)))
    metadata = {"name": "metadata", "type": ["null", maps("float"), small, wide, "string"]}
    schema = WriterSchema(record("R", _text("id"), _text("status"), metadata), ASSISTANTS.shape)
    payload = encode(schema, {"id": "r", "status": "s", "metadata": value})
    [arrival] = arrivals(schema.header + payload)
    [event] = decode([arrival], book_of(schema)).events
    assert event == decode_one(Framed(arrival, payload), schema)
    assert event.flags == flags


def _text(name):
    return {"name": name, "type": "string"}


def test_half_a_surrogate_pair_in_what_is_not_read_does_not_matter():
    error = rb'{"code":"server_error","message":"cut \ud83d"}'
    raw = b'{"id":"surr","status":"failed","failed_at":1796000000,"last_error":%b}' % error
    event = taken(raw)
    assert (event.run_id, event.status, event.failed_at, event.error_code) == ("surr", "failed", T, "server_error")
    assert event.flags == ()


@needs_native
def test_times_of_zero_in_every_record_stay_with_the_native_decoder(monkeypatch):
    """As Go, protobuf and Avro's defaults write them."""
    monkeypatch.setattr("streamproc.codec.decode.decode_one", None)
    times = {name: 0 for name in TIMES if name != "created_at"}
    values = [V2_1.header + encode(V2_1, run_object(created_at=T, **times)) for _ in range(10)]
    decoded = decode(arrivals(*values), bundled_book())
    assert Counter(event.flags for event in decoded.events) == {(EventFlag.TIME_UNSET,): 10}
    assert {(event.created_at, event.expires_at) for event in decoded.events} == {(T, None)}


def test_statuses_that_are_all_null_are_refused_also_where_a_profile_renames_them():
    """A batch of nothing else must end."""
    shape = replace(ASSISTANTS.shape, statuses={"PENDING": "queued"})
    fields = [{"name": "id", "type": "string"}, {"name": "status", "type": ["null", "string"]}]
    schema = WriterSchema({"type": "record", "name": "Mine", "fields": fields}, shape)
    nulls = [schema.header + encode(schema, {"id": "r", "status": None})] * 3
    renamed = schema.header + encode(schema, {"id": "r", "status": "PENDING"})
    assert [each.reason for each in decode(arrivals(*nulls), book_of(schema)).rejections] == ["bad_status"] * 3
    assert [event.status for event in decode(arrivals(*nulls, renamed), book_of(schema)).events] == ["queued"]


@pytest.mark.parametrize("framing", ["json", "avro"])
def test_an_error_code_that_is_empty_is_none(framing):
    """Protobuf and Go have no null for a text: a run that succeeded would be counted with an error."""
    whole = {**WHOLE, "last_error": {"code": "", "message": ""}}
    value = as_json(whole) if framing == "json" else framed("v2_1", run_object(last_error=whole["last_error"]))
    event = taken(value)
    assert (event.error_code, event.flags) == (None, ())


def _one_half(error):
    return "\udfff", error.end


codecs.register_error("tests.one_half", _one_half)
PIECES = [b"a", b"\xff", b"\xc3", b"\xe2\x82", b"\xef\xbf", b"\xf4\x8f\xbf", b"\xed\xb2\x80", b"0", b"1"]
PIECES += [text.encode() for text in ("\xe9", "\u20ac", "\ufffd", "\U0010ffff")]


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=4)).map(b"".join))
def test_each_run_of_bytes_that_begins_no_character_becomes_one_half(raw):
    """As Python counts them; a U+FFFD that the producer wrote is none."""
    assert raw.decode(errors=DAMAGED) == raw.decode(errors="tests.one_half")


def test_a_damaged_text_is_read_to_its_end_in_one_go():
    """A call for each bad byte would be a million of them for a record."""
    error = UnicodeDecodeError("utf-8", b"a\xffb\xff", 1, 2, "")
    assert codecs.lookup_error(DAMAGED)(error) == ("\udfffb\udfff", 4)
