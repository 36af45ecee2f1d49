"""run-state back to Runs: what a restart starts from is what was committed (rules.md 23)."""

import json
from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert

from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.codec.framing import SINGLE_OBJECT_BYTES
from streamproc.codec.runstate import VERSIONS, decode_runs
from streamproc.codec.schemas import load
from streamproc.core.model import Run
from streamproc.errors import ConfigError
from tests.support.fixtures import DIRECTORY
from tests.support.runobjects import Arrived, runs

ENCODER = OutputEncoder(OutputSource("app", "run-events", 0))
WALL_MS = 1_800_000_000_000
RUN = Run(
    *("run_1", "thread_1", "asst_1", "gpt-4o", "completed", 3, 16, 1, 4, 1, 2, 3, 4, 5, (1, 2, 3), None, ("look",), ()),
    *(17, "crc64:0123456789abcdef", b"event bytes"),
)


def _record(message, offset=0):
    key, value, timestamp, headers = message
    return Arrived(offset, value, timestamp, key, headers)


def _committed(run, offset=0):
    [message] = ENCODER.states([run], WALL_MS)
    return _record(message, offset)


@given(st.lists(runs, max_size=5))
def test_what_was_encoded_is_restored(states):
    records = [_record(message, offset) for offset, message in enumerate(ENCODER.states(states, WALL_MS))]
    assert decode_runs(records) == [(run.run_id, run) for run in states]


def test_a_tombstone_restores_to_nothing_in_its_place():
    gone = _record(ENCODER.tombstones({"run_2": 5}, 1, 1, 1)[0], 1)
    assert decode_runs([_committed(RUN, 0), gone, _committed(RUN, 2)]) == [
        ("run_1", RUN),
        ("run_2", None),
        ("run_1", RUN),
    ]


def test_texts_that_many_runs_share_are_one_object():
    """Millions of runs share few statuses and models."""
    [(_, first), (_, second)] = decode_runs([_committed(RUN, 0), _committed(RUN, 1)])
    assert first.model is second.model
    assert first.status is second.status


WRITTEN = {
    "run_state": "run_state_v2",
    "run_state_v1": "run_state_v1",
}
"""The records of each version, as the release of the time wrote them; see tests/fixtures."""


def test_no_version_is_without_records():
    """rules.md 23: a version that is added brings a fixture of what it writes, which stays."""
    assert WRITTEN.keys() == set(VERSIONS)


@pytest.mark.parametrize("name", VERSIONS)
def test_records_of_every_version_ever_written_are_restored(name):
    """rules.md 23: in both framings; what a version lacks has its default."""
    written = json.loads((DIRECTORY / f"{WRITTEN[name]}.json").read_text(encoding="utf-8"))["records"]
    records = [
        Arrived(offset, b64decode(each["value"]), 0, b64decode(each["key"]), _headers(each))
        for offset, each in enumerate(written)
    ]
    assert {dict(record.headers)["streamproc.schema"].decode() for record in records} == {load(name).label}
    assert {each["framing"] for each in written} == {"single-object", "confluent"}
    expected = [(each["run"]["run_id"], _run(each["run"])) for each in written]
    assert decode_runs(records) == expected


def _headers(written):
    return [(header, b64decode(value)) for header, value in written["headers"]]


def _run(fields):
    values = {**fields, "event": b64decode(fields["event"])}
    return convert([values[name] for name in Run.__struct_fields__ if name in values], Run)


def test_the_newest_version_is_read_in_both_framings_without_a_registry():
    """A registry's id says nothing here: the header names the schema."""
    record = _committed(RUN)
    assert dict(record.headers)["streamproc.schema"].decode() == load(VERSIONS[0]).label
    confluent = record._replace(value=b"\x00\x00\x00\x00\x11" + record.value[SINGLE_OBJECT_BYTES:])
    assert decode_runs([record, confluent._replace(offset=1)]) == [("run_1", RUN), ("run_1", RUN)]


def test_without_a_header_the_framing_names_the_schema():
    assert decode_runs([_committed(RUN)._replace(headers=[])]) == [("run_1", RUN)]


@pytest.mark.parametrize(
    "changed",
    [
        {"headers": [("streamproc.schema", b"crc64:ffffffffffffffff")]},
        {"headers": [], "value": b"\xc3\x01" + b"\xff" * 8 + b"rest"},
        {"headers": [], "value": b"\x00\x00\x00\x00\x11rest"},
        {"headers": [], "value": b"{}"},
    ],
)
def test_an_unknown_version_stops_the_service_and_names_the_offset(changed):
    """Never skipped: a run that is missing from the state would be counted twice."""
    with pytest.raises(ConfigError, match="offset 4711") as caught:
        decode_runs([_committed(RUN, 1), _committed(RUN, 4711)._replace(**changed)])
    assert "rest" not in str(caught.value).replace("restored", "")


@pytest.mark.parametrize("cut", [11, 15, 40, -1])
def test_a_damaged_record_stops_the_service_and_names_the_offset(cut):
    record = _committed(RUN, 4711)
    with pytest.raises(ConfigError, match="offset 4711"):
        decode_runs([_committed(RUN, 1), record._replace(value=record.value[:cut]), _committed(RUN, 5000)])
