"""How long to wait after failures, and how often to speak of them."""

import pytest
import structlog
from structlog.testing import capture_logs

from streamproc.backoff import Backoff
from streamproc.notify.complaints import INTERVAL_S, MAX_CAUSES, OUTAGE, Complaints


def test_waits_double_up_to_a_bound_and_are_spread():
    """Half of the time at least; never all senders at the same moment."""
    backoff = Backoff(1.0, 30.0)
    for longest in (1, 2, 4, 8, 16, 30, 30):
        assert longest / 2 <= backoff.failed() <= longest
    assert backoff.succeeded() == 7
    assert backoff.failed() <= 1
    assert len({Backoff(1.0, 30.0).failed() for _ in range(20)}) > 10


def test_a_thousand_failures_are_no_overflow():
    backoff = Backoff(1.0, 30.0)
    assert all(backoff.failed() <= 30 for _ in range(2_000))


@pytest.fixture(autouse=True)
def _plain_logging():
    structlog.reset_defaults()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_same_is_said_once_a_minute_with_how_often_it_was():
    clock = Clock()
    complaints = Complaints({"receiver": "webhook"}, clock)
    with capture_logs() as lines:
        for _ in range(5):
            complaints.warn("trouble", "HTTP status 500")
        complaints.warn("trouble", "HTTP status 503", partition=1)
        clock.now = INTERVAL_S
        complaints.warn("trouble", "HTTP status 500")
    said = [(line["why"], line["times"], line.get("partition")) for line in lines]
    assert said == [("HTTP status 500", 1, None), ("HTTP status 503", 1, 1), ("HTTP status 500", 5, None)]
    assert all(line["receiver"] == "webhook" for line in lines)


def test_only_the_end_of_an_outage_is_worth_a_line():
    complaints = Complaints({})
    with capture_logs() as lines:
        complaints.recovered(OUTAGE - 1)
        complaints.recovered(OUTAGE)
    assert [line["failures"] for line in lines] == [OUTAGE]


def test_causes_without_end_take_no_memory_without_end():
    """The one that was told longest ago is forgotten, and told again."""
    complaints = Complaints({})
    with capture_logs() as lines:
        for number in (*range(MAX_CAUSES + 1), MAX_CAUSES, 0):
            complaints.warn("trouble", str(number))
    assert [line["why"] for line in lines] == [*map(str, range(MAX_CAUSES + 1)), "0"]
