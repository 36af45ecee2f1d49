"""What is named on the command line: read exactly, or refused with what is accepted."""

import pytest

from streamproc.offsets.places import Passage, Target, WrongPlace, partition, passage, target
from streamproc.runtime.ports import TopicPartition

SOURCE = TopicPartition("a-b.run-events", 3)


def test_a_passage_is_one_offset_or_several():
    assert passage("a-b.run-events:3:17", None, "why") == Passage(SOURCE, 17, 17, "why")
    assert passage("a-b.run-events:3:17", 20, "why") == Passage(SOURCE, 17, 20, "why")
    assert passage("a-b.run-events:3:17", 17, "why").offsets == "offset 17"
    assert passage("a-b.run-events:3:17", 20, "why").offsets == "offsets 17 to 20"


@pytest.mark.parametrize(
    "place", ["", "17", "run-events:3", "run-events:-1:3", "run-events:0:x", "run events:0:1", "a:0:1:2"]
)
def test_what_is_no_place_is_refused(place):
    with pytest.raises(WrongPlace, match="such as run-events:0:17"):
        passage(place, None, "why")


def test_a_passage_ends_behind_its_beginning():
    with pytest.raises(WrongPlace, match="lies before"):
        passage("run-events:0:17", 16, "why")


@pytest.mark.parametrize("why", ["", "  \n", "x" * 1_001])
def test_a_reason_is_given(why):
    with pytest.raises(WrongPlace, match=r"1 to 1,000"):
        passage("run-events:0:17", None, why)


def test_a_partition_is_a_topic_and_a_number():
    assert partition("a-b.run-events:3") == SOURCE
    with pytest.raises(WrongPlace, match="such as run-events:0"):
        partition("run-events")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("earliest", Target()),
        ("0", Target(offset=0)),
        ("1700", Target(offset=1_700)),
        ("2026-01-31T12:00:00Z", Target(time_ms=1_769_860_800_000)),
        ("2026-01-31T12:00:00.250Z", Target(time_ms=1_769_860_800_250)),
        ("2026-01-31T14:00:00+02:00", Target(time_ms=1_769_860_800_000)),
        ("2026-01-31T12:00:00", Target(time_ms=1_769_860_800_000)),
    ],
)
def test_where_to_go_is_the_beginning_an_offset_or_a_time(text, expected):
    assert target(text) == expected


@pytest.mark.parametrize("text", ["", "latest", "-1", "now", "2026-13-01", "1969-01-01T00:00:00Z", "9" * 30])
def test_anything_else_is_refused(text):
    with pytest.raises(WrongPlace, match="give earliest"):
        target(text)
