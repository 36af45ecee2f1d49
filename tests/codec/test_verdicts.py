"""run-verdicts: each arrival that changed no status, as the core ruled."""

from msgspec.structs import asdict

from streamproc.codec.encode import OutputSource
from streamproc.codec.verdicts import VerdictEncoder
from streamproc.core.model import Ruling
from tests.support.metrics_oracle import read
from tests.support.runobjects import Arrived

WALL_MS = 1_700_000_000_000
ENCODER = VerdictEncoder("app")
SOURCE = OutputSource("app", "run-events", 3)
RULING = Ruling("run_1", "stale", "completed", "in_progress", WALL_MS - 5, "ended", 7, 2)
AHEAD = Ruling("rün_2", "duplicate", "queued", "queued", WALL_MS + 60_000, "repeated", 8)


def test_a_record_says_all_of_it():
    """The public contract; read by a reader that has only the schema."""
    [(key, value, timestamp, _)] = ENCODER.messages([RULING], WALL_MS, SOURCE)
    found = read(Arrived(0, value, timestamp, key), "run_verdict")
    assert found == {**asdict(RULING), "source_topic": "run-events", "source_partition": 3}
    assert (key, timestamp) == (b"run_1", WALL_MS - 5)


def test_no_record_is_ahead_of_the_clock():
    """A broker would refuse it."""
    [(key, _, timestamp, headers)] = ENCODER.messages([AHEAD], WALL_MS, SOURCE)
    assert (key, timestamp) == ("rün_2".encode(), WALL_MS)
    assert dict(headers)["ce_time"] == b"2023-11-14T22:14:20.000Z"


def test_headers_name_the_place_of_the_event():
    """rules.md 22: the same for a record that is made again."""
    headers = dict(next(iter(ENCODER.messages([RULING], WALL_MS, SOURCE)))[3])
    assert headers["ce_id"] == b"run-events:3:7"
    assert headers["ce_type"] == b"streamproc.run.verdict"
    assert headers["ce_source"] == b"/streamproc/app/verdicts"


def test_many_are_encoded_as_few_are():
    """Byte for byte, in the same order."""
    few = list(ENCODER.messages([RULING, AHEAD], WALL_MS, SOURCE))
    assert list(ENCODER.messages([RULING, AHEAD] * 50, WALL_MS, SOURCE)) == few * 50
