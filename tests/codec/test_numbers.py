"""Numbers of every type, wherever they are read: both decoders read the same, and what they should."""

import math
from dataclasses import replace
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamproc.codec.arrival import MAX_ID_CHARS, MAX_LONG, MAX_STATUS_CHARS, MAX_TOOL_CHARS, MAX_UNIX_SECONDS, Framed
from streamproc.codec.decode import decode
from streamproc.codec.reference import decode_one
from streamproc.codec.schemas import WriterSchema
from streamproc.core.model import EventFlag
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.shape import PER_SECOND, REQUIRED, TIMES, TOKENS
from streamproc.errors import RecordRejected
from tests.support.books import book_of
from tests.support.oddschemas import array, maps, record
from tests.support.runobjects import EXTREMES, arrivals, encode, longs

SHAPE = ASSISTANTS.shape
UNITS = {unit: replace(SHAPE, time_unit=unit) for unit in PER_SECOND}
EDGES = [
    *(edge + step for edge in (2.0**24, 2.0**53, 2.0**63, 1e15) for step in (-1.0, 0.0, 1.0, 2.0)),
    *(math.nextafter(2.0**63, 0), 1e16, 1e22, 1e300, 5e-324, 0.0, 0.5, 1.5, math.inf, math.nan),
    *(
        float(unit * edge + part)
        for unit in PER_SECOND.values()
        for edge in (1, MAX_UNIX_SECONDS)
        for part in (0, 0.5, 1)
    ),
    *(float(unit * (MAX_UNIX_SECONDS + 1)) for unit in PER_SECOND.values()),
]
doubles = st.sampled_from([sign * edge for edge in EDGES for sign in (1, -1)]) | st.floats()
numbers = st.one_of(
    st.tuples(st.sampled_from(("int", "long")), longs | st.integers(-2, 4 * 10**11)),
    st.tuples(st.just("double"), doubles),
    st.tuples(st.just("float"), st.floats(width=32)),
)


kinds = st.sampled_from(("alone", "or null", "or text"))


def _named(name, kind):
    return {"name": name, "type": kind}


def _nested(kind, *path):
    return kind if not path else record(path[0].title(), _named(path[0], _nested(kind, *path[1:])))


CALLS = ("submit_tool_outputs", "tool_calls")
PLACES = {
    "names": lambda kind: [
        *(_named(name, kind) for name in ("thread_id", "assistant_id", "model")),
        _named("last_error", _nested(kind, "code")),
    ],
    "times": lambda kind: [_named(name, kind) for name in TIMES],
    "usage": lambda kind: [_named("usage", record("Usage", *(_named(name, kind) for name in TOKENS)))],
    "tools": lambda kind: [_named("required_action", _nested(array(_nested(kind, "function", "name")), *CALLS))],
    "needed": lambda _: [],
}
"""What a number is read as. Apart: one that is left to the reference takes the whole record along."""


@cache
def _schema(place, kind, form="alone", unit="s"):
    """A run with numbers of a type in one place, and among its metadata."""
    type_ = {"alone": kind, "or null": ["null", kind], "or text": ["string", kind]}[form]
    needed = type_ if place == "needed" else "string"
    fields = [_named("id", needed), _named("status", needed), *PLACES[place](type_), _named("metadata", maps(type_))]
    return WriterSchema(record("Run", *fields), UNITS[unit])


def _run(number, needed="r"):
    """All values are the number, but the id and the status."""
    return {
        **dict.fromkeys(("thread_id", "assistant_id", "model", *TIMES), number),
        **dict.fromkeys(("id", "status"), needed),
        "usage": dict.fromkeys(TOKENS, number),
        "last_error": {"code": number},
        "required_action": {"submit_tool_outputs": {"tool_calls": [{"function": {"name": number}}]}},
        "metadata": {"a": number},
    }


def _reference(framed, schema):
    try:
        return decode_one(framed, schema)
    except RecordRejected as error:
        return error.reason, str(error)


def _read(found, place, kind, *how):
    """The event, or the reason that there is none: of both decoders."""
    schema = _schema(place, kind, *how)
    # An int is encoded as a long is; some write longer ones than it may have, and they are read.
    payload = encode(_schema(place, "long" if kind == "int" else kind, *how), found)
    [arrival] = arrivals(schema.header + payload)
    decoded = decode([arrival], book_of(schema))
    refused = [(each.reason, each.message) for each in decoded.rejections]
    assert [*decoded.events, *refused] == [_reference(Framed(arrival, payload), schema)]
    return decoded.events[0] if decoded.events else decoded.rejections[0].reason


def _whole(number):
    return int(number) if math.isfinite(number) and number == math.floor(number) else None


def _text(number):
    """The shortest form; None of what is no number."""
    return None if not math.isfinite(number) else repr(number) if _whole(number) is None else str(_whole(number))


def _odd(*flags):
    return tuple(flag for flag in flags if flag)


@given(numbers, kinds, st.sampled_from(list(UNITS)))
@example(("double", math.nan), "or null", "s")
@example(("double", -math.inf), "or null", "ms")
@example(("double", -0.0), "alone", "s")
@example(("float", -0.5), "alone", "s")
@example(("long", -MAX_LONG - 1), "alone", "us")
def test_a_number_that_is_a_time_is_one_of_its_unit_rounded_down(number, form, unit):
    kind, value = number
    event = _read(_run(value), "times", kind, form, unit)
    found = math.floor(Fraction(value) / PER_SECOND[unit]) if math.isfinite(value) else MAX_UNIX_SECONDS + 1
    is_time = 0 < found <= MAX_UNIX_SECONDS
    assert {getattr(event, name) for name in TIMES} == {found if is_time else None}
    assert event.flags == _odd(not is_time and (EventFlag.TIME_UNSET if found <= 0 else EventFlag.TIME_UNREADABLE))


@given(numbers, kinds)
@example(("double", math.nan), "or null")
@example(("double", -0.0), "alone")
@example(("double", 2.0**63), "or null")
@example(("double", -(2.0**63)), "or null")
@example(("float", 0.5), "alone")
def test_a_number_that_is_a_count_is_one_if_it_is_whole_and_fits_a_long(number, form):
    kind, value = number
    event, count = _read(_run(value), "usage", kind, form), _whole(value)
    is_count = count is not None and -MAX_LONG - 1 <= count <= MAX_LONG
    assert event.usage == ((count,) * 3 if is_count else None)
    assert event.flags == _odd(not is_count and EventFlag.VALUE_UNREADABLE)


@given(numbers, kinds)
@example(("double", math.nan), "or null")
@example(("double", -0.0), "alone")
@example(("double", 1e300), "alone")
def test_a_number_that_is_a_name_is_its_shortest_form(number, form):
    kind, value = number
    event, text = _read(_run(value), "names", kind, form), _text(value)
    assert (event.thread_id, event.assistant_id, event.model, event.error_code) == (text,) * 4
    assert event.flags == _odd(text is None and EventFlag.VALUE_UNREADABLE)
    event, is_long = _read(_run(value), "tools", kind, form), text is not None and len(text) > MAX_TOOL_CHARS
    assert event.required_tools == (() if text is None else (text[:MAX_TOOL_CHARS],))
    assert event.flags == _odd(is_long and EventFlag.NAME_OVER_LIMIT, text is None and EventFlag.VALUE_UNREADABLE)


@given(numbers, kinds)
@example(("double", math.nan), "or null")
@example(("double", -0.0), "alone")
@example(("double", 1e300), "alone")
def test_a_number_is_an_id_and_a_status_or_is_refused(number, form):
    kind, value = number
    found, text = _read(_run(value, value), "needed", kind, form), _text(value)
    if text is None or len(text) > MAX_ID_CHARS:
        assert found == "bad_run_id"
    elif len(text) > MAX_STATUS_CHARS:
        assert found == "bad_status"
    else:
        assert (found.run_id, found.status, found.flags) == (text, text, ())


@pytest.mark.parametrize("number", [*EXTREMES, 12, -3, 2**53])
def test_counts_of_two_types_have_a_total_that_fits_a_long(number):
    parts = record("Usage", _named("prompt_tokens", "double"), _named("completion_tokens", "long"))
    schema = WriterSchema(record("Run", *(_named(name, "string") for name in REQUIRED), _named("usage", parts)), SHAPE)
    payload = encode(schema, _run(number) | {"usage": {"prompt_tokens": 2.0**53, "completion_tokens": number}})
    [arrival] = arrivals(schema.header + payload)
    [event] = decode([arrival], book_of(schema)).events
    assert event == decode_one(Framed(arrival, payload), schema)
    assert event.usage == (2**53, number, min(2**53 + number, MAX_LONG))
