"""With a registry outputs begin with its ids; what we read of our own is read in either framing, without it."""

from hypothesis import given, settings

from streamproc.codec.alerts import AlertEncoder, decode_alert
from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.codec.framing import confluent, header_of
from streamproc.codec.runstate import decode_runs
from streamproc.codec.schemas import load, load_framed
from tests.support.alerts import firing
from tests.support.runobjects import START_MS, Arrived, runs

FRAMES = {"run_state": confluent(7), "run_alert": confluent(8)}
SOURCE = OutputSource("app", "run-events", 0)


def _arrived(message):
    key, value, timestamp, headers = message
    return Arrived(0, value, timestamp, key, headers)


@given(runs)
@settings(max_examples=50)
def test_a_state_is_restored_from_either_framing(run):
    """rules.md 23: the fingerprint is in a header of each record."""
    [plain], [framed] = (OutputEncoder(SOURCE, frames).states([run], START_MS) for frames in ({}, FRAMES))
    assert header_of(framed[1]) == confluent(7)
    assert framed[1][5:] == plain[1][10:]
    assert decode_runs([_arrived(framed)]) == decode_runs([_arrived(plain)]) == [(run.run_id, run)]


def test_an_alert_is_read_in_either_framing():
    one = firing(source_offset=7)
    for frames in ({}, FRAMES):
        [message] = AlertEncoder("app", frames).messages([one], START_MS)
        assert decode_alert(_arrived(message)) == one


def test_a_frame_changes_neither_the_schema_nor_its_fingerprint():
    framed = load_framed("run_state", FRAMES)
    assert (framed.header, framed.label) == (confluent(7), load("run_state").label)
    assert load("run_state").header != framed.header
