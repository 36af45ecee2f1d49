"""Outputs on the wire: fastavro reads back what was written, and the headers are complete and repeatable."""

import io
from datetime import UTC, datetime

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.codec.schemas import load
from streamproc.core.model import Transition
from tests.support.runobjects import counts, instants, longs, names, runs, texts

SOURCE = OutputSource("app", "run-events", 3)
ENCODER = OutputEncoder(SOURCE)
WALL_MS = 1_800_000_000_000
CONTENT = ("ce_specversion", "ce_type", "ce_source", "content-type", "streamproc.schema", "ce_id", "ce_time")
transitions = st.builds(
    Transition,
    run_id=texts,
    thread_id=names,
    assistant_id=names,
    model=names,
    from_status=names,
    to_status=texts,
    occurred_at=instants,
    in_from_ms=st.none() | longs,
    expected=st.booleans(),
    outcome=names,
    error_code=names,
    offset=counts,
)


def _read(name, value):
    """Read with fastavro; times as the numbers that they are on the wire."""
    schema = load(name)
    assert value.startswith(schema.header)
    stream = io.BytesIO(value[len(schema.header) :])
    found = fastavro.schemaless_reader(stream, schema.parsed, None)
    assert stream.read() == b""
    return found


@given(st.lists(transitions, max_size=4))
def test_a_transition_reads_back_as_it_was(changes):
    messages = ENCODER.transitions(changes, WALL_MS)
    assert len(messages) == len(changes)
    for (key, value, timestamp, _), change in zip(messages, changes, strict=True):
        fields = {name: getattr(change, name) for name in Transition.__struct_fields__ if name != "offset"}
        origin = {"source_topic": "run-events", "source_partition": 3, "source_offset": change.offset}
        assert _read("run_transition", value) == fields | origin
        assert key == change.run_id.encode()
        assert timestamp == min(change.occurred_at, WALL_MS)


@given(st.lists(runs, max_size=4))
def test_a_state_reads_back_as_it_was_and_its_event_as_it_came(states):
    messages = ENCODER.states(states, WALL_MS)
    assert len(messages) == len(states)
    for (key, value, timestamp, _), run in zip(messages, states, strict=True):
        fields = {name: getattr(run, name) for name in run.__struct_fields__ if name not in {"offset", "payload"}}
        origin = {"source_topic": "run-events", "source_partition": 3, "source_offset": run.offset}
        lists = {name: list(fields[name]) for name in ("required_tools", "alerts")}
        usage = fields["usage"] and dict(
            zip(("prompt_tokens", "completion_tokens", "total_tokens"), fields["usage"], strict=True)
        )
        found = _read("run_state", value)
        assert found == fields | origin | lists | {"usage": usage}
        assert found["event"] == run.event
        assert key == run.run_id.encode()
        assert timestamp == min(run.status_since, WALL_MS)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 8_191, 8_192, 1_048_576])
@given(run=runs)
def test_an_event_of_any_size_keeps_its_bytes(size, run):
    """Its length is written by hand: the borders between one byte of length and the next."""
    run.event = bytes(range(256)) * (size // 256) + bytes(size % 256)
    [message] = ENCODER.states([run], WALL_MS)
    assert _read("run_state", message[1])["event"] == run.event


def test_nothing_in_is_nothing_out():
    assert [*ENCODER.transitions([], WALL_MS), *ENCODER.states([], WALL_MS)] == []
    assert ENCODER.tombstones({}, WALL_MS, 1, WALL_MS) == []


# CloudEvents (rules.md 22)


def _headers(message):
    headers = message[3]
    assert type(headers) is list, "aiokafka's batch builder takes nothing else"
    assert tuple(name for name, _ in headers) == CONTENT
    assert all(type(value) is bytes for _, value in headers)
    return {name: value.decode() for name, value in headers}


@given(transitions, runs)
def test_headers_are_complete_and_the_id_is_made_from_the_place(change, run):
    [moved], [state] = ENCODER.transitions([change], WALL_MS), ENCODER.states([run], WALL_MS)
    for message, kind, stream, name, offset in (
        (moved, "streamproc.run.transition", "transitions", "run_transition", change.offset),
        (state, "streamproc.run.state", "state", "run_state", run.offset),
    ):
        headers = _headers(message)
        assert headers["ce_specversion"] == "1.0"
        assert headers["ce_type"] == kind
        assert headers["ce_source"] == f"/streamproc/app/{stream}"
        assert headers["content-type"] == "application/avro"
        assert headers["streamproc.schema"] == load(name).label
        assert headers["ce_id"] == f"run-events:3:{offset}"


@given(st.lists(runs, max_size=3), st.lists(transitions, max_size=3))
def test_the_same_outputs_are_the_same_bytes_from_another_worker(states, changes):
    other = OutputEncoder(SOURCE)
    assert [*other.states(states, WALL_MS)] == [*ENCODER.states(states, WALL_MS)]
    assert [*other.transitions(changes, WALL_MS)] == [*ENCODER.transitions(changes, WALL_MS)]


@given(instants, transitions)
def test_the_time_is_rfc_3339_with_milliseconds(instant, change):
    fields = {name: getattr(change, name) for name in Transition.__struct_fields__}
    [message] = ENCODER.transitions([Transition(**{**fields, "occurred_at": instant})], WALL_MS)
    shown = datetime.strptime(_headers(message)["ce_time"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert round(shown.timestamp() * 1000) == instant


@pytest.mark.parametrize(
    ("instant", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_717_200_000_007, "2024-06-01T00:00:00.007Z"),
        (2**62, "9999-12-31T23:59:59.999Z"),
        (-1, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_that_rfc_3339_cannot_show_is_the_nearest_that_it_can(instant, shown):
    """Kafka lets a producer set any timestamp; it must not stop the stream."""
    [message] = ENCODER.tombstones({"run_1": 5}, instant, 9, WALL_MS)
    assert _headers(message)["ce_time"] == shown


def test_a_tombstone_is_a_null_whose_id_has_the_commits_sequence_number():
    """The clock causes it: the place of the last event alone would repeat that event's id."""
    messages = ENCODER.tombstones({"run_1": 5, "run_2": 8}, 1_000, 42, 900)
    assert [message[:3] for message in messages] == [(b"run_1", None, 900), (b"run_2", None, 900)]
    assert [_headers(message)["ce_id"] for message in messages] == ["run-events:3:5:42", "run-events:3:8:42"]
    assert _headers(messages[0])["ce_time"] == "1970-01-01T00:00:01.000Z"
