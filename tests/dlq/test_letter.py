"""A letter is the record exactly as it came, and why; whatever else lies in the topic is told apart."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec import deadletter
from streamproc.codec.deadletter import dead_letter
from streamproc.codec.decode import Rejection
from streamproc.codec.sizes import headers_bytes
from streamproc.dlq.letter import ATTEMPT, OF, Foreign, Letter, LetterOrigin, Original, of
from streamproc.errors import RejectionReason
from tests.support.runobjects import Arrived

WALL_MS = 1_800_000_000_000
OWN = (*deadletter.HEADERS, ATTEMPT, OF)


def lying(record, offset=5, reason="undecodable", message="why", partition=3):
    """The record's dead letter, as it lies in the topic."""
    letter = dead_letter(Rejection(record, reason, message), "run-events", partition, WALL_MS)
    key, value, timestamp, headers = letter
    return Arrived(offset, value, timestamp, key, headers)


def changed(record, **headers):
    """The record with some of its headers' values exchanged, or without them; `_` stands for a dot."""
    changes = {f"streamproc.{name.replace('_', '.')}": value for name, value in headers.items()}
    kept = [(name, changes.get(name, value)) for name, value in record.headers if changes.get(name, b"") != "gone"]
    return record._replace(headers=kept)


@given(
    st.none() | st.binary(max_size=30),
    st.none() | st.binary(max_size=30),
    st.lists(st.tuples(st.sampled_from(OWN) | st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=8),
    st.integers(0, 2**62),
    st.integers(-1, 2**63 - 1),
)
def test_a_letter_gives_back_exactly_what_came(value, key, headers, offset, timestamp):
    """Null values, repeated names and the record's own headers of our names among it."""
    letter = of(lying(Arrived(offset, value, timestamp, key, headers)), 3)
    assert isinstance(letter, Letter)
    assert (letter.value, letter.key, list(letter.headers)) == (value, key, headers)
    assert letter.source == LetterOrigin("run-events", 3, offset, timestamp)
    assert (letter.place, letter.reason, letter.message) == ("3:5", "undecodable", "why")


@given(st.lists(st.tuples(st.sampled_from(OWN) | st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=8))
def test_a_replay_changes_nothing_but_its_two_marks(headers):
    letter = of(lying(Arrived(7, b"v", 1_234, b"k", headers)), 3)
    key, value, timestamp, sent = letter.again()
    assert (key, value, timestamp) == (b"k", b"v", 1_234)
    assert sent[:-2] == [header for header in headers if header[0] not in {ATTEMPT, OF}]
    assert sent[-2:] == [(ATTEMPT, str(letter.attempt + 1).encode()), (OF, b"3:5")]


def test_attempts_are_counted_over_failures():
    record = Arrived(1, b"v", 1_000, b"k", [("trace", b"1")])
    for attempt in range(4):
        letter = of(lying(record, offset=10 + attempt), 3)
        assert letter.attempt == attempt
        key, value, timestamp, headers = letter.again()
        record = Arrived(2 + attempt, value, timestamp, key, headers)
    assert [name for name, _ in record.headers] == ["trace", ATTEMPT, OF]
    assert record.headers[-1] == (OF, b"3:13")


@pytest.mark.parametrize("said", [b"", b"-1", b"+1", b"1_0", b" 1", b"1.0", b"\xd9\xa3", b"1" * 10, None])
def test_an_attempt_that_no_replay_wrote_is_none(said):
    assert of(lying(Arrived(1, b"v", 1_000, b"k", [(ATTEMPT, said)])), 3).attempt == 0


@pytest.mark.parametrize("name", deadletter.HEADERS)
def test_a_record_without_one_of_the_headers_is_no_letter(name):
    record = lying(Arrived(1, b"secret"))
    gone = record._replace(headers=[header for header in record.headers if header[0] != name])
    found = of(gone, 3)
    assert isinstance(found, Foreign)
    assert (found.place, found.flaw) == ("3:5", f"it has no header {name}")


@pytest.mark.parametrize(
    "headers",
    [
        {"source_offset": b"x"},
        {"source_offset": b"-1"},
        {"source_partition": b""},
        {"source_partition": b"\xff"},
        {"source_timestamp": b"1e9"},
        {"source_timestamp": b"9" * 40},
        {"source_timestamp": b"9999999999999999999"},
        {"source_timestamp": b"-9999999999999999999"},
        {"source_offset": b"9223372036854775808"},
        {"source_topic": None},
        {"error_reason": None},
    ],
)
def test_broken_headers_make_no_letter(headers):
    assert isinstance(of(changed(lying(Arrived(1, b"v")), **headers), 3), Foreign)


@given(st.none() | st.binary(max_size=20), st.lists(st.tuples(st.sampled_from(OWN), st.none() | st.binary(max_size=5))))
def test_anything_in_the_topic_is_a_letter_or_is_told_apart(value, headers):
    assert isinstance(of(Arrived(1, value, -1, None, headers), 0), Letter | Foreign)


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (None, "none"),
        (b"", "none"),
        (b"{}", "json"),
        (b"[]", "none"),
        (b"\x00\x00\x00\x00\x11rest", "id:17"),
        (b"\xc3\x01" + bytes(range(8)) + b"rest", "crc64:0001020304050607"),
    ],
)
def test_the_schema_is_read_from_the_framing_alone(value, label):
    assert of(lying(Arrived(1, value)), 3).schema == label


def test_text_that_somebody_else_wrote_takes_little_room():
    """The message of ours has 1,000 characters at most."""
    assert len(of(changed(lying(Arrived(1, b"v")), error_message=b"x" * 1_000_000), 3).message) == 1_000


def test_text_that_is_no_utf8_is_shown_as_far_as_it_goes():
    assert of(changed(lying(Arrived(1, b"v")), error_message=b"a\xff"), 3).message == "a\\xff"


def test_the_size_counts_everything():
    assert of(lying(Arrived(1, b"12", headers=[("a", b"1"), ("b", None)], key=b"k")), 3).size == 2 + 1 + 2 + 1


def _cut(own, admitted_bytes=100_000):
    record = Arrived(47, b"v" * 90_000, 1_000, b"k" * 30_000, own)
    key, value, at_ms, headers = dead_letter(
        Rejection(record, RejectionReason.TOO_LARGE, "why"), "run-events", 3, 1_000, admitted_bytes
    )
    return of(Arrived(5, value, at_ms, key, headers), 3)


@pytest.mark.parametrize("own", [[], [("streamproc.size", b"7"), ("streamproc.cut", b"value")]])
def test_what_a_cut_letter_says_of_its_record_is_told_from_what_the_producer_wrote(own):
    """A header of the same name that came with the record is its own."""
    found = _cut(own)
    assert found.original == Original(90_000, hashlib.sha256(b"v" * 90_000).hexdigest(), "value")
    assert (found.is_cut, len(found.value)) == (True, 65_536)
    assert list(found.headers) == own
    assert found.size == 90_000 + 30_000 + headers_bytes(own), "as it came"
    whole = _cut(own, 200_000)
    assert (whole.is_cut, whole.size) == (False, found.size)


def test_size_and_digest_that_are_none_make_a_stranger():
    record = Arrived(47, b"v", 1_000)
    _, _, _, headers = dead_letter(Rejection(record, RejectionReason.TOO_LARGE, "why"), "run-events", 3, 1_000)
    for name in ("streamproc.size", "streamproc.sha256"):
        wrong = [(each, b"?" if each == name else value) for each, value in headers]
        assert isinstance(of(Arrived(5, b"v", 1_000, None, wrong), 3), Foreign)
