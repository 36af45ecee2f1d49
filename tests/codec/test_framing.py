"""The two framings, and the fingerprint that one of them carries."""

import pytest
from fastavro.schema import to_parsing_canonical_form
from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec.framing import header_of, label, single_object
from streamproc.codec.schemas import load
from streamproc.errors import RecordRejected
from tests.support.books import RUN_OBJECT_VERSIONS

EMPTY_FINGERPRINT = 0xC15D213AA4D7A795


def _crc_64_avro(text: str) -> int:
    """As the Avro specification writes it down."""
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = (entry >> 1) ^ (EMPTY_FINGERPRINT & -(entry & 1))  # noqa: PLW2901  the specification's own loop
        table.append(entry)
    found = EMPTY_FINGERPRINT
    for byte in text.encode():
        found = (found >> 8) ^ table[(found ^ byte) & 0xFF]
    return found


def test_the_fingerprint_of_the_specification():
    """A value published elsewhere, so that the oracle below is not merely our own opinion."""
    assert _crc_64_avro('"int"') == 0x7275D51A3F395C8F


@pytest.mark.parametrize("name", [*(f"run_object_{version}" for version in RUN_OBJECT_VERSIONS), "run_state"])
def test_single_object_encoding_carries_the_fingerprint_in_little_endian(name):
    schema = load(name)
    fingerprint = _crc_64_avro(to_parsing_canonical_form(schema.document))
    assert schema.header == b"\xc3\x01" + fingerprint.to_bytes(8, "little")


def test_a_label_shows_the_fingerprint_in_the_order_of_the_bytes_on_the_wire():
    header = single_object("0123456789abcdef")
    assert header == bytes.fromhex("c3010123456789abcdef")
    assert label(header) == "crc64:0123456789abcdef"


def test_a_label_shows_the_registrys_id_as_a_number():
    assert label(b"\x00\x00\x00\x01\x02") == "id:258"


@pytest.mark.parametrize(
    ("value", "header"),
    [
        (b"\xc3\x01" + bytes(8), b"\xc3\x01" + bytes(8)),
        (b"\xc3\x01" + b"f" * 8 + b"payload", b"\xc3\x01" + b"f" * 8),
        (b"\x00" + bytes(4), bytes(5)),
        (b"\x00\x00\x00\x00\x11payload", b"\x00\x00\x00\x00\x11"),
    ],
)
def test_the_header_is_what_stands_before_the_payload(value, header):
    assert header_of(value) == header


@pytest.mark.parametrize("value", [None, b""])
def test_no_value_is_a_bad_record(value):
    with pytest.raises(RecordRejected) as caught:
        header_of(value)
    assert caught.value.reason == "empty_value"


@pytest.mark.parametrize(
    "value",
    [b"\xc3", b"\xc3\x01", b"\xc3\x01" + bytes(7), b"\xc3\x02" + bytes(9), b"\x00", bytes(4), b"[1]", b"id=1"],
)
def test_neither_framing_is_a_bad_record(value):
    with pytest.raises(RecordRejected) as caught:
        header_of(value)
    assert caught.value.reason == "bad_framing"
    assert "run_1" not in str(caught.value)


@given(st.binary(min_size=1, max_size=20) | st.binary(max_size=10).map(lambda rest: b"\xc3\x01" + rest))
def test_any_bytes_have_a_header_or_a_reason(value):
    try:
        header = header_of(value)
    except RecordRejected as error:
        reason = error.reason
    else:
        assert len(header) == {0xC3: 10, 0: 5}.get(value[0], 1)  # JSON begins with its own header.
        assert value.startswith(header)
        return
    assert reason == "bad_framing"
