"""Record batches, native and by aiokafka: the same bytes, of whatever messages."""

import gzip
import struct
from contextlib import suppress

import pytest
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamproc.core.model import NO_TIMESTAMP
from streamproc.native import module
from streamproc.runtime.aio.batches import CODECS, Batches
from streamproc.runtime.config import BATCH_BYTES
from tests.support.native import needs_native, pure

pytestmark = needs_native

PRODUCER = 4_711, 3
BODY_AT = 61
LENGTH_AT, CRC_AT = 8, 17


def name(raw):
    """A header's name, which may be any bytes."""
    return raw.decode("utf-8", "surrogateescape")


binary = st.none() | st.binary(max_size=60)
named = st.sampled_from(("a", "", "ce_id", "größe", name(b"\xff\xfe"), name(b"a\x80"))) | st.text(max_size=4).filter(
    lambda text: text.isprintable()
)
headers = st.lists(st.tuples(named, binary), max_size=4)
times = st.sampled_from((NO_TIMESTAMP, 0, 1, 2**62)) | st.integers(1_717_200_000_000, 1_717_300_000_000)
message = st.tuples(binary, binary, times, headers)


def count_of(batch):
    return int.from_bytes(batch[BODY_AT - 4 : BODY_AT])


def native(messages, compression="none"):
    return list(Batches(compression, PRODUCER).of("place", messages))


def reference(messages, compression="none"):
    with pure():
        return list(Batches(compression, PRODUCER).of("place", messages))


def plain(batch):
    """A batch of gzip as far as it is the same each time: without the time in it, and what depends on that."""
    body = batch[BODY_AT:]
    if not body.startswith(b"\x1f\x8b"):
        return batch
    return batch[:LENGTH_AT], batch[21:BODY_AT], gzip.decompress(body), body[8:]


@pytest.mark.parametrize("compression", sorted(CODECS))
@given(st.lists(message, max_size=8))
@settings(max_examples=150, deadline=None)
@example([(b"k", None, 7, [])])
@example([(b"", b"", NO_TIMESTAMP, [("", None)])])
@example([(b"k", b"v", NO_TIMESTAMP, []), (b"k", b"v", 7, [])])
@example([(b"k", b"v", 7, []), (b"k", b"v", NO_TIMESTAMP, [])])
@example([(b"k", b"v" * 500, 7, [("a", b"1")]), (b"k", b"v" * 500, 6, [(name(b"\xff"), b"1")])])
def test_the_same_messages_are_the_same_batches(compression, messages):
    """Tombstones, keys of no bytes and no keys, values of headers that are null, names that are no UTF-8, no times."""
    if compression == "gzip":
        assert [*map(plain, native(messages, compression))] == [*map(plain, reference(messages, compression))]
    else:
        assert native(messages, compression) == reference(messages, compression)


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_a_batch_ends_at_the_same_record(compression, spare):
    """At the limit to the byte: the second record fits, or begins a batch."""
    first = (b"k", b"v" * 100, 1_000, [("a", b"1")])
    [alone] = native([first])
    room = BATCH_BYTES - len(alone) - 12 + spare
    for headers in ([], [(name(b"\xff"), None)]):
        second = (b"k", b"w" * (room - 3 * len(headers)), 1_000, headers)
        found = native([first, second, first], compression)
        assert found == reference([first, second, first], compression)
        assert count_of(found[0]) == (2 if spare <= 0 else 1)


@pytest.mark.parametrize("sizes", [[BATCH_BYTES + 1], [10, BATCH_BYTES * 2, 10], [BATCH_BYTES - 61, 1], [400_000] * 6])
@pytest.mark.parametrize("odd", [False, True])
def test_a_record_that_is_larger_than_a_batch_has_one_of_its_own(sizes, odd):
    messages = [(b"k", bytes(size), 1_000, [(name(b"\xff") if odd else "a", b"1")]) for size in sizes]
    assert native(messages) == reference(messages)


def test_many_records_are_numbered_on_over_batches_and_places():
    """From 0 on for each place; the number of the next batch follows on the last one's."""
    messages = [(b"%d" % number, b"v" * 997, 1_000 + number, [("a", None)]) for number in range(3_000)]
    of_native, of_reference = Batches("none", PRODUCER), Batches("none", PRODUCER)
    for place in ("a", "b", "a"):
        found = list(of_native.of(place, messages))
        with pure():
            assert found == list(of_reference.of(place, messages))
        assert len(found) > 2
        assert all(MemoryRecords(batch).next_batch().validate_crc() for batch in found)


@given(st.lists(message, max_size=6), st.lists(message, max_size=3))
def test_records_are_the_messages_that_went_in(first, more):
    """In any number, again and again; they are taken where a list of messages is."""
    records = module.Records(first)
    records.extend(more)
    expected = [(key, value, at, list(each)) for key, value, at, each in [*first, *more]]
    assert len(records) == len(expected)
    assert list(records) == list(records) == expected
    assert list(module.Records(records)) == expected
    assert native(records) == native(expected)
    records.extend(list(records))
    assert list(records) == expected * 2


def test_records_of_nothing_are_no_batches():
    assert (len(module.Records()), list(module.Records([])), native([])) == (0, [], [])


@pytest.mark.parametrize("at", [2**63, -(2**63) - 1])
def test_a_timestamp_that_is_no_64_bit_number_is_an_overflow_by_both(at):
    for build in (native, reference):
        with pytest.raises(OverflowError):
            build([(b"k", b"v", at, [])])


ANYTHING = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.binary(max_size=3) | st.just("\ud800") | st.floats(),
    lambda inside: st.lists(inside, max_size=3) | st.lists(inside, max_size=4).map(tuple),
    max_leaves=6,
)
ORDINARY = TypeError, ValueError, OverflowError


@given(st.lists(ANYTHING | st.tuples(ANYTHING, ANYTHING, ANYTHING, ANYTHING), max_size=3) | ANYTHING)
@settings(max_examples=300)
def test_what_is_no_message_is_an_ordinary_error(messages):
    """Never a panic. What was taken before it stays whole."""
    records = module.Records([(b"k", b"v", 1, [])])
    with suppress(*ORDINARY):
        records.extend(messages)
    assert next(iter(records)) == (b"k", b"v", 1, [])
    assert len(list(records)) == len(records)
    records.batches(1_000)


@given(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING)
@example(b"", 0, -(2**31), (0, 0), (0, 0, 0))
@example(b"", -(2**15), 2**31 - 1, (-(2**63), 2**63 - 1), (-(2**63), -(2**15), -(2**31)))
def test_what_is_no_batch_is_an_ordinary_error(records, attributes, count, times, producer):
    with suppress(*ORDINARY):
        batch = module.batch(records, attributes, count, times, producer)
        assert len(batch) == BODY_AT + len(records)
        assert struct.unpack_from(">i", batch, LENGTH_AT) == (len(batch) - 12,)
