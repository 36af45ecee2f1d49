"""A dead letter is the record exactly as it came, and why; whoever repairs it needs every byte."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec.deadletter import RecordPlace, dead_letter, skipped_letter
from streamproc.codec.decode import Rejection, decode
from streamproc.codec.sizes import batch_bytes, omitted
from tests.support.books import bundled_book
from tests.support.runobjects import Arrived

WALL_MS = 1_800_000_000_000
AT_MS = WALL_MS - 1_000
WHY = [
    "streamproc.error.reason",
    "streamproc.error.message",
    "streamproc.source.topic",
    "streamproc.source.partition",
    "streamproc.source.offset",
    "streamproc.source.timestamp",
]


def _letter(record, reason="undecodable", message="why", wall_ms=WALL_MS):
    return dead_letter(Rejection(record, reason, message), "run-events", 3, wall_ms)


@given(
    st.none() | st.binary(max_size=30),
    st.none() | st.binary(max_size=30),
    st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=5),
    st.integers(0, 2**62),
)
def test_value_key_and_headers_are_exactly_as_they_came(value, key, headers, offset):
    """Null values, repeated names and bytes that are no text among them."""
    record = Arrived(offset, value, AT_MS, key, headers)
    letter_key, letter_value, timestamp, letter_headers = _letter(record)
    assert (letter_key, letter_value, timestamp) == (key, value, AT_MS)
    assert letter_headers[: len(headers)] == headers
    assert [name for name, _ in letter_headers[len(headers) :]] == WHY
    assert record.headers is headers
    assert len(record.headers) == len(headers), "the consumed record's own list must not grow"


def test_the_headers_say_why_and_where_it_came_from():
    headers = dict(_letter(Arrived(99, b"v", 1_000), "trailing_bytes", "bytes are left over")[3])
    assert [headers[name] for name in WHY] == [
        b"trailing_bytes",
        b"bytes are left over",
        b"run-events",
        b"3",
        b"99",
        b"1000",
    ]


def test_a_dead_letter_that_comes_back_and_fails_again_keeps_the_earlier_headers_too():
    first = _letter(Arrived(1, b"v", 1_000, b"k", [("a", b"1"), ("a", None)]))
    again = _letter(Arrived(7, first[1], first[2], first[0], first[3]), "bad_framing")
    assert again[3][:2] == [("a", b"1"), ("a", None)]
    assert [value for name, value in again[3] if name == "streamproc.error.reason"] == [b"undecodable", b"bad_framing"]


def test_headers_given_as_a_tuple_become_the_list_that_aiokafka_needs():
    assert type(_letter(Arrived(1, b"v", headers=(("a", b"1"),)))[3]) is list


def test_the_timestamp_is_the_records_but_never_ahead_of_the_clock():
    """A replay keeps it (rules.md 15), and a broker refuses one from the future."""
    assert _letter(Arrived(1, b"v", AT_MS))[2] == AT_MS
    letter = _letter(Arrived(1, b"v", WALL_MS + 200))
    assert letter[2] == WALL_MS
    assert dict(letter[3])["streamproc.source.timestamp"] == b"1800000000200"


def test_a_long_message_is_cut():
    assert len(dict(_letter(Arrived(1, b"v"), message="x" * 5_000)[3])["streamproc.error.message"]) == 1_000


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xc3\x01unknown!", b"\x00\x00\x00\x00\x01"])
def test_what_the_decoder_rejects_can_be_a_dead_letter(value):
    record = Arrived(5, value, 1_000, None, [("h", b"\xff")])
    [rejection] = decode([record], bundled_book()).rejections
    key, letter_value, _, headers = dead_letter(rejection, "run-events", 0, WALL_MS)
    assert (key, letter_value) == (None, value)
    assert headers[0] == ("h", b"\xff")


def _large(record, admitted_bytes, reason="too_large"):
    letter = dead_letter(Rejection(record, reason, "it is large"), "run-events", 3, WALL_MS, admitted_bytes)
    headers = dict(letter[3])
    assert batch_bytes(letter[0], letter[1], letter[3]) <= admitted_bytes
    assert headers["streamproc.size"] == str(len(record.value or b"")).encode()
    assert headers["streamproc.sha256"] == hashlib.sha256(record.value or b"").hexdigest().encode()
    return letter, headers


def test_a_record_that_is_too_large_is_whole_where_the_topic_admits_it():
    record = Arrived(5, b"v" * 100_000, 1_000, b"k", [("h", b"1")])
    (key, value, _, own), headers = _large(record, 101_000)
    assert (key, value, own[0]) == (b"k", record.value, ("h", b"1"))
    assert "streamproc.cut" not in headers
    assert headers["streamproc.error.message"] == b"it is large; this letter is whole"


def test_else_its_value_is_cut():
    record = Arrived(5, b"v" * 100_000, 1_000, b"k", [("h", b"1")])
    (key, value, _, own), headers = _large(record, 100_000)
    assert (key, value, own[0]) == (b"k", b"v" * 65_536, ("h", b"1"))
    assert headers["streamproc.cut"] == b"value"
    assert b"this letter is cut" in headers["streamproc.error.message"]


@pytest.mark.parametrize(
    ("key", "own"), [(b"k" * 3_000_000, []), (b"k", [("h", b"x" * 3_000_000)]), (b"k" * 90_000, [("h", b"")] * 300_000)]
)
def test_and_else_key_and_headers_too(key, own):
    (cut_key, value, _, headers), _ = _large(Arrived(5, b"v" * 100_000, 1_000, key, own), 1_000_000)
    assert (cut_key, value) == (key[:65_536], b"v" * 65_536)
    assert headers[0][0] == "streamproc.error.reason"


class Untouched(list):
    """Headers that nobody may look at one by one."""

    def __iter__(self):
        raise AssertionError


@pytest.mark.parametrize("own", [omitted(16_000_000), Untouched([("", b"")] * 10_001)], ids=["omitted", "there"])
@pytest.mark.parametrize("reason", ["too_large", "undecodable"])
def test_too_many_headers_are_left_out_without_a_look_at_them(own, reason):
    (key, value, _, headers), said = _large(Arrived(5, b"x", AT_MS, b"k", own), 1_000_000, reason)
    assert (key, value) == (b"k", b"x")
    assert headers[0] == ("streamproc.error.reason", reason.encode())
    assert said["streamproc.cut"] == b"value, key, headers"


def test_a_letter_has_no_more_headers_than_are_taken_either():
    """Else nobody could read why it is one."""
    own = [("h", b"")] * 9_995
    assert _letter(Arrived(5, b"x", AT_MS, None, own[:9_994]))[3][:9_994] == own[:9_994]
    assert len(_letter(Arrived(5, b"x", AT_MS, None, own))[3]) < 20


@given(
    st.none() | st.integers(0, 300_000),
    st.none() | st.integers(0, 300_000),
    st.lists(st.tuples(st.integers(0, 200), st.none() | st.integers(0, 100_000)), max_size=5),
    st.integers(140_000, 400_000),
    st.sampled_from(["too_large", "undecodable"]),
)
def test_every_record_has_a_letter_that_the_topic_admits(value, key, own, admitted, reason):
    """Whatever a producer writes: else nothing behind it would ever be committed."""
    headers = [("n" * name, None if size is None else bytes(size)) for name, size in own]
    record = Arrived(5, None if value is None else bytes(value), 1_000, None if key is None else bytes(key), headers)
    letter = dead_letter(Rejection(record, reason, "w" * 5_000), "t" * 249, 3, WALL_MS, admitted)
    assert batch_bytes(letter[0], letter[1], letter[3]) <= admitted


@pytest.mark.parametrize("timestamp", [-1, -(2**63), 2**63 - 1, 0, 1_800_000_000, WALL_MS * 1_000])
def test_no_timestamp_keeps_a_letter_out_of_a_batch_with_others_or_lets_it_expire(timestamp):
    """Two that are more than a long apart go into none; one in seconds seems old. The record's own is in a header."""
    letter = _letter(Arrived(1, b"v", timestamp))
    assert letter[2] == WALL_MS
    assert dict(letter[3])["streamproc.source.timestamp"] == str(timestamp).encode()


def test_what_was_passed_over_is_named_by_its_first_and_last_offset():
    key, value, at_ms, headers = skipped_letter(
        RecordPlace("run-events", 3, 17, -1), 20, "it was \ud83d damaged", WALL_MS
    )
    assert (key, value, at_ms) == (None, None, WALL_MS)
    said = dict(headers)
    assert (said["streamproc.error.reason"], said["streamproc.error.message"]) == (
        b"skipped",
        b"it was \\ud83d damaged",
    )
    assert (said["streamproc.source.offset"], said["streamproc.skipped.through"]) == (b"17", b"20")
