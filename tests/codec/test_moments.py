"""Times, however they are written: read alike by both decoders and from JSON, null where they are not set."""

import json
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamproc.codec.arrival import MAX_UNIX_SECONDS, Framed
from streamproc.codec.decode import decode
from streamproc.codec.moments import seconds
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.core.model import EventFlag
from streamproc.core.profiles import ASSISTANTS
from tests.support.books import book_of, bundled_book
from tests.support.native import doubtful
from tests.support.runobjects import arrivals, encode

SECONDS = int(datetime(2026, 11, 28, 1, 20, tzinfo=UTC).timestamp())


def _schema(kind):
    fields = [{"name": name, "type": "string"} for name in ("id", "status")]
    document = {"type": "record", "name": "Mine", "fields": [*fields, {"name": "started_at", "type": kind}]}
    return WriterSchema(document, ASSISTANTS.shape)


LONG, DOUBLE, TEXT = _schema("long"), _schema("double"), _schema(["null", "string"])


def _all_say(value, *, in_json=True):
    """What both decoders, and JSON, make of a time: (seconds, flags)."""
    schema = TEXT if isinstance(value, str) else DOUBLE if isinstance(value, float) else LONG
    found = {"id": "r", "status": "s", "started_at": value}
    payload = encode(schema, found)
    [record] = arrivals(schema.header + payload)
    [event] = decode([record], book_of(schema)).events
    assert decode_one(Framed(record, payload), schema) == event
    if in_json:
        [as_json] = decode(arrivals(json.dumps(found).encode()), bundled_book()).events
        assert (as_json.started_at, as_json.flags) == (event.started_at, event.flags)
    return event.started_at, event.flags


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, -62_135_596_800, -(2**63), 0.0, -0.5, 0.5, -1e300),
        *("", " ", "\t\n", "0", "-1", "0.0", "-62135596800", "-1e9"),
        *("Mon, 01 Jan 0001 00:00:00 GMT", "01-Jan-0001 00:00:00 GMT", "Thu, 01 Jan 0099 00:00:00 UTC"),
        *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "0001-01-01 00:00:00 +0000 UTC"),
        *("0000-00-00 00:00:00", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "19700101"),
        *("Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T01:00:00+01:00", "1900-01-01"),
    ],
)
def test_every_way_to_say_that_a_time_is_not_set_is_null_and_flagged(value):
    """Go, protobuf, MySQL, and Avro's defaults: a run was not due in 1970."""
    assert _all_say(value) == (None, (EventFlag.TIME_UNSET,))


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-28T01:20:00Z",
        "2026-11-28T01:20:00",
        "2026-11-28T01:20:00.5",
        "2026-11-28T01:20:00.123456789Z",
        "2026-11-28T01:20:00.123456789+00:00",
        "2026-11-28T02:20:00+01:00",
        "2026-11-28T02:20:00+0100",
        "20261128T012000Z",
        "2026-11-28 01:20:00",
        "2026-11-28 01:20:00 UTC",
        "2026-11-28 01:20:00UTC",
        "2026-11-28 01:20:00 GMT",
        "2026-11-28 01:20:00 Z",
        "2026-11-28 01:20:00.25 UTC",
        "2026-11-28 01:20:00.123456789 UTC",
        "2026-11-28 01:20:00 +00:00",
        "2026-11-28 01:20:00 +0000",
        "2026-11-28 02:20:00 +0100",
        "2026-11-28 01:20:00 +0000 UTC",
        "2026-11-28 01:20:00.123456789 +0000 UTC",
        "2026-11-28T01:20:00Z[UTC]",
        "2026-11-28T02:20:00.5+01:00[Europe/Berlin]",
        "2026-11-28T01:20:00z",
        "  2026-11-28T01:20:00Z\n",
        "Sat, 28 Nov 2026 01:20:00 GMT",
        "Fri, 28 Nov 2026 01:20:00 GMT",  # A wrong day of the week is of no matter.
        "Sat, 28 Nov 2026 01:20:00 +0000",
        "Sat, 28 Nov 2026 01:20:00 -0000",
        "Fri, 27 Nov 2026 20:20:00 EST",
        "28 Nov 2026 02:20:00 +0100",
        "28 Nov 2026 01:20 GMT",
        "Saturday, 28-Nov-26 01:20:00 GMT",
        str(SECONDS),
        f" {SECONDS} ",
        f"{SECONDS}.75",
        f"+{SECONDS}",
        f"{SECONDS / 1e9:.9f}e9",
        SECONDS,
        SECONDS + 0.75,
    ],
)
def test_a_time_is_read_as_whatever_it_is_written(value):
    assert _all_say(value) == (SECONDS, ())


def test_eight_digits_are_a_date_and_the_last_second_is_one():
    assert _all_say("20261128") == (SECONDS - 4_800, ())
    assert _all_say("9999-12-31T23:59:59Z") == _all_say(MAX_UNIX_SECONDS) == (MAX_UNIX_SECONDS, ())
    assert _all_say("1970-01-01T00:00:01Z") == _all_say(1) == (1, ())


@pytest.mark.parametrize(
    "value",
    [
        *(MAX_UNIX_SECONDS + 1, 2**63 - 1, 1e300, float("nan"), float("inf"), float("-inf")),
        *(
            "yesterday",
            "null",
            "None",
            "NaN",
            "inf",
            "1e999",
            "2024-13-01T00:00:00Z",
            "1717200000x",
            "9" * 30,
            "9" * 5_000,
        ),
        *("9999-12-31T23:59:59-01:00", "10000-01-01T00:00:00Z", "\u0662\u0660\u0662\u0666-11-28", "0x10", "1_000"),
        *("2026-11-28T01:20:00\u00e9", "2026-11-28 01:20:00 CET", "Sat, 28 Nov 2026 01:20:00 CET", "00000000"),
        *("Sat, 28 Foo 2026 01:20:00 GMT", "Sat, 99 Nov 2026 01:20:00 GMT", "2026-11-28T01:20:00Z" + " x" * 100),
    ],
)
def test_a_time_that_cannot_be_read_is_null_and_flagged(value):
    assert _all_say(value) == (None, (EventFlag.TIME_UNREADABLE,))


@pytest.mark.parametrize("value", [True, False, [], [SECONDS], {}, {"seconds": SECONDS}])
def test_what_is_no_time_in_json_is_null_and_flagged(value):
    found = {"id": "r", "status": "s", "started_at": value}
    [event] = decode(arrivals(json.dumps(found).encode()), bundled_book()).events
    assert (event.started_at, event.flags) == (None, (EventFlag.TIME_UNREADABLE,))


@pytest.mark.parametrize(("per_second", "digits"), [(1, ""), (1_000, "999"), (1_000_000, "0" * 6), (10**9, "5" * 9)])
def test_a_number_is_in_the_unit_of_its_profile_also_as_text(per_second, digits):
    odd = []
    assert (
        seconds(f"{SECONDS}{digits}", per_second, odd) == seconds(int(f"{SECONDS}{digits}"), per_second, odd) == SECONDS
    )
    assert odd == []
    assert seconds("999" if per_second > 1 else "0", per_second, odd) is None
    assert odd == [EventFlag.TIME_UNSET]


moments = st.datetimes(datetime(1980, 1, 1), datetime(9999, 12, 30))  # noqa: DTZ001  the zone is drawn
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(moments, zones)
def test_any_moment_is_read_from_each_of_its_forms(moment, zone):
    moment = moment.replace(tzinfo=zone)
    expected = int(moment.replace(microsecond=0).timestamp())
    zulu = moment.astimezone(UTC).replace(tzinfo=None)
    forms = [moment.isoformat(), moment.isoformat(" "), f"{zulu}Z", f"{zulu} UTC", f"{zulu} +0000 UTC", str(expected)]
    if not moment.microsecond:
        forms.append(format_datetime(moment))
    for form in forms:
        odd = []
        assert seconds(form, 1, odd) == expected, form
        assert odd == []


@given(
    st.text()
    | st.text("0123456789-:TZ+. UTCGMN", max_size=40)
    | st.floats()
    | st.integers()
    | st.booleans()
    | st.binary()
)
@example("0" * 100_000)
@example("1" + " " * 100_000 + "x")
@example("1 Jan 1" + " " * 90)
@example("-" * 100)
def test_whatever_a_time_is_it_is_one_or_none(value):
    odd = []
    found = seconds(value, 1, odd)
    assert found is None or 0 < found <= MAX_UNIX_SECONDS
    assert odd == [] if found is not None else odd in ([EventFlag.TIME_UNSET], [EventFlag.TIME_UNREADABLE])


@given(st.lists(st.sampled_from((0, -1, 1, SECONDS, MAX_UNIX_SECONDS, MAX_UNIX_SECONDS + 1, 2**63 - 1, -(2**63)))))
def test_a_batch_of_whole_numbers_is_read_as_each_of_them_is(values):
    """Some write 0 with every record: the native decoder needs no help with it."""
    for schema in (LONG, _schema({"type": "long", "logicalType": "timestamp-millis"})):
        payloads = [encode(schema, {"id": "r", "status": "s", "started_at": value}) for value in values]
        records = arrivals(*(schema.header + payload for payload in payloads))
        group = [Framed(record, record.value[10:]) for record in records]
        assert decode(records, book_of(schema)).events == [decode_one(framed, schema) for framed in group]
        assert doubtful(schema, group) == []
