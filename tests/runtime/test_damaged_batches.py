"""A batch that cannot be read is told by its offsets, whatever is wrong with it; what lies before it comes first."""

import struct
import tracemalloc

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec.sizes import headers_count
from streamproc.runtime.aio import fetched
from streamproc.runtime.aio.decompression import TooLarge, limit_decompression
from streamproc.runtime.aio.fetched import FetchedPartition, Heard, Records, Unpacked
from streamproc.runtime.aio.headernames import Damaged, RereadableBatches
from streamproc.runtime.aio.patches import install
from streamproc.runtime.ports import TopicPartition
from tests.support.native import needs_native

PLACE = TopicPartition("t", 0)
BOTH = pytest.mark.parametrize(
    "implementation",
    [MemoryRecords, _MemoryRecordsPy, pytest.param(None, marks=needs_native)],
    ids=["compiled", "python", "native"],
)
CRC_AT, COVERED_FROM, ATTRIBUTES_AT, RECORDS_AT = 17, 21, 21, 61


def batch(base_offset, count=3, size=20, codec=0):
    """The bytes of a batch, as a broker returns it."""
    builder = BatchBuilder(50_000_000, codec)
    for _ in range(count):
        assert builder.append(timestamp=1_000, key=b"k", value=bytes(size)) is not None
    built = bytearray(builder._build())
    built[:8] = base_offset.to_bytes(8)
    return built


def with_crc(data):
    """The batch with a checksum that is right for what is in it."""
    struct.pack_into(">I", data, CRC_AT, calc_crc32c(bytes(data[COVERED_FROM:])))
    return data


@pytest.fixture(autouse=True)
def _patched():
    install()


class Fetch:
    """One fetch of a partition, as the fetcher has it."""

    def __init__(self, *batches, implementation=MemoryRecords, start=0):
        self.partition, data = FetchedPartition(PLACE, start, Heard()), b"".join(map(bytes, batches))
        if implementation is None:
            self.partition._records = Unpacked(PLACE, data, [], start)
        else:
            answer = RereadableBatches(data, implementation)
            assert answer.has_next()
            self.partition._records = Records(PLACE, answer, [], start)

    def has_more(self):
        return self.partition.has_news

    def records(self, max_records=100_000):
        """Return what comes next."""
        return self.partition.take(max_records)

    def offsets(self, max_records=100_000):
        """Return the offsets of what comes next."""
        return [record.offset for record in self.records(max_records)]

    def damage(self):
        """Return the offsets before what cannot be read, those of it, and why; None for both where all can be."""
        before = []
        while self.has_more():
            try:
                before += self.offsets()
            except Damaged as damage:
                assert not self.has_more(), "the next call fetches it once more"
                return before, (damage.first, damage.last), damage.why
        return before, None, None


@BOTH
@pytest.mark.parametrize("broken", ["checksum", "codec", "records", "too large"])
def test_what_lies_in_front_comes_first_and_then_the_offsets_of_the_batch(implementation, broken):
    bad = batch(10, codec=4)
    if broken == "checksum":
        bad[RECORDS_AT] ^= 1
    elif broken == "codec":
        bad[ATTRIBUTES_AT + 1] |= 7
        with_crc(bad)
    elif broken == "records":
        bad = batch(10)
        bad[RECORDS_AT] = 0x7F
        with_crc(bad)
    else:
        limit_decompression(1_000)
        bad = batch(10, size=1_000, codec=4)
    try:
        fetch = Fetch(batch(4), batch(7), bad, batch(13), implementation=implementation, start=5)
        before, span, why = fetch.damage()
    finally:
        limit_decompression(64 << 20)
    assert (before, span, fetch.partition.position) == ([5, 6, 7, 8, 9], (10, 12), 10)
    assert isinstance(why, TooLarge) == (broken == "too large")


@BOTH
def test_records_of_the_batch_itself_that_can_be_read_are(implementation):
    """Then it begins at the first that cannot."""
    bad = batch(10, count=4)
    at = RECORDS_AT
    for _ in range(2):
        at += 1 + bad[at] // 2  # A length is a zigzag varint of one byte here.
    bad[at] = 0x7F
    fetch = Fetch(with_crc(bad), batch(14), implementation=implementation, start=10)
    assert fetch.damage()[:2] == ([10, 11], (12, 13))
    assert fetch.partition.position == 12


@BOTH
@pytest.mark.parametrize("claims", [-1, -(2**31), 10**9, 1])
def test_a_batch_that_lies_about_its_last_offset_ends_before_the_next_one(implementation, claims):
    bad = batch(10)
    struct.pack_into(">i", bad, 23, claims)
    _, (first, last), _ = Fetch(batch(7), bad, batch(13), implementation=implementation, start=7).damage()
    assert first == 10
    assert 10 <= last <= 12


@BOTH
@pytest.mark.parametrize("length", [2**31 - 1, 5_000, -5])
def test_a_batch_that_lies_about_its_length_is_refused_and_not_stepped_over(implementation, length):
    """Aiokafka would go on with the next offset, in the middle of it."""
    bad = batch(10)
    struct.pack_into(">i", bad, 8, length)
    fetch = Fetch(bad, implementation=implementation, start=10)
    before, (first, last), _ = fetch.damage()
    assert (before, first) == ([], 10)
    assert last >= first


@given(st.integers(0, 10**6), st.integers(1, 255), st.sampled_from([MemoryRecords, _MemoryRecordsPy]))
def test_whatever_byte_is_wrong_nothing_else_is_ever_raised(where, change, implementation):
    """A checksum does not cover the first offset, so what is read may be elsewhere; a span is one all the same."""
    batches = [batch(0), batch(3), batch(6)]
    data = bytearray(b"".join(batches))
    data[where % len(data)] ^= change
    fetch = Fetch(data, implementation=implementation)
    _, span, _ = fetch.damage()
    assert span is None or span[1] >= span[0]


@BOTH
def test_no_more_than_so_many_bytes_come_in_one_go(implementation, monkeypatch):
    """Compressed, they fit a fetch by the hundred."""
    monkeypatch.setattr(fetched, "PART_BYTES", 25_000)
    fetch = Fetch(batch(0, count=10, size=10_000, codec=3), implementation=implementation)
    assert [fetch.offsets(100) for _ in range(4)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert not fetch.has_more()


def with_headers(*counts, codec=4, content=b"", name=""):
    """The bytes of a batch of records with so many headers each."""
    builder = BatchBuilder(50_000_000, codec)
    for count in counts:
        assert builder.append(timestamp=1_000, key=b"k", value=b"v", headers=[(name, content)] * count) is not None
    return bytearray(builder._build())


@pytest.fixture
def headers_made():
    """Return how many headers aiokafka made objects of, as far as its memory tells."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1] // 56
    tracemalloc.stop()


@BOTH
@pytest.mark.parametrize("codec", [1, 2, 3, 4], ids=["gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("count", [10_001, 1_000_000])
def test_too_many_headers_are_counted_and_left_out(implementation, codec, count, headers_made):
    """A kilobyte may hold millions. The record comes all the same, and so does what lies around it."""
    limit_decompression(64 << 20)
    data = with_headers(2, count, 3, codec=codec)
    fetch = Fetch(data, batch(3), implementation=implementation)
    found = []
    while fetch.has_more():
        found += fetch.records()
    assert [record.offset for record in found] == [0, 1, 2, 3, 4, 5]
    assert found[0].headers == (("", b""),) * 2
    assert (headers_count(found[1].headers), len(found[1].headers)) == (count, 1)
    assert (found[1].key, found[1].value, found[1].timestamp) == (b"k", b"v", 1_000)
    assert found[2].headers == (("", b""),) * 3
    assert headers_made() < 300_000


@BOTH
def test_as_many_headers_as_are_taken_come_as_they_are(implementation):
    (record, _) = Fetch(with_headers(10_000, 0), implementation=implementation).records()
    assert record.headers == (("", b""),) * 10_000


@BOTH
def test_reading_goes_on_in_the_middle_of_a_batch_with_too_many_headers(implementation):
    """As after a restart."""
    data = with_headers(0, 100_000, 0, 100_000, 0)
    for start in range(5):
        fetch, found = Fetch(data, implementation=implementation, start=start), []
        while fetch.has_more():
            found += fetch.offsets()
        assert found == list(range(start, 5))


@BOTH
@pytest.mark.parametrize(("name", "content"), [("", bytes(10_000)), ("n" * 10_000, b"")], ids=["value", "name"])
def test_headers_count_for_what_comes_in_one_go(implementation, monkeypatch, name, content):
    monkeypatch.setattr(fetched, "PART_BYTES", 25_000)
    fetch = Fetch(with_headers(*[1] * 5, name=name, content=content), implementation=implementation)
    assert [fetch.offsets(100) for _ in range(2)] == [[0, 1, 2], [3, 4]]


@BOTH
def test_headers_of_nothing_count_as_well(implementation, monkeypatch):
    """Each is a pair of objects; those that were left out would have been."""
    monkeypatch.setattr(fetched, "PART_BYTES", 25_000)
    fetch = Fetch(with_headers(100, 100, 100, 200_000, 0), implementation=implementation)
    assert [fetch.offsets(100) for _ in range(3)] == [[0, 1], [2, 3], [4]]


def test_records_come_as_many_as_are_asked_for():
    fetch = Fetch(batch(0, count=5))
    assert [fetch.offsets(2), fetch.offsets(1), fetch.offsets(2), fetch.offsets(2)] == [[0, 1], [2], [3, 4], []]
