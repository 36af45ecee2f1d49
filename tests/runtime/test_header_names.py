"""Names of headers that are no UTF-8 are read and written as any others, by either of aiokafka's implementations."""

import tracemalloc

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED
from aiokafka.errors import CorruptRecordException
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streamproc.runtime.aio.headernames import AnyNames, AnyNamesBatch, AnyNamesBuilder, Damaged, RereadableBatches

CODECS = {"none": 0, "gzip": 1, "lz4": 3, "zstd": 4}
ODD = b"\xff\xfe"


def name(raw):
    return raw.decode("utf-8", "surrogateescape")


def batch(records, codec="none", base_offset=0):
    """The bytes of a batch, as a broker returns it."""
    builder = AnyNamesBuilder(10_000_000, CODECS[codec])
    for key, value, timestamp, headers in records:
        assert builder.append(timestamp=timestamp, key=key, value=value, headers=headers) is not None
    built = bytearray(builder._build())
    built[:8] = base_offset.to_bytes(8)
    return bytes(built)


def read(data, records=MemoryRecords, fetch_offset=0):
    found = AnyNames(
        TopicPartition("t", 0), RereadableBatches(data, records), [], fetch_offset, None, None, True, READ_COMMITTED
    )
    return [(each.offset, each.key, each.value, each.timestamp, list(each.headers)) for each in found]


binary = st.none() | st.binary(max_size=200)
headers = st.lists(st.tuples(st.binary(max_size=5).map(name), binary), max_size=4)
record = st.tuples(binary, binary, st.integers(0, 2**62), headers)


@pytest.mark.parametrize("implementation", [MemoryRecords, _MemoryRecordsPy], ids=["compiled", "python"])
@given(st.lists(st.lists(record, min_size=1, max_size=5), max_size=4), st.sampled_from(sorted(CODECS)))
def test_whatever_is_sent_comes_back(implementation, batches, codec):
    data, expected, offset = b"", [], 0
    for records in batches:
        data += batch(records, codec, offset)
        expected += [(offset + number, *each) for number, each in enumerate(records)]
        offset += len(records)
    assert read(data, implementation) == expected


@pytest.mark.parametrize("implementation", [MemoryRecords, _MemoryRecordsPy], ids=["compiled", "python"])
def test_reading_starts_at_the_offset_that_was_asked_for(implementation):
    """Also in the middle of a batch, before and behind the odd name; an answer begins with the batch that holds it."""
    good = (b"k", b"v", 1_000, [("name", b"1")])
    odd = (b"k", b"v", 1_000, [(name(ODD), b"1")])
    data = batch([good, odd, good, odd, good], base_offset=10) + batch([good, odd], base_offset=15)
    for first in range(10, 15):
        assert [each[0] for each in read(data, implementation, first)] == list(range(first, 17))


@pytest.mark.parametrize("implementation", [MemoryRecords, _MemoryRecordsPy], ids=["compiled", "python"])
def test_offsets_that_compaction_removed_lead_to_no_other_batch(implementation):
    """The next offset may lie in front of the batch in hand."""
    odd = (b"k", b"v", 1_000, [(name(ODD), b"1")])
    data = b"".join(batch([odd, odd], base_offset=base) for base in (10, 20, 35))
    assert [each[0] for each in read(data, implementation, 11)] == [11, 20, 21, 35, 36]


def test_many_odd_batches_take_no_longer_each():
    """None is looked for from the beginning."""
    data = b"".join(batch([(b"k", b"v", 1_000, [(name(ODD), b"1")])], base_offset=base) for base in range(3_000))
    assert len(read(data)) == 3_000


def test_what_is_damaged_is_refused_all_the_same():
    data = bytearray(batch([(b"k", b"v", 1_000, [(name(ODD), b"1")])]))
    data[-1] ^= 1
    with pytest.raises(CorruptRecordException, match="CRC"):
        read(bytes(data))
    sizes = AnyNamesBatch(bytes(data[:-1]), 0)
    with pytest.raises(CorruptRecordException):
        list(sizes)


@pytest.mark.parametrize("implementation", [MemoryRecords, _MemoryRecordsPy], ids=["compiled", "python"])
@pytest.mark.parametrize("base", [0, -5])
def test_a_batch_whose_offsets_are_wrong_is_damaged(implementation, base):
    """It says that it ends before what was asked for, so it is not found again; offsets are in no checksum."""
    record = (b"k", b"v", 1_000, [(name(ODD), b"1")])
    data = bytearray(batch([record, record]))
    data[:8] = base.to_bytes(8, signed=True)
    with pytest.raises(Damaged, match="says that it ends at 10 or later") as caught:
        read(bytes(data), implementation, 10)
    assert (caught.value.first, caught.value.last) == (10, 10)


def test_the_good_records_of_a_large_batch_are_not_read_twice():
    """Stepped over, they cost neither objects nor much time."""
    many = [(b"k", b"v" * 20, 1_000, [("name", b"1")])] * 20_000
    data = batch([*many, (b"k", b"v", 1_000, [(name(ODD), b"1")])])
    there = iter(AnyNamesBatch(data, len(many)))
    tracemalloc.start()
    (last,) = there
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert last.offset == len(many)
