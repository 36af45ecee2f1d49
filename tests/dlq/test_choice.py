"""Filters: what is accepted, what it admits, and what is said about the rest."""

import pytest

from streamproc.codec import deadletter
from streamproc.dlq.choice import Choice, WrongFilter, moment, place, places, reasons, schemas
from streamproc.dlq.letter import Letter, LetterOrigin, of
from tests.support.runobjects import Arrived

NOW_MS = 1_767_268_800_000  # 2026-01-01T12:00:00Z


def letter(partition=0, offset=0, reason="undecodable", schema="id:17", at_ms=NOW_MS, event_ms=0):
    source = LetterOrigin("run-events", partition, 1, event_ms)
    return Letter(partition, offset, at_ms, reason, "why", source, schema, 0, None, b"v", ())


def test_no_filter_admits_everything():
    assert Choice().admits(letter())


def test_all_filters_must_hold():
    choice = Choice(reasons(["undecodable", "bad_time"]), schemas(["17"]), NOW_MS, NOW_MS + 1, frozenset([2]))
    fits = {"partition": 2}
    assert choice.admits(letter(**fits))
    for differs in ({"partition": 1}, {"reason": "x"}, {"schema": "id:18"}, {"at_ms": NOW_MS - 1}):
        assert not choice.admits(letter(**{**fits, **differs}))
    assert not choice.admits(letter(partition=2, at_ms=NOW_MS + 1)), "until is not included"


def test_times_are_those_of_the_rejection_unless_the_events_are_asked_for():
    """A fresh rejection of an old event is what an operator looks for."""
    fresh = letter(at_ms=NOW_MS, event_ms=NOW_MS - 86_400_000)
    assert Choice(since_ms=NOW_MS).admits(fresh)
    assert not Choice(until_ms=NOW_MS).admits(fresh)
    assert not Choice(event_since_ms=NOW_MS).admits(fresh)
    assert Choice(event_until_ms=NOW_MS, event_since_ms=NOW_MS - 86_400_000).admits(fresh)


@pytest.mark.parametrize("value", [None, b"", b"x", b"{", b"\x00\x00\x00\x00\x11", b"\xc3\x01" + bytes(8)])
def test_every_schema_that_a_letter_shows_is_accepted(value):
    headers = [(name, b"1") for name in deadletter.HEADERS]
    shown = of(Arrived(1, value, 1, None, headers), 0).schema
    assert schemas([shown]) == {shown}


def test_places_name_letters():
    choice = Choice(places=places(["0:17", "2:3", "2:9"]))
    assert choice.admits(letter(0, 17))
    assert choice.admits(letter(2, 3))
    assert not choice.admits(letter(0, 3))
    assert choice.among(4) == [0, 2]
    assert [choice.span(number) for number in (0, 2)] == [(17, 18), (3, 10)]


def test_only_the_partitions_that_are_meant_are_read():
    assert Choice().among(3) == [0, 1, 2]
    assert Choice(partitions=frozenset([1])).among(3) == [1]
    assert Choice(partitions=frozenset([1]), places=places(["0:5"])).among(3) == []
    assert Choice().span(1) == (0, None)


@pytest.mark.parametrize("choice", [Choice(partitions=frozenset([3])), Choice(places=places(["3:0"]))])
def test_a_partition_that_is_not_there_is_an_error(choice):
    with pytest.raises(WrongFilter, match=r"no partition 3.* 0 to 2"):
        choice.among(3)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("17", "id:17"),
        ("id:17", "id:17"),
        ("id:0017", "id:17"),
        ("crc64:0123456789abcdef", "crc64:0123456789abcdef"),
        ("CRC64:0123456789ABCDEF", "crc64:0123456789abcdef"),
        ("0123456789abcdef", "crc64:0123456789abcdef"),
        ("0123456789012345", "crc64:0123456789012345"),
        ("none", "none"),
    ],
)
def test_schemas_are_accepted_as_they_are_shown_and_shorter(text, label):
    assert schemas([text]) == {label}


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("90m", NOW_MS - 90 * 60_000),
        ("2h", NOW_MS - 2 * 3_600_000),
        ("3d", NOW_MS - 3 * 86_400_000),
        ("30s", NOW_MS - 30_000),
        ("2026-01-01T12:00", NOW_MS),
        ("2026-01-01T12:00:00Z", NOW_MS),
        ("2026-01-01T14:00+02:00", NOW_MS),
        ("2026-01-01", NOW_MS - 12 * 3_600_000),
        ("2026-01-01T12:00:00.001", NOW_MS + 1),
        (None, None),
    ],
)
def test_times_are_ages_or_iso_8601(text, at_ms):
    assert moment("--since", text, NOW_MS) == at_ms


@pytest.mark.parametrize(
    ("parse", "words"),
    [
        (lambda: schemas(["seventeen"]), "crc64:"),
        (lambda: schemas(["crc64:12"]), "id:17"),
        (lambda: schemas(["-1"]), "17"),
        (lambda: schemas(["٣"]), "17"),
        (lambda: reasons(["Bad\x1b[31m"]), "unknown_schema"),
        (lambda: reasons([""]), "unknown_schema"),
        (lambda: place("17"), "0:17"),
        (lambda: place("0:-1"), "0:17"),
        (lambda: places(["0:1", "a:b"]), "0:17"),
        (lambda: moment("--since", "yesterday", NOW_MS), "--since.*90m.*2026"),
        (lambda: moment("--until", "5", NOW_MS), "--until"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_is_accepted(parse, words):
    with pytest.raises(WrongFilter, match=words):
        parse()


def test_a_refusal_prints_no_control_characters():
    with pytest.raises(WrongFilter) as caught:
        reasons(["Bad\x1b[31m"])
    assert str(caught.value).isprintable()
