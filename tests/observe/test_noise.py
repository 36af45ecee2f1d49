"""What other libraries may say: once in a while, and no louder than it is; ours always."""

import logging
import sys

import pytest

from streamproc.observe import noise
from streamproc.observe.noise import HARMLESS, Noise

OUTAGE = "Unable to request metadata from node with id %s: %r"


class Bench:
    """A filter with a clock that the test sets."""

    def __init__(self, threshold=logging.INFO):
        self.now = 0.0
        self.noise = Noise(threshold, every_s=30, clock=lambda: self.now)

    def says(self, message, *arguments, logger="aiokafka", level=logging.ERROR, error=None):
        """Return the record where it passes, None where it does not."""
        record = logging.LogRecord(logger, level, __file__, 1, message, arguments, error)
        return record if self.noise.filter(record) else None


@pytest.fixture
def bench():
    return Bench()


def raised(error):
    try:
        raise error
    except type(error):
        return sys.exc_info()


def test_an_outage_says_the_same_once_in_30_seconds_and_how_often_it_was_left_out(bench):
    """Rule: one template of another library's logger passes once in a while, and the next one counts the rest."""
    first = bench.says(OUTAGE, 1, "refused")
    assert not hasattr(first, "repeated")
    for number in range(5_000):
        bench.now = number / 170
        assert bench.says(OUTAGE, number % 3, "refused") is None
    bench.now = 30
    assert bench.says(OUTAGE, 2, "refused").repeated == 5_000
    bench.now = 60
    assert not hasattr(bench.says(OUTAGE, 1, "refused"), "repeated")


@pytest.mark.parametrize(
    "other",
    [
        {"message": "Unable to update metadata from %s"},
        {"logger": "aiokafka.consumer.fetcher"},
        {"error": raised(OSError("gone"))},
    ],
    ids=lambda other: next(iter(other)),
)
def test_another_logger_template_or_exception_is_another_line(bench, other):
    """Rule: what is left out is the same line, never a new one."""
    bench.says(OUTAGE)
    assert bench.says(**{"message": OUTAGE, **other}) is not None


def test_asyncios_lines_about_different_objects_are_one(bench):
    """Rule: a message that goes on with an object's address, in further lines, is told by its first."""
    assert bench.says("Unclosed connection\nclient: <at 0x1>", logger="asyncio")
    assert bench.says("Unclosed connection\nclient: <at 0x2>", logger="asyncio") is None


def test_ours_always_pass(bench):
    """Rule: the service's own loggers are never throttled."""
    for logger in ("streamproc", "streamproc.observe.journal"):
        assert all(bench.says("rejected", logger=logger, level=logging.INFO) for _ in range(100))


def test_a_name_that_only_begins_like_ours_is_another_library(bench):
    """Rule: ours is what is below the logger `streamproc`."""
    assert bench.says("x", logger="streamprocessing")
    assert bench.says("x", logger="streamprocessing") is None


def test_messages_without_end_take_no_memory_without_end(bench):
    """Rule: a library that formats its own messages makes templates without end; the oldest are forgotten."""
    first = "connection 0 lost"
    for number in range(3 * noise.MAX_KINDS):
        bench.says(f"connection {number} lost")
    assert bench.says(f"connection {3 * noise.MAX_KINDS - 1} lost") is None
    assert bench.says(first) is not None  # Said a moment ago, too, and forgotten since.


@pytest.mark.parametrize("known", HARMLESS, ids=lambda known: known.beginning)
def test_what_is_known_to_be_harmless_is_for_debugging(known):
    """Rule: a line of which nothing follows is DEBUG, whatever its library calls it; each says why."""
    said = {"message": f"{known.beginning} and so on", "logger": known.logger}
    assert Bench(logging.INFO).says(**said) is None
    shown = Bench(logging.DEBUG).says(**said)
    assert (shown.levelno, shown.levelname) == (logging.DEBUG, "DEBUG")
    assert known.reason


@pytest.mark.parametrize(
    "said",
    [
        {"message": "Group Coordinator Request failed: %s", "arguments": ("[Error 30] GroupAuthorizationFailedError",)},
        {"message": "Group Coordinator Request failed: [Error 15]", "arguments": (), "logger": "aiokafka"},
    ],
)
def test_only_what_is_in_the_table_becomes_quieter(bench, said):
    """Rule: by logger and beginning of the message, both."""
    logger = said.get("logger", "aiokafka.consumer.group_coordinator")
    assert bench.says(said["message"], *said["arguments"], logger=logger).levelno == logging.ERROR
