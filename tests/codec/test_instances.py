"""run-instances both ways: what an instance says is what is read."""

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins
from msgspec.structs import replace

from streamproc.codec.instances import Instance, InstanceEncoder, Partition, decode_instance
from streamproc.codec.schemas import load
from streamproc.errors import RecordRejected
from tests.support.instances import INSTANCE
from tests.support.metrics_oracle import read
from tests.support.runobjects import Arrived

ENCODER = InstanceEncoder("app")
longs, texts = st.integers(0, 2**62), st.text(max_size=20)
maybe = st.none()
partitions = st.builds(
    Partition,
    topic=texts,
    partition=st.integers(0, 2**31 - 1),
    state=texts,
    reason=maybe | texts,
    detail=maybe | texts,
    since=maybe | longs,
    lag_records=maybe | longs,
    lag_seconds=maybe | st.floats(allow_nan=False),
    offset=maybe | longs,
    last_commit_at=maybe | longs,
    restore_remaining=maybe | longs,
    restore_total=maybe | longs,
)


def _arrived(message, **changed):
    key, value, timestamp, headers = message
    return Arrived(0, **({"value": value, "timestamp": timestamp, "key": key, "headers": headers} | changed))


@given(st.lists(partitions, max_size=3), texts)
def test_what_is_read_is_what_was_written(found, message):
    """Partitions and all."""
    instance = replace(INSTANCE, partitions=found, message=message)
    assert decode_instance(_arrived(ENCODER.report(instance))) == instance


def test_a_record_says_all_of_it():
    """The public contract; read by a reader that has only the schema."""
    key, value, timestamp, _ = ENCODER.report(INSTANCE)
    assert read(Arrived(0, value, timestamp, key), "run_instance") == to_builtins(INSTANCE)
    assert (key, timestamp) == (b"host-7-abc", INSTANCE.reported_at)


def test_the_schema_has_the_structs_fields_and_times_that_others_know_as_such():
    """In their order; who reads with logical types gets times of day."""
    document = load("run_instance").document
    [items] = [field["type"]["items"] for field in document["fields"] if field["name"] == "partitions"]
    assert [field["name"] for field in document["fields"]] == list(Instance.__struct_fields__)
    assert [field["name"] for field in items["fields"]] == list(Partition.__struct_fields__)
    assert fastavro.parse_schema(document)
    times = {field["name"] for part in (document, items) for field in part["fields"] if "millis" in str(field["type"])}
    assert {"started_at", "reported_at", "since", "last_commit_at"} <= times


def test_headers_name_the_instance_and_the_time():
    """rules.md 22: each report has an id of its own, the same for a record that is made again."""
    headers = dict(ENCODER.report(INSTANCE)[3])
    assert headers["ce_id"] == b"host-7-abc:%d" % INSTANCE.reported_at
    assert headers["ce_type"] == b"streamproc.run.instance"
    assert headers["ce_source"] == b"/streamproc/app/instances"
    assert headers["streamproc.schema"] == load("run_instance").label.encode()


def test_an_end_is_a_null_under_the_same_key():
    """The topic is compacted: the instance goes from it."""
    key, value, timestamp, headers = ENCODER.tombstone("host-7-abc", 5)
    assert (key, value, timestamp, dict(headers)["ce_id"]) == (b"host-7-abc", None, 5, b"host-7-abc:5")


def test_a_registrys_framing_is_read_without_it():
    """rules.md 23: by the header that names the schema."""
    framed = InstanceEncoder("app", {"run_instance": b"\x00\x00\x00\x00\x07"}).report(INSTANCE)
    assert framed[1][:5] == b"\x00\x00\x00\x00\x07"
    assert decode_instance(_arrived(framed)) == INSTANCE


@pytest.mark.parametrize("value", [b"", b"[]", ENCODER.report(INSTANCE)[1][:14], b"\xc3\x01" + bytes(8)])
def test_what_is_none_is_rejected(value):
    with pytest.raises(RecordRejected):
        decode_instance(Arrived(0, value))
