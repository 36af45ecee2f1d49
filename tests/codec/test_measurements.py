"""run-measurements both ways: what the windows sum is what the fold measured."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streamproc.codec.encode import Source
from streamproc.codec.framing import SINGLE_OBJECT_BYTES
from streamproc.codec.measurements import MeasurementEncoder, decode_measurements
from streamproc.codec.schemas import load
from streamproc.core.measure import Histogram, Mark, Measurement, Totals
from tests.support.metrics_oracle import read
from tests.support.runobjects import Arrived, encode
from tests.support.sums import marks, measurements

ENCODER = MeasurementEncoder(Source("app", "run-events", 3))
WALL_MS = 1_717_200_000_123
SCHEMA = load("run_measurement")
MEASUREMENT = Measurement(
    3, "asst_1", None, 1_717_200_000_000, Totals(arrivals=1, created=1, queue_wait=Histogram(5, {"500": 1}))
)
MARK = Mark(3, 7, idle=True, seen_at=8, sent_at=9)


def _record(message, offset=0) -> Arrived:
    key, value, timestamp, headers = message
    return Arrived(offset, value, timestamp, key, headers)


@given(st.lists(measurements, max_size=4))
def test_measurements_come_back_as_they_were(found):
    records = [_record(message) for message in ENCODER.measurements(found, 1, WALL_MS)]
    assert decode_measurements(records) == (found, [])


@given(marks)
def test_marks_come_back_as_they_were(mark):
    """But for a clock that is ahead of the broker's: a watermark never goes back, so it must not run ahead."""
    expected = replace(mark, sent_at=min(mark.sent_at, WALL_MS))
    assert decode_measurements([_record(ENCODER.mark(mark, 1, WALL_MS))]) == ([expected], [])


def test_the_order_of_records_is_kept():
    """A mark says that what stands before it is all there was."""
    messages = [*ENCODER.measurements([MEASUREMENT, MEASUREMENT], 1, WALL_MS), ENCODER.mark(MARK, 1, WALL_MS)]
    assert decode_measurements(list(map(_record, messages))).arrivals == [MEASUREMENT, MEASUREMENT, MARK]


@given(measurements)
def test_the_key_is_a_json_array_of_assistant_and_model(measurement):
    """rules.md 2: what the partition is made of."""
    (key, *_) = ENCODER.measurements([measurement], 1, WALL_MS)[0]
    assert json.loads(key) == [measurement.assistant_id, measurement.model]


def test_headers_and_ids():
    """rules.md 22: the source's place, the commit and the number in it; a mark is told apart, and has no key."""
    messages = ENCODER.measurements([MEASUREMENT, MEASUREMENT], 12, WALL_MS)
    assert [dict(headers)["ce_id"] for *_, headers in messages] == [b"run-events:3:12:0", b"run-events:3:12:1"]
    key, _, timestamp, headers = ENCODER.mark(MARK, 12, WALL_MS)
    assert (key, timestamp) == (None, WALL_MS)
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_type": b"streamproc.run.measurement",
        "ce_source": b"/streamproc/app/measurements",
        "ce_id": b"run-events:3:12:mark",
        "ce_time": b"2024-06-01T00:00:00.123Z",
        "content-type": b"application/avro",
        "streamproc.schema": SCHEMA.label.encode(),
    }


def test_a_reader_of_the_schema_sees_what_was_measured():
    """By the reference decoder, from the schema's text alone."""
    found = read(_record(ENCODER.measurements([MEASUREMENT], 1, WALL_MS)[0]), "run_measurement")
    assert (found["source_partition"], found["assistant_id"], found["model"]) == (3, "asst_1", None)
    assert found["totals"]["queue_wait"] == {"sum_ms": 5, "buckets": {"500": 1}}
    assert found["mark"] is None


NOBODYS = {
    "a null": (None, "empty_value"),
    "nothing": (b"", "empty_value"),
    "garbage": (b"\x07garbage", "bad_framing"),
    "another schema": (load("run_metrics").header + b"\x00" * 30, "unknown_schema"),
    "cut short": (ENCODER.measurements([MEASUREMENT], 1, 0)[0][1][:-3], "undecodable"),
    "neither": (SCHEMA.header + encode(SCHEMA, {"source_partition": 1}), "undecodable"),
    "no start": (
        SCHEMA.header
        + encode(
            SCHEMA,
            {
                "source_partition": 1,
                "totals": read(_record(ENCODER.measurements([MEASUREMENT], 1, 0)[0]), "run_measurement")["totals"],
            },
        ),
        "undecodable",
    ),
}


@pytest.mark.parametrize("name", NOBODYS)
def test_what_is_no_measurement_is_refused_with_a_reason(name):
    """The others are taken."""
    value, reason = NOBODYS[name]
    good = _record(ENCODER.mark(MARK, 1, WALL_MS))
    foreign = Arrived(1, value)
    found = decode_measurements([good, foreign, good])
    assert found.arrivals == [MARK, MARK]
    assert [(rejection.record, rejection.reason) for rejection in found.rejections] == [(foreign, reason)]


@given(
    st.one_of(measurements.map(lambda found: ENCODER.measurements([found], 1, 0)[0][1]), st.just(b"")),
    st.binary(),
    st.data(),
)
def test_damaged_bytes_are_refused_or_are_another_measurement(value, noise, data):
    """Nothing else is raised, whatever the bytes."""
    at = data.draw(st.integers(0, len(value)))
    damaged = value[:at] + noise + value[data.draw(st.integers(at, len(value))) :]
    found = decode_measurements([Arrived(0, damaged), Arrived(1, SCHEMA.header + noise)])
    assert len(found.arrivals) + len(found.rejections) == 2


@pytest.mark.parametrize("field", ["watermark", "seen_at", "sent_at"])
@pytest.mark.parametrize("value", [-1, 253_402_300_800_000, 2**63 - 1])
def test_times_that_cannot_be_are_refused(field, value):
    """A watermark of the year 10,000 would close every window to come."""
    mark = {"watermark": 1, "idle": False, "seen_at": 1, "sent_at": 1, field: value}
    record = Arrived(0, SCHEMA.header + encode(SCHEMA, {"source_partition": 0, "mark": mark}))
    assert [rejection.reason for rejection in decode_measurements([record]).rejections] == ["undecodable"]


def test_the_header_is_the_schemas_fingerprint():
    (_, value, *_) = ENCODER.mark(MARK, 1, WALL_MS)
    assert value[:SINGLE_OBJECT_BYTES] == SCHEMA.header


def test_what_is_larger_than_any_of_ours_is_refused():
    """Anybody may write into the topic: what is kept of it must go into the topics behind."""
    forged = [Measurement(3, "a" * size, None, 0, MEASUREMENT.totals) for size in (1_000_000, 120_000, 257, 256)]
    found = decode_measurements([_record(message) for message in ENCODER.measurements(forged, 1, WALL_MS)])
    assert [rejection.reason for rejection in found.rejections] == ["undecodable"]
    assert [each.assistant_id for each in found.arrivals] == ["other", "other", "a" * 256], "as the fold names them"
