"""The hand-made Fetch says the same as aiokafka's own of that version, both ways."""

import struct

import pytest
from aiokafka.protocol.fetch import FetchRequest, FetchRequest_v11, FetchResponse_v11
from hypothesis import given
from hypothesis import strategies as st

from streamproc.runtime.aio.fetchwire import Fetch, FetchRequest11, FetchResponse11
from streamproc.runtime.ports import TopicPartition

names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)
numbers, longs = st.integers(0, 2**31 - 1), st.integers(-1, 2**63 - 1)
wanted = st.dictionaries(names, st.lists(st.tuples(numbers, longs), min_size=1, max_size=5), max_size=4)
aborted = st.none() | st.lists(st.tuples(longs, longs), max_size=3)
answer = st.tuples(
    numbers, st.integers(-1, 120), longs, longs, longs, aborted, st.integers(-1, 9), st.none() | st.binary()
)
answered = st.dictionaries(names, st.lists(answer, max_size=4), max_size=4)


@given(wanted, numbers, numbers, numbers)
def test_a_request_is_the_same_to_the_byte(topics, wait_ms, most_bytes, partition_bytes):
    ours = Fetch(wait_ms, most_bytes, partition_bytes, list(topics.items())).build(FetchRequest11)
    with_bytes = [(topic, [(*each, partition_bytes) for each in parts]) for topic, parts in topics.items()]
    theirs = FetchRequest(wait_ms, 1, most_bytes, 1, with_bytes).build(FetchRequest_v11)
    assert ours.encode() == theirs.encode()


@given(answered)
def test_an_answer_is_read_as_it_was_written(topics):
    frame = FetchResponse_v11(0, 0, 0, list(topics.items())).encode()
    found = FetchResponse11.decode(frame).answers
    assert found == [
        (TopicPartition(topic, number), code, high, stable, gone or [], data or b"")
        for topic, answers in topics.items()
        for number, code, high, stable, _, gone, _, data in answers
    ]


@given(answered, st.integers(1, 10_000))
def test_an_answer_that_is_cut_short_is_none(topics, by):
    """Aiokafka then closes the connection."""
    frame = FetchResponse_v11(0, 0, 0, list(topics.items())).encode()
    with pytest.raises((struct.error, UnicodeDecodeError)):
        FetchResponse11.decode(frame[: max(0, len(frame) - by)])
