"""Records to RunEvents, by example: each kind of bad record and its reason, and schemas that others wrote."""

import io
import struct

import fastavro
import pytest

from streamproc.codec.arrival import Framed
from streamproc.codec.book import SchemaBook
from streamproc.codec.decode import decode
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.core.model import EventFlag
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import RecordRejected
from tests.support.books import RUN_OBJECT_VERSIONS, book_of, bundled_book
from tests.support.native import doubtful
from tests.support.runobjects import SCHEMAS, START_MS, Arrived, arrivals, encode, framed, long, run_object

MARKER = "s3cr3t-payload"
V2_1 = SCHEMAS["v2_1"]
GOOD = framed("v2_1", run_object())
NOT_UTF_8 = b"\xff\xfe"


def _decode(*values, book=None):
    return decode(arrivals(*values), book or bundled_book())


def _reasons(*values, book=None):
    return [rejection.reason for rejection in _decode(*values, book=book).rejections]


def _foreign(**types):
    """A schema that somebody else wrote, with these fields besides the two that must be there."""
    fields = {"id": "string", "status": "string", **types}
    listed = [{"name": name, "type": schema} for name, schema in fields.items()]
    return WriterSchema({"type": "record", "name": "RunObject", "fields": listed}, ASSISTANTS.shape)


def _one_event(schema, **fields):
    """The event of one record of `schema`, beside a good one of a bundled schema."""
    book = book_of(schema, V2_1)
    events, rejections, *_ = _decode(schema.header + encode(schema, run_object(**fields)), GOOD, book=book)
    assert not rejections
    return events[0]


@pytest.mark.parametrize("version", RUN_OBJECT_VERSIONS)
def test_each_version_is_decoded_whole(version):
    found = run_object(
        thread_id="thread_1",
        assistant_id="asst_1",
        model="gpt-4o",
        created_at=1,
        started_at=2,
        expires_at=3,
        completed_at=4,
        failed_at=5,
        cancelled_at=6,
        usage={"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
        last_error={"code": "server_error"},
        required_action={
            "submit_tool_outputs": {"tool_calls": [{"id": "1", "function": {"name": "look", "arguments": "{}"}}]}
        },
    )
    value = framed(version, found)
    [event], *_ = decode([Arrived(41, value, START_MS, b"key")], bundled_book())
    times = (event.created_at, event.started_at, event.expires_at)
    ends = (event.completed_at, event.failed_at, event.cancelled_at)
    assert (event.run_id, event.status, event.thread_id) == ("run_1", "queued", "thread_1")
    assert (event.assistant_id, event.model) == ("asst_1", "gpt-4o")
    assert times + ends == (1, 2, 3, 4, 5, 6)
    assert event.usage == (10, 20, 30)
    assert (event.error_code, event.required_tools) == ("server_error", ("look",))
    assert (event.offset, event.timestamp, event.key) == (41, START_MS, b"key")
    assert (event.schema, event.payload) == (SCHEMAS[version].label, value[10:])


def test_the_confluent_wire_format_is_decoded_by_the_registrys_id():
    header = b"\x00\x00\x00\x00\x11"
    book = SchemaBook([], ASSISTANTS.shape, registered=True)
    book.learn(header, WriterSchema(V2_1.document, ASSISTANTS.shape, header, "id 17 (runs-value version 2)"))
    [event], rejections, *_ = _decode(header + encode(V2_1, run_object()), header, book=book)
    assert (event.run_id, event.schema) == ("run_1", "id:17")
    assert "id 17 (runs-value version 2)" in rejections[0].message


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty_value"),
        (b"", "empty_value"),
        (b"[]", "bad_framing"),
        (b"{}", "bad_run_id"),
        (b"\xc3\x01unknown!" + GOOD[10:], "unknown_schema"),
        (b"\x00\x00\x00\x00\x11" + GOOD[10:], "unknown_schema"),
        (GOOD[:10], "undecodable"),
        (GOOD[:-1], "undecodable"),
        (GOOD + b"\x00", "trailing_bytes"),
        (GOOD + GOOD[10:], "trailing_bytes"),
        (framed("v2_1", run_object(id="")), "bad_run_id"),
        (framed("v2_1", run_object(id="r" * 257)), "bad_run_id"),
        (framed("v2_1", run_object(status="")), "bad_status"),
        (framed("v2_1", run_object(status="s" * 65)), "bad_status"),
        (GOOD.replace(b"run_1", b"run_\xff"), "bad_run_id"),
        (GOOD.replace(b"queued", b"queue\xff"), "bad_status"),
    ],
)
def test_a_bad_record_is_rejected_with_its_reason_and_the_good_ones_around_it_go_on(value, reason):
    events, rejections, *_ = _decode(GOOD, value, GOOD)
    assert [event.offset for event in events] == [7, 13]
    assert [(rejection.reason, rejection.record.offset) for rejection in rejections] == [(reason, 10)]
    assert rejections[0].record.value is value


@pytest.mark.parametrize(
    ("value", "flags"),
    [
        (framed("v2_1", run_object(created_at=-1)), (EventFlag.TIME_UNSET,)),
        (framed("v2_1", run_object(expires_at=START_MS)), (EventFlag.TIME_UNREADABLE,)),
        (framed("v2_1", run_object(model="ab")).replace(b"ab", NOT_UTF_8), (EventFlag.TEXT_DAMAGED,)),
        (framed("v2_1", run_object(instructions="ab")).replace(b"ab", NOT_UTF_8), ()),
        (framed("v2_1", run_object(metadata={"ab": ""})).replace(b"ab", NOT_UTF_8), ()),
        (framed("v2_1", run_object(tools=[{"type": "ab"}])).replace(b"ab", NOT_UTF_8), ()),
    ],
)
def test_what_is_wrong_with_anything_but_the_id_and_the_status_is_at_most_flagged(value, flags):
    """And what is not read does not matter at all."""
    events, rejections, *_ = _decode(GOOD, value, GOOD)
    assert rejections == []
    assert [event.flags for event in events] == [(), flags, ()]
    assert decode_one(Framed(Arrived(10, value, START_MS + 1), value[10:]), V2_1) == events[1]


@pytest.mark.parametrize("value", [b"\x01\x02", b"\x03", b"\x82" + b"\x80" * 9 + b"\x00\x02"])
def test_what_fastavro_alone_would_take_is_rejected_by_both_decoders(value):
    """Negative union indices and over-long varints; here where the null of `created_at` stands."""
    head = GOOD[: GOOD.index(b"thread.run") + len("thread.run")]
    odd = head + value + GOOD[len(head) + 1 :]
    assert fastavro.schemaless_reader(io.BytesIO(odd[10:]), V2_1.parsed, None)["id"] == "run_1"
    with pytest.raises(RecordRejected, match=r"range|10 bytes"):
        decode_one(Framed(Arrived(0, odd), odd[10:]), V2_1)
    assert _reasons(GOOD, odd) == ["undecodable"]


@pytest.mark.parametrize("count", [2**20, 2**40, 2**62, -(2**40)])
def test_a_count_of_items_that_are_not_there_is_rejected_at_once(count):
    """The number of file_ids: no memory may be set aside for what a payload only claims."""
    good = framed("v1", run_object(file_ids=["one"]))
    at = good.index(b"\x06one") - 1
    assert _reasons(good[:at] + long(count) + good[at + 1 :]) == ["undecodable"]


def test_versions_and_framings_mixed_in_one_batch_keep_the_order_of_their_offsets():
    values = [framed(version, run_object(id=version)) for version in RUN_OBJECT_VERSIONS]
    mixed = [*values, None, *reversed(values), b"{}", GOOD[:-1], *values]
    events, rejections, *_ = _decode(*mixed)
    offsets = [record.offset for record in arrivals(*mixed)]
    bad = [offset for offset, value in zip(offsets, mixed, strict=True) if value in (None, b"{}", GOOD[:-1])]
    assert [event.offset for event in events] == [offset for offset in offsets if offset not in bad]
    assert [rejection.record.offset for rejection in rejections] == bad


def test_no_records_are_no_events():
    assert decode([], bundled_book()) == ([], [], 0, ())


# Messages


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_message_never_shows_the_payload(cut):
    """Dead letters and logs go to more people than the payload may."""
    texts = dict.fromkeys(("object", "thread_id", "assistant_id", "model", "instructions"), MARKER)
    secret = run_object(id=MARKER * 30, status=MARKER * 8, metadata={MARKER: MARKER}, created_at=-1, **texts)
    whole = framed("v2_1", secret | {"id": MARKER, "status": MARKER, "created_at": 1})
    broken = bytearray(whole)
    broken[10 + cut % (len(whole) - 10)] ^= 0xFF
    values = [
        framed("v2_1", secret),
        framed("v2_1", secret | {"id": MARKER}),
        framed("v2_1", secret | {"id": MARKER, "status": MARKER}),
        whole[: 10 + cut % (len(whole) - 10)],
        bytes(broken),
        whole + MARKER.encode(),
        MARKER.encode() * 3,
        b"\xc3\x01" + MARKER.encode(),
        whole.replace(b"s3cr3t", b"s3cr3\xff"),
    ]
    _, rejections, *_ = _decode(*values)
    assert len(rejections) >= len(values) - 2  # One may be taken with another text, one with a damaged one.
    for rejection in rejections:
        assert MARKER not in rejection.message
        assert "s3cr" not in rejection.message


# Schemas that others wrote


FIXED = {"type": "fixed", "name": "F", "size": 4}
ENUM = {"type": "enum", "name": "E", "symbols": ["a", "b"]}


@pytest.mark.parametrize(
    ("extra", "value"),
    [
        ("bytes", b"\xff"),
        (["null", "bytes"], None),
        (["null", "bytes"], b"\xff\xfe"),
        ({"type": "array", "items": "bytes"}, [b"\xff", b""]),
        ({"type": "map", "values": ["null", "bytes"]}, {"a": b"\xff", "b": None}),
        (["null", "bytes", "string"], b"\xff"),
        (FIXED, b"1234"),
        (["null", FIXED], b"1234"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 4}, b"\xff\x01"),
        ({"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}, bytes(16)),
        ({"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}, bytes(12)),
        ({"type": "record", "name": "Nothing", "fields": []}, {}),
        (ENUM, "b"),
        (["null", ENUM], "b"),
        ({"type": "string", "logicalType": "uuid"}, "no uuid at all"),
        ({"type": "int", "logicalType": "date"}, 2**31 - 1),
        ({"type": "int", "logicalType": "time-millis"}, -1),
        ({"type": "long", "logicalType": "time-micros"}, -1),
        ({"type": "long", "logicalType": "timestamp-millis"}, 2**62),
        ({"type": "long", "logicalType": "timestamp-nanos"}, 2**62),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, 2**62),
        ({"type": "string", "avro.java.string": "String"}, "x"),
        ({"type": "map", "values": {"type": "map", "values": "float"}}, {"a": {"b": 1.5}}),
        ({"type": "array", "items": ["null", "string", "long"]}, [None, "a", 1]),
    ],
)
def test_a_foreign_schema_is_decoded_whatever_else_is_in_it(extra, value):
    """And by the native decoder without help."""
    schema = _foreign(extra=extra)
    fields = [*schema.document["fields"][:2], _unlogical(extra)]
    plain = WriterSchema({**schema.document, "fields": fields}, ASSISTANTS.shape)
    payload = encode(plain, run_object(extra=value))
    events, rejections, *_ = _decode(schema.header + payload, book=book_of(schema))
    assert not rejections
    assert (events[0].run_id, events[0].payload) == ("run_1", payload)
    assert doubtful(schema, [Framed(Arrived(0, b""), payload)]) == []


def _unlogical(schema):
    kept = {key: value for key, value in schema.items() if key != "logicalType"} if isinstance(schema, dict) else schema
    return {"name": "extra", "type": kept}


def test_a_foreign_schema_rejects_bad_records_too():
    schema = _foreign(extra=FIXED)
    good = schema.header + encode(schema, run_object(extra=b"abcd"))
    book = book_of(schema)
    assert _reasons(good, good[:-1], good + b"x", good, book=book) == ["undecodable", "trailing_bytes"]


def test_fields_that_a_foreign_schema_lacks_are_null():
    event = _one_event(_foreign())
    assert (event.thread_id, event.model, event.created_at, event.usage) == (None, None, None, None)
    assert (event.error_code, event.required_tools) == (None, ())


def test_parts_of_records_that_a_foreign_schema_lacks_are_null():
    """The last field must not be taken for the one that is missing."""
    error = {"type": "record", "name": "Error", "fields": [{"name": "message", "type": "string"}]}
    action = {"type": "record", "name": "Action", "fields": [{"name": "type", "type": "string"}]}
    event = _one_event(
        _foreign(last_error=error, required_action=["null", action]),
        last_error={"message": "m"},
        required_action={"type": "t"},
    )
    assert (event.error_code, event.required_tools) == (None, ())


def test_int_fields_and_enum_statuses_read_as_long_and_text():
    status = {"type": "enum", "name": "Status", "symbols": ["queued", "completed"]}
    event = _one_event(_foreign(status=status, created_at="int"), status="completed", created_at=17)
    assert (event.status, event.created_at) == ("completed", 17)


def test_a_long_where_the_schema_has_an_int_is_not_cut_off():
    """It must not be wrapped around to a credible time."""
    schema = _foreign(created_at="int")
    payload = encode(_foreign(created_at="long"), run_object(created_at=2**40 + 17))
    [event] = _decode(schema.header + payload, book=book_of(schema)).events
    assert (event.created_at, event.flags) == (None, (EventFlag.TIME_UNREADABLE,))


def test_a_double_that_is_no_number_is_somebody_elses_business():
    payload = encode(V2_1, run_object(temperature=1.0)).replace(struct.pack("<d", 1.0), struct.pack("<d", float("nan")))
    assert _reasons(V2_1.header + payload) == []
