"""A compressed batch may become so large and no larger, whatever the codec; what is within the limit is as it was."""

import random

import aiokafka.codec
import pytest
from aiokafka.record._crecords import default_records

from streamproc.runtime.aio.decompression import TooLarge, limit_decompression
from streamproc.runtime.aio.patches import install

LIMIT = 4 << 20
ENCODE = {
    "gzip": aiokafka.codec.gzip_encode,
    "snappy": aiokafka.codec.snappy_encode,
    "lz4": aiokafka.codec.lz4_encode,
    "zstd": aiokafka.codec.zstd_encode,
}


@pytest.fixture(autouse=True)
def _limit():
    install()
    limit_decompression(LIMIT)
    yield
    limit_decompression(64 << 20)


def _decode(codec, payload):
    """As aiokafka's compiled reader calls it."""
    return getattr(default_records, f"{codec}_decode")(memoryview(payload) if codec == "gzip" else bytes(payload))


@pytest.mark.parametrize("codec", ENCODE)
@pytest.mark.parametrize("size", [0, 1, 1_000, 1 << 20, LIMIT])
def test_a_batch_within_the_limit_is_as_it_was(codec, size):
    data = random.Random(size).randbytes(size // 2) + bytes(size - size // 2)
    assert _decode(codec, ENCODE[codec](data)) == data


@pytest.mark.parametrize("codec", ENCODE)
def test_a_batch_beyond_the_limit_is_refused(codec):
    with pytest.raises(TooLarge, match=rf"{codec}.*4,194,304 bytes"):
        _decode(codec, ENCODE[codec](bytes(LIMIT + 1)))


def test_a_claimed_length_sets_no_memory_aside():
    """Raw snappy begins with the length of what comes out."""
    with pytest.raises(TooLarge):
        _decode("snappy", b"\xff\xff\xff\xff\x0f" + b"\x00" * 20)


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_a_batch_that_is_cut_off_is_refused(codec):
    payload = ENCODE[codec](random.Random(1).randbytes(1_000))
    with pytest.raises(TooLarge, match="damaged"):
        _decode(codec, payload[: len(payload) // 2])


def test_raw_snappy_without_java_framing_is_read():
    data = b"abc" * 1_000
    assert _decode("snappy", aiokafka.codec.snappy_encode(data, xerial_compatible=False)) == data
