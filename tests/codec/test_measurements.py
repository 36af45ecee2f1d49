"""run-measurements both ways: what the windows sum is what the fold measured."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streamproc.codec.measurements import (
    FORMAT,
    MAX_BYTES,
    MAX_ITEMS,
    SPLIT_BYTES,
    Folded,
    MeasurementEncoder,
    decode_measurements,
)
from streamproc.codec.schemas import load
from streamproc.core.measure import Mark, Measurement, Measurements, Totals, group_key
from streamproc.runtime.aio.partitioner import partition_of
from tests.support import earlier
from tests.support.runobjects import Arrived
from tests.support.sums import instants, marks, measurements, names, totals, totals_from
from tests.support.windowing import RULES, Windows, remembered

WALL_MS = 1_717_200_000_123
START_MS = 1_717_200_000_000
ONE = MeasurementEncoder("app", "run-events", 1, partition_of)
SUMS = totals_from(created=1, transitions={"queued": 1}, queue_wait=[5])
MEASUREMENT = Measurement("asst_1", None, START_MS, SUMS)
MARK = Mark(3, 7, idle=True, seen_at=8, sent_at=9)
TWO = replace(RULES, sources=2, sizes_ms=(60_000, 180_000))
_moments = st.integers(0, 20).map(lambda halves: START_MS + halves * 30_000)
_starts = st.integers(0, 10).map(lambda minutes: START_MS + minutes * 60_000)
_near = st.builds(Measurement, st.sampled_from((None, "a")), st.none(), _starts, totals)
_told = st.builds(Mark, st.integers(0, 2), _moments, st.booleans(), _moments, _moments)
cells = st.dictionaries(st.tuples(names, names, instants), totals, max_size=4)


def _record(message, offset=0) -> Arrived:
    key, value, timestamp, headers = message
    return Arrived(offset, value, timestamp, key, headers)


def _folded(*measured: Measurement, partition: int = 3, mark: Mark | None = None) -> Folded:
    sums = {(each.assistant_id, each.model, each.start): each.totals for each in measured}
    return Folded(partition, 12, sums, mark)


def _messages(*measured: Measurement, mark: Mark | None = None) -> list:
    return ONE.messages([_folded(*measured, mark=mark)], WALL_MS).get(0, [])


def _decoded(messages) -> tuple[list[Measurement], list[Mark]]:
    """Return what good records hold, in their order."""
    found = decode_measurements([_record(message) for message in messages])
    assert found.rejections == []
    sums = [each for arrival in found.arrivals for each in arrival.sums]
    return sums, [mark for arrival in found.arrivals for mark in arrival.marks]


def _key(group: tuple[str | None, str | None]) -> bytes:
    return json.dumps(group, separators=(",", ":"), ensure_ascii=False).encode()


# Round trip


@given(st.lists(st.tuples(cells, st.none() | marks), max_size=4), st.integers(1, 5))
def test_what_was_measured_comes_back_where_its_group_is_summed(found, partitions):
    """rules.md 2 and 18: each group in one partition, added up over the input partitions; marks in every one.

    A clock that is ahead of the broker's is set right: a watermark never goes back.
    """
    expected: dict = {}
    for sums, _ in found:
        for key, each in sums.items():
            expected.setdefault(key, Totals()).merge(each)
    said = [mark for _, mark in found if mark is not None]
    folded = [Folded(number, 1, sums, mark) for number, (sums, mark) in enumerate(found)]
    encoder = MeasurementEncoder("app", "run-events", partitions, partition_of)
    sent = encoder.messages(folded, WALL_MS)
    summed: dict = {}
    for number in range(partitions):
        measured, told = _decoded(sent.get(number, []))
        assert told == [replace(mark, sent_at=min(mark.sent_at, WALL_MS)) for mark in said]
        for each in measured:
            group = each.assistant_id, each.model
            assert (
                partition_of(json.dumps(group, separators=(",", ":"), ensure_ascii=False).encode(), partitions)
                == number
            )
            assert summed.setdefault((*group, each.start), each.totals) is each.totals, "each once"
    assert summed == expected


@given(st.lists(cells, min_size=2, max_size=4))
def test_what_the_folds_hold_is_left_as_it_is(found):
    """The exported counters are made of it, and it is encoded again after an abort."""
    before = [{key: each.copy() for key, each in sums.items()} for sums in found]
    folded = [Folded(number, 1, sums, None) for number, sums in enumerate(found)]
    assert ONE.messages(folded, WALL_MS) == ONE.messages(folded, WALL_MS)
    assert found == before


def test_one_record_for_each_partition():
    """However many groups and sources there are; none where there is nothing to say."""
    encoder = MeasurementEncoder("app", "run-events", 3, partition_of)
    groups = [replace(MEASUREMENT, model=f"model_{number}") for number in range(20)]
    folded = [_folded(*groups, partition=number, mark=replace(MARK, source_partition=number)) for number in range(5)]
    assert [len(messages) for messages in encoder.messages(folded, WALL_MS).values()] == [1, 1, 1]
    (number,) = encoder.messages([_folded(MEASUREMENT)], WALL_MS)
    assert number == partition_of(group_key(("asst_1", None)).encode(), 3)
    assert encoder.messages([], WALL_MS) == encoder.messages([_folded()], WALL_MS) == {}


# Many, and large ones


def _split(folded, record_bytes=MAX_BYTES) -> list:
    messages = MeasurementEncoder("app", "run-events", 1, partition_of, record_bytes).messages(folded, WALL_MS)[0]
    records = [decode_measurements([_record(message)]).arrivals[0] for message in messages]
    ids = [dict(headers)["ce_id"] for *_, headers in messages]
    assert len(set(ids)) == len(ids)
    return records


def test_what_is_too_much_for_a_record_is_split_in_front_of_the_marks():
    """A mark tells of what is in front of it."""
    groups = [replace(MEASUREMENT, model=f"model_{number}") for number in range(3 * MAX_ITEMS)]
    said = [replace(MARK, source_partition=number) for number in range(2 * MAX_ITEMS)]
    others = [_folded(partition=number, mark=mark) for number, mark in enumerate(said[1:], 4)]
    folded = [_folded(*groups, mark=said[0]), *others]
    records = _split(folded)
    assert [each for record in records for each in record.sums] == groups
    assert [mark for record in records for mark in record.marks] == said
    assert max(max(len(record.sums), len(record.marks)) for record in records) <= MAX_ITEMS
    first = next(number for number, record in enumerate(records) if record.marks)
    assert not any(record.sums for record in records[first + 1 :])


@pytest.mark.parametrize("limit", [1_024, 3_000, 10_000, MAX_BYTES])
def test_a_record_has_no_more_bytes_than_it_may(limit):
    """rules.md 10: the windows' own limit would make a dead letter of it. One measurement is not cut in two."""
    errors = {str(number) * 60: number for number in range(20)}
    groups = [replace(MEASUREMENT, model=f"model_{n}", totals=Totals(SUMS.counts, errors)) for n in range(200)]
    sent = MeasurementEncoder("app", "run-events", 1, partition_of, limit).messages([_folded(*groups)], WALL_MS)[0]
    assert len(_decoded(sent)[0]) == 200
    assert len(sent) > 1
    for _, value, _, headers in sent:
        size = len(value) + sum(len(name) + len(said) for name, said in headers)
        assert len(value) <= SPLIT_BYTES
        assert size <= limit or len(_decoded([(None, value, WALL_MS, [])])[0]) == 1


def test_the_largest_measurement_of_ours_is_taken():
    """Names and codes as long as they may be, four bytes a character."""
    name, most = "🦀" * 256, 2**63 - 1
    errors = {f"{number:03}" + "🦀" * 61: most for number in range(101)}
    counts = {"to:" + f"{number:02}" + "🦀" * 62: most for number in range(100)}
    assert _decoded(_messages(Measurement(name, name, 0, Totals(counts, errors))))[0][0].totals == Totals(
        counts, errors
    )


# How it is written


def test_headers_and_ids():
    """rules.md 22: the place of the first source, its commit and the number in it; no key, since groups are many."""
    encoder = MeasurementEncoder("app", "run-events", 2, partition_of)
    folded = [Folded(5, 99, {}, MARK), Folded(3, 12, {("asst_1", None, 0): SUMS}, None)]
    sent = encoder.messages(folded, WALL_MS)
    assert [dict(headers)["ce_id"] for number in range(2) for *_, headers in sent[number]] == [
        b"run-events:3:12:0",
        b"run-events:3:12:1",
    ]
    ((key, value, timestamp, headers),) = sent[0]
    assert (key, timestamp) == (None, WALL_MS)
    assert value.startswith(b"\xc1m\x01")
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_type": b"streamproc.run.measurement",
        "ce_source": b"/streamproc/app/measurements",
        "ce_id": b"run-events:3:12:0",
        "ce_time": b"2024-06-01T00:00:00.123Z",
        "content-type": b"application/vnd.msgpack",
        "streamproc.schema": b"msgpack:run-measurements:1",
    }


def test_the_format_is_what_it_was():
    """Whoever changes it gives it another version: records of this one are in the topic at an upgrade."""
    value = FORMAT.pack(([("asst_1", None, START_MS, totals_from(created=1, errors={"a": 2}))], [MARK]))
    sums = f"91 94 a6617373745f31 c0 cf{START_MS:016x} 92 81a76372656174656401 81a16102"
    assert value == bytes.fromhex(f"c16d01 92 {sums} 91 95 03 07 c3 08 09")


# What others write

GOOD = _messages(MEASUREMENT, mark=MARK)[0][1]


def _packed(value) -> bytes:
    return FORMAT.pack(value)


def _of_one(*item) -> bytes:
    return _packed(([item], []))


BODY = ({"created": 1}, {})
NOBODYS = {
    "a null": (None, "empty_value"),
    "nothing": (b"", "empty_value"),
    "garbage": (b"\x07garbage", "bad_framing"),
    "another schema": (load("run_metrics").header + b"\x00" * 30, "unknown_schema"),
    "another format": (b"\xc1w\x01" + GOOD[3:], "unknown_schema"),
    "another version": (b"\xc1m\x02" + GOOD[3:], "unknown_schema"),
    "a header alone": (GOOD[:3], "undecodable"),
    "half a header": (GOOD[:2], "unknown_schema"),
    "cut short": (GOOD[:-1], "undecodable"),
    "one byte more": (GOOD + b"\x00", "undecodable"),
    "a text": (_packed("a"), "undecodable"),
    "no marks": (_packed(([],)), "undecodable"),
    "one list more": (_packed(([], [], [])), "undecodable"),
    "a number for a name": (_of_one(1, None, 0, BODY), "undecodable"),
    "bytes for a name": (_of_one(b"a", None, 0, BODY), "undecodable"),
    "a name that is no text": (_of_one("a", None, 0, BODY).replace(b"\xa1a", b"\xa1\xff"), "undecodable"),
    "a name too long": (_of_one("a" * 257, None, 0, BODY), "undecodable"),
    "a model too long": (_of_one(None, "a" * 100_000, 0, BODY), "undecodable"),
    "a start below 0": (_of_one(None, None, -1, BODY), "undecodable"),
    "a start in the year 10,000": (_of_one(None, None, 253_402_300_800_000, BODY), "undecodable"),
    "a start in pieces": (_of_one(None, None, 0.5, BODY), "undecodable"),
    "no totals": (_of_one(None, None, 0), "undecodable"),
    "one field more": (_of_one(None, None, 0, BODY, 0), "undecodable"),
    "totals with one field more": (_of_one(None, None, 0, (*BODY, {})), "undecodable"),
    "a count below 0": (_of_one(None, None, 0, ({"created": -1}, {})), "undecodable"),
    "a count beyond a long": (_of_one(None, None, 0, ({"created": 2**63}, {})), "undecodable"),
    "a count of errors below 0": (_of_one(None, None, 0, ({}, {"a": -1})), "undecodable"),
    "a truth for a count": (_of_one(None, None, 0, ({"created": True}, {})), "undecodable"),
    "a source below 0": (_packed(([], [(-1, 1, True, 1, 1)])), "undecodable"),
    "a number for a truth": (_packed(([], [(0, 1, 1, 1, 1)])), "undecodable"),
    "too many measurements": (_packed(([(None, None, 0, ({}, {}))] * (MAX_ITEMS + 1), [])), "undecodable"),
    "too many marks": (_packed(([], [(0, 0, True, 0, 0)] * (MAX_ITEMS + 1))), "undecodable"),
    "more than any of ours": (_of_one(None, None, 0, ({}, {"a" * MAX_BYTES: 1})), "undecodable"),
    "nested deep": (FORMAT.header + b"\x91" * 100_000, "undecodable"),
    "nested deep within": (_of_one(None, None, 0, BODY)[:-6] + b"\x91" * 100_000, "undecodable"),
    "four thousand million measurements": (FORMAT.header + b"\x92\xdd\xff\xff\xff\xff\x94", "undecodable"),
    "four thousand million marks": (FORMAT.header + b"\x92\x90\xdd\xff\xff\xff\xff\x95", "undecodable"),
    "four thousand million counts": (
        FORMAT.header + b"\x92\x91\x94\xc0\xc0\x00\x92\xdf\xff\xff\xff\xff",
        "undecodable",
    ),
    "a name of four gigabytes": (FORMAT.header + b"\x92\x91\x94\xdb\xff\xff\xff\xff", "undecodable"),
    "an extension": (FORMAT.header + b"\x92\xc7\xff\x01" + bytes(255), "undecodable"),
    "an earlier one, cut short": (earlier.measurement(MEASUREMENT)[:-3], "undecodable"),
    "an earlier one of nothing": (earlier.measurement_of(source_partition=1), "undecodable"),
    "an earlier one without a start": (
        earlier.measurement_of(source_partition=1, totals=earlier.totals(SUMS)),
        "undecodable",
    ),
    "an earlier one of a count below 0": (
        earlier.measurement_of(source_partition=1, start=0, totals={**earlier.totals(SUMS), "created": -1}),
        "undecodable",
    ),
}


@pytest.mark.parametrize("name", NOBODYS)
def test_what_is_no_measurement_is_refused_with_a_reason(name):
    """The others are taken."""
    value, reason = NOBODYS[name]
    good = _record(_messages(MEASUREMENT)[0])
    foreign = Arrived(1, value)
    found = decode_measurements([good, foreign, good])
    assert [list(arrival.sums) for arrival in found.arrivals] == [[MEASUREMENT], [MEASUREMENT]]
    assert [(rejection.record, rejection.reason) for rejection in found.rejections] == [(foreign, reason)]


@given(
    st.one_of(measurements.map(lambda found: _messages(found, mark=MARK)[0][1]), st.just(b"")), st.binary(), st.data()
)
def test_damaged_bytes_are_refused_or_are_another_measurement(value, noise, data):
    """Nothing else is raised, whatever the bytes."""
    at = data.draw(st.integers(0, len(value)))
    damaged = value[:at] + noise + value[data.draw(st.integers(at, len(value))) :]
    records = [Arrived(0, damaged), Arrived(1, FORMAT.header + noise), Arrived(2, earlier.MEASUREMENT.header + noise)]
    found = decode_measurements(records)
    assert len(found.arrivals) + len(found.rejections) == 3


@pytest.mark.parametrize("place", [1, 3, 4])
@pytest.mark.parametrize("value", [-1, 253_402_300_800_000, 2**63 - 1])
def test_times_that_cannot_be_are_refused(place, value):
    """A watermark of the year 10,000 would close every window to come."""
    said = [0, 1, False, 1, 1]
    said[place] = value
    fields = {"watermark": said[1], "idle": False, "seen_at": said[3], "sent_at": said[4]}
    records = [
        Arrived(0, _packed(([], [said]))),
        Arrived(1, earlier.measurement_of(source_partition=0, mark=fields)),
    ]
    assert [rejection.reason for rejection in decode_measurements(records).rejections] == ["undecodable"] * 2


# Of an earlier release


@given(st.lists(st.one_of(measurements, marks), max_size=5))
def test_what_an_earlier_release_sent_comes_back_as_it_was(found):
    """One record each; they may stand in the topic at an upgrade."""
    records = [
        Arrived(n, earlier.mark(each) if isinstance(each, Mark) else earlier.measurement(each), WALL_MS)
        for n, each in enumerate(found)
    ]
    read = decode_measurements(records)
    assert read.rejections == []
    expected = [replace(each, sent_at=min(each.sent_at, WALL_MS)) if isinstance(each, Mark) else each for each in found]
    assert [[*arrival.sums, *arrival.marks] for arrival in read.arrivals] == [[each] for each in expected]


_records = st.lists(
    st.builds(Measurements, st.lists(_near, max_size=3), st.lists(_told, max_size=3)), min_size=1, max_size=6
)


@given(_records, st.data())
def test_records_of_both_releases_make_the_same_windows(records, data):
    """Whichever of them an earlier release had written, one for each measurement and mark."""
    mixed, packed = Windows(TWO), Windows(TWO)
    for record in records:
        apart = [earlier.measurement(each) for each in record.sums] + [earlier.mark(each) for each in record.marks]
        values = apart if data.draw(st.booleans()) else [FORMAT.pack((record.sums, record.marks))]
        found = decode_measurements([Arrived(0, value, 2 * START_MS) for value in values])
        assert found.rejections == []
        mixed.commit(*found.arrivals)
        packed.commit(record)
    assert remembered(mixed.state) == remembered(packed.state)
    assert mixed.closings == packed.closings
    assert (mixed.late, mixed.dropped_as, mixed.alerts) == (packed.late, packed.dropped_as, packed.alerts)


def test_an_earlier_one_that_is_larger_than_any_of_ours_is_refused():
    """Anybody may write into the topic: what is kept of it must go into the topics behind."""
    forged = [Measurement("a" * size, None, 0, SUMS) for size in (1_000_000, 120_000, 257, 256)]
    found = decode_measurements([Arrived(n, earlier.measurement(each)) for n, each in enumerate(forged)])
    assert [rejection.reason for rejection in found.rejections] == ["undecodable"]
    assert [arrival.sums[0].assistant_id for arrival in found.arrivals] == ["other", "other", "a" * 256]
