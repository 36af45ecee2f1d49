"""run-alerts both ways: what is pushed is what was decided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec.alerts import AlertEncoder, decode_alert
from streamproc.codec.encode import OutputSource
from streamproc.codec.schemas import load
from streamproc.core.alerts import Alert, AlertState, Severity
from streamproc.errors import RecordRejected
from tests.support.metrics_oracle import alerts as read_alerts
from tests.support.metrics_oracle import read, said
from tests.support.runobjects import Arrived, counts, names, texts
from tests.support.sums import instants, partitions

ENCODER = AlertEncoder("app")
WALL_MS = 1_717_200_000_000
found_alerts = st.builds(
    Alert,
    alert_id=texts,
    kind=texts,
    severity=st.sampled_from(Severity),
    state=st.sampled_from(AlertState),
    since=instants,
    decided_at=instants,
    summary=texts,
    run_id=names,
    thread_id=names,
    assistant_id=names,
    model=names,
    status=names,
    deadline_at=st.none() | instants,
    ends_at=st.none() | instants,
    source_topic=names,
    source_partition=st.none() | partitions,
    source_offset=st.none() | counts,
)
ALERT = Alert(
    "stuck_queued:run_1:7",
    "stuck_queued",
    Severity.WARNING,
    AlertState.FIRING,
    1,
    1_717_200_000_123,
    "…",
    run_id="run_1",
    source_offset=7,
)


def _record(message) -> Arrived:
    key, value, timestamp, headers = message
    return Arrived(0, value, timestamp, key, headers)


@given(found_alerts)
def test_alerts_come_back_as_they_were(alert):
    """Also to a reader that has only the schema."""
    record = _record(*ENCODER.messages([alert], WALL_MS))
    assert decode_alert(record) == alert
    assert read_alerts([record]) == [said(alert)]


@given(st.lists(found_alerts, min_size=1, max_size=3), st.sampled_from((None, OutputSource("app", "run-events", 3))))
def test_many_are_encoded_as_few_are(alerts, source):
    """Byte for byte; in the same order."""
    alone = [message for alert in alerts for message in ENCODER.messages([alert], WALL_MS, source)]
    assert ENCODER.messages(alerts * 30, WALL_MS, source) == alone * 30


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_source_of_the_runs_is_told(count):
    """The public contract: topic, partition, offset; nothing where there is no source."""
    names = ("source_topic", "source_partition", "source_offset")
    for source, expected in ((OutputSource("app", "run-events", 3), ("run-events", 3, 7)), (None, (None, None, 7))):
        found = [read(_record(each), "run_alert") for each in ENCODER.messages([ALERT] * count, WALL_MS, source)]
        assert [tuple(each[name] for name in names) for each in found] == [expected] * count


def test_the_key_is_the_run_else_the_alert():
    """rules.md 20: so that what is about a run stays in order."""
    other = Alert("stream_silent:x:1", "stream_silent", Severity.CRITICAL, AlertState.FIRING, 1, 1, "…")
    assert [key for key, *_ in ENCODER.messages([ALERT, other], WALL_MS)] == [b"run_1", b"stream_silent:x:1"]


def test_headers_name_alert_and_state():
    """rules.md 22; ce_time is when it was decided, the record's timestamp never ahead of the clock."""
    _, _, timestamp, headers = ENCODER.messages([ALERT], WALL_MS)[0]
    assert timestamp == WALL_MS
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_type": b"streamproc.run.alert",
        "ce_source": b"/streamproc/app/alerts",
        "ce_id": b"stuck_queued:run_1:7:firing",
        "ce_time": b"2024-06-01T00:00:00.123Z",
        "content-type": b"application/avro",
        "streamproc.schema": load("run_alert").label.encode(),
    }


def test_it_is_written_as_the_contract_names_it():
    """State and severity in small letters."""
    found = read(_record(*ENCODER.messages([ALERT], WALL_MS)), "run_alert")
    assert (found["state"], found["severity"], found["kind"]) == ("firing", "warning", "stuck_queued")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty_value"),
        (b"\x07garbage", "bad_framing"),
        (load("run_metrics").header + b"\x00" * 40, "unknown_schema"),
        (load("run_alert").header + b"\x00", "undecodable"),
    ],
)
def test_what_is_no_alert_is_refused_with_a_reason(value, reason):
    with pytest.raises(RecordRejected) as refused:
        decode_alert(Arrived(0, value))
    assert refused.value.reason == reason


@given(found_alerts, st.binary(max_size=20), st.data())
def test_damaged_bytes_are_refused_or_are_another_alert(alert, noise, data):
    """Nothing else is raised."""
    _, value, _, _ = ENCODER.messages([alert], WALL_MS)[0]
    at = data.draw(st.integers(0, len(value or b"")))
    try:
        decode_alert(Arrived(0, (value or b"")[:at] + noise))
    except RecordRejected:
        return
