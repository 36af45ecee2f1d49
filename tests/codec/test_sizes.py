"""What a record takes, held against the batches that aiokafka builds."""

from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec.sizes import batch_bytes, headers_bytes
from streamproc.runtime.aio.headernames import AnyNamesBuilder

binary = st.none() | st.binary(max_size=300) | st.integers(8_180, 8_200).map(bytes)
names = st.binary(max_size=70).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


@given(binary, binary, st.lists(st.tuples(names, binary), max_size=70), st.integers(0, 2**62))
def test_a_batch_of_one_record_is_as_large_as_it_is_said_to_be(key, value, headers, timestamp):
    builder = AnyNamesBuilder(1_000, 0)
    builder.append(timestamp=timestamp, key=key, value=value, headers=headers)
    assert batch_bytes(key, value, headers) == len(builder._build())


def test_names_count_in_bytes():
    assert headers_bytes([("\u00e9", b"12"), ("\udcff", None)]) == 2 + 2 + 1
