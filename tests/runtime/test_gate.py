"""How many records may be rejected: nothing is dropped, what is over the limit waits."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import ConfigError
from streamproc.runtime.config import DeadLetterSettings
from streamproc.runtime.observer import Pause
from streamproc.runtime.rejections import SLICE_MS, SLICES, RejectionGate
from streamproc.settings.loading import load_settings

MINUTE_MS = 60_000
WAIT_MS = SLICES * SLICE_MS
"""After so long nothing of a commit is counted any more."""
START_MS = 1_717_200_000_000


def gate(**settings):
    return RejectionGate(DeadLetterSettings(**settings))


def why(found):
    return None if found is None else found[0]


def test_without_a_limit_nothing_waits_and_nothing_stops():
    it = gate()
    it.passed(1_000_000, {"undecodable": 1_000_000}, START_MS)
    assert it.closed(START_MS) is None


def test_a_cause_over_its_limit_waits_until_its_minute_is_over():
    it = gate(max_per_minute=60)
    it.passed(100, {"undecodable": 60}, START_MS)
    it.exceeded("undecodable")
    over = (Pause.RATE, "more rejections than allowed: undecodable (dead_letters.max_per_minute: 60)")
    assert it.closed(START_MS) == over
    assert it.closed(START_MS + MINUTE_MS) == over
    assert it.closed(START_MS + WAIT_MS) is None
    assert it.closed(START_MS) is None, "once it went on"


def test_causes_have_budgets_of_their_own():
    it = gate(max_per_minute=60, max_per_minute_of={"bad_time": 6})
    it.passed(100, {"undecodable": 50, "bad_time": 6, "bad_status": 60}, START_MS)
    it.exceeded("undecodable")
    assert it.closed(START_MS) is None
    it.exceeded("bad_time")
    over = "more rejections than allowed: bad_time (dead_letters.max_per_minute_of: 6)"
    assert it.closed(START_MS) == (Pause.RATE, over), "the setting that holds is named"


def test_a_limit_for_one_cause_limits_no_other():
    it = gate(max_per_minute_of={"bad_time": 6})
    it.passed(1_000, {"undecodable": 1_000}, START_MS)
    assert it.closed(START_MS) is None


def test_a_clock_that_goes_back_a_little_makes_no_budget():
    it = gate(max_per_minute=60)
    it.passed(90, {"undecodable": 90}, START_MS)
    it.exceeded("undecodable")
    assert it.closed(START_MS - 30_000) is not None


def test_a_clock_that_is_set_back_does_not_hold_a_partition_up_for_ever():
    it = gate(max_per_minute=60)
    it.passed(90, {"undecodable": 90}, START_MS)
    it.exceeded("undecodable")
    assert it.closed(START_MS - 3_600_000) is None


def test_what_may_still_be_rejected_is_what_the_minute_leaves_of_the_limit():
    it = gate(max_per_minute=60, max_per_minute_of={"bad_time": 20})
    it.passed(100, {"bad_time": 15, "undecodable": 60}, START_MS)
    assert it.allows("bad_time", 5)
    assert not it.allows("bad_time", 6)
    assert not it.allows("undecodable", 1)
    assert it.allows("bad_text", 60)


def test_a_limit_that_is_reached_closes_nothing_until_a_record_would_be_over_it():
    """Good records go on, and a partition with nothing more to reject waits for nobody."""
    it = gate(max_per_minute=60)
    it.passed(100, {"undecodable": 60}, START_MS)
    assert it.closed(START_MS) is None
    it.exceeded("undecodable")
    assert it.closed(START_MS) == (
        Pause.RATE,
        "more rejections than allowed: undecodable (dead_letters.max_per_minute: 60)",
    )
    assert it.closed(START_MS + WAIT_MS) is None


def test_without_a_limit_nothing_has_to_be_asked():
    assert not gate(stop_percent=10).is_limited
    assert gate(max_per_minute_of={"bad_time": 1}).is_limited


pauses_ms = st.integers(0, 30_000)


@given(st.lists(st.tuples(pauses_ms, st.integers(0, 200)), max_size=40), st.integers(1, 100), st.integers(0, 999))
def test_no_minute_has_more_rejections_than_the_limit(arrivals, limit, start_ms):
    """As the task goes: a commit ends before the record that would be over it, which waits. Each gets its turn."""
    it, now, done = gate(max_per_minute=limit), START_MS + start_ms, []
    for pause_ms, count in arrivals:
        now, bad = now + pause_ms, count
        while bad:
            while it.closed(now):
                now += 100
            rejected = max((many for many in range(bad + 1) if it.allows("undecodable", many)), default=0)
            it.passed(rejected, Counter(undecodable=rejected), now)
            done.append((now, rejected))
            bad -= rejected
            if bad:
                it.exceeded("undecodable")
    assert sum(count for _, count in done) == sum(bad for _, bad in arrivals)
    for end, _ in done:
        assert sum(count for at, count in done if end - MINUTE_MS < at <= end) <= limit


@given(st.lists(st.tuples(pauses_ms, st.integers(0, 50)), max_size=40), st.integers(1, 100))
def test_nobody_waits_longer_than_a_minute_and_a_second(commits, limit):
    it, now = gate(max_per_minute=limit), START_MS
    for pause_ms, rejected in commits:
        now += pause_ms
        it.passed(rejected, Counter(undecodable=rejected), now)
        it.exceeded("undecodable")
        assert it.closed(now + WAIT_MS) is None


# The stop


def test_a_share_over_the_percentage_stops_for_good_and_says_what_to_do():
    it = gate(stop_percent=10)
    it.passed(1_000, {"undecodable": 100}, START_MS)
    assert it.closed(START_MS) is None
    it.passed(10, {"undecodable": 2}, START_MS + 1_000)
    reason, message = it.closed(START_MS + 1_000)
    assert reason is Pause.REJECTIONS
    assert "102 of 1010 records" in message
    assert "streamproc dlq list" in message
    it.passed(1_000_000, {}, START_MS + 2_000)
    assert it.closed(START_MS + 3_600_000) == (reason, message)


def test_few_records_tell_nothing():
    it = gate(stop_percent=10, stop_min_records=100)
    it.passed(99, {"undecodable": 99}, START_MS)
    assert it.closed(START_MS) is None
    it.passed(1, {}, START_MS + 1_000)
    assert why(it.closed(START_MS + 1_000)) is Pause.REJECTIONS


def test_what_was_more_than_a_minute_ago_no_longer_counts():
    it = gate(stop_percent=10)
    it.passed(99, {"undecodable": 99}, START_MS)
    it.passed(1_000, {"undecodable": 50}, START_MS + WAIT_MS)
    assert it.closed(START_MS + WAIT_MS) is None


def test_the_causes_count_together_and_a_stop_goes_before_a_limit():
    it = gate(stop_percent=10, max_per_minute=1)
    it.passed(100, {"undecodable": 6, "bad_time": 6}, START_MS)
    assert why(it.closed(START_MS)) is Pause.REJECTIONS


@given(
    st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 60), st.integers(0, 60)), max_size=40),
    st.integers(0, 99),
    st.integers(1, 200),
)
def test_it_stops_as_soon_as_a_minute_has_a_larger_share_and_never_for_less(commits, percent, least):
    """A minute is counted in whole seconds: at least the last 60 s, at most 61."""
    it, now, done = gate(stop_percent=percent, stop_min_records=least), START_MS, []
    for pause_ms, records, bad in commits:
        now += pause_ms
        done.append((now, records, min(bad, records)))
        it.passed(records, {"undecodable": min(bad, records)}, now)
        first = now // SLICE_MS - SLICES + 1
        minute = [(total, wrong) for at, total, wrong in done if at // SLICE_MS >= first]
        total, wrong = (sum(each[part] for each in minute) for part in (0, 1))
        expected = total >= least and 100 * wrong > percent * total
        assert (it.closed(now) is not None) is expected
        if expected:
            return


@pytest.mark.parametrize("wrong", [{"stop_percent": 100}, {"stop_percent": -1}, {"max_per_minute": 0}], ids=str)
def test_a_limit_that_would_never_or_always_hold_is_refused(wrong):
    with pytest.raises(ValueError, match="Input should be"):
        DeadLetterSettings(**wrong)


def test_limits_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("STREAMPROC_DEAD_LETTERS__MAX_PER_MINUTE", "60")
    monkeypatch.setenv("STREAMPROC_DEAD_LETTERS__MAX_PER_MINUTE_OF", '{"bad_time": 6}')
    monkeypatch.setenv("STREAMPROC_DEAD_LETTERS__STOP_PERCENT", "2.5")
    expected = DeadLetterSettings(max_per_minute=60, max_per_minute_of={"bad_time": 6}, stop_percent=2.5)
    assert load_settings().dead_letters == expected


def test_a_limit_of_a_cause_of_an_earlier_release_keeps_nobody_from_starting(monkeypatch):
    monkeypatch.setenv("STREAMPROC_DEAD_LETTERS__MAX_PER_MINUTE_OF", '{"bad_text": 1, "bad_time": 6}')
    assert load_settings().dead_letters.max_per_minute_of == {"bad_text": 1, "bad_time": 6}


def test_a_limit_of_a_cause_that_does_not_exist_is_refused_and_the_causes_are_named(monkeypatch):
    monkeypatch.setenv("STREAMPROC_DEAD_LETTERS__MAX_PER_MINUTE_OF", '{"bad_tiem": 6}')
    with pytest.raises(ConfigError, match=r"no record is rejected as bad_tiem; there is: .*bad_status"):
        load_settings()
