"""Windows: when they close, what a revision is, what is dropped, what the watermark goes by (rules.md 18 and 19)."""

import pytest
from msgspec import structs

from streamproc.core.measure import Totals
from streamproc.core.summary import summary_of
from streamproc.core.windowstate import NOT_YET, SOURCES_KEY, WindowKey
from tests.support.metrics_oracle import WindowOf
from tests.support.sums import totals_from
from tests.support.windowing import (
    MINUTE_MS,
    RULES,
    START_MS,
    Windows,
    idle,
    mark,
    measured,
    reminders,
)

GRACE_MS, RETENTION_MS = RULES.grace_ms, RULES.retention_ms
CLOSES_MS = MINUTE_MS + GRACE_MS
EXPIRES_MS = CLOSES_MS + RETENTION_MS
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
TWO = structs.replace(RULES, sources=2)


def _sent(windows: Windows) -> list[tuple[int, int, int, int]]:
    """Return start, revision, runs created and late arrivals of what was sent."""
    return [
        (closing.key.start - START_MS, closing.revision, closing.totals.created, closing.late)
        for closing in windows.closings
    ]


@pytest.fixture
def windows() -> Windows:
    """One source, windows of a minute, 30 s of grace, 5 min of retention."""
    return Windows()


# Closing


def test_a_window_closes_at_its_end_and_the_grace(windows: Windows) -> None:
    """By the watermark, to the millisecond, once."""
    windows.commit(measured(0), measured(59_999), mark(CLOSES_MS - 1))
    assert _sent(windows) == []
    windows.commit(mark(CLOSES_MS))
    assert _sent(windows) == [(0, 0, 2, 0)]
    windows.commit(mark(CLOSES_MS + 1))
    assert len(windows.closings) == 1


def test_measurements_of_one_commit_and_of_several_add_up(windows: Windows) -> None:
    """Also where the window was restored in between."""
    windows.commit(measured(0), measured(0))
    windows.restart()
    windows.commit(measured(0))
    windows.commit(measured(0), mark(CLOSES_MS))
    assert _sent(windows) == [(0, 0, 4, 0)]


def test_groups_have_windows_of_their_own(windows: Windows) -> None:
    """Assistant and model; none is a name too, and not the empty one."""
    groups = [("asst_1", "a"), ("asst_1", "b"), ("asst_2", "a"), (None, "a"), ("", "a"), (None, None)]
    windows.commit(*(measured(assistant=assistant, model=model) for assistant, model in groups), mark(CLOSES_MS))
    assert {closing.key.group for closing in windows.closings} == set(groups)
    assert {closing.totals.created for closing in windows.closings} == {1}


def test_several_sizes_are_summed_side_by_side() -> None:
    """Every size is a multiple of the base, and starts at a multiple of itself."""
    windows = Windows(structs.replace(RULES, sizes_ms=(MINUTE_MS, 5 * MINUTE_MS)))
    windows.commit(*(measured(minute * MINUTE_MS) for minute in (0, 4, 5)), mark(HOUR_MS))
    found = {
        (key.size_ms // MINUTE_MS, (key.start - START_MS) // MINUTE_MS): totals["created"]
        for key, totals in windows.latest.items()
    }
    assert found == {(1, 0): 1, (1, 4): 1, (1, 5): 1, (5, 0): 2, (5, 5): 1}


def test_what_was_sent_does_not_change_afterwards(windows: Windows) -> None:
    """Sums go on; a revision is what it was."""
    out = windows.commit(measured(), mark(CLOSES_MS))
    (first,) = out.closings
    windows.commit(measured(), mark(CLOSES_MS))
    assert (first.totals.created, first.revision) == (1, 0)


def test_a_jump_of_the_watermark_closes_all_that_it_passes_in_the_order_of_time(windows: Windows) -> None:
    """And forgets at once what is over."""
    windows.commit(*(measured(minute * MINUTE_MS) for minute in (2, 0, 1)), mark(HOUR_MS))
    assert [start // MINUTE_MS for start, *_ in _sent(windows)] == [0, 1, 2]
    assert windows.open_windows == {}


def test_a_great_many_windows_close_in_several_steps(windows: Windows) -> None:
    """A commit stays small, and nothing is left out."""
    many = 5_000
    windows.commit(*(measured(model=f"model_{number}") for number in range(many)))
    commits = [len(windows.commit(mark(CLOSES_MS + number)).closings) for number in range(20)]
    assert max(commits) <= 2_000
    assert sum(commits) == many
    assert {tuple(numbers) for numbers in windows.revisions.values()} == {(0,)}


def test_later_marks_go_on_with_what_one_left(windows: Windows) -> None:
    """Also those that say nothing new: a source that stays idle repeats itself."""
    windows.commit(*(measured(model=f"model_{number}") for number in range(5_000)))
    for _ in range(20):
        windows.commit(idle(CLOSES_MS))
    assert len(windows.closings) == 5_000
    assert windows.state.watermark == START_MS + CLOSES_MS


def test_the_next_commit_goes_on_with_what_one_left(windows: Windows) -> None:
    """Whether or not anything arrived; also after a restart."""
    windows.commit(*(measured(model=f"model_{number}") for number in range(5_000)))
    windows.commit(mark(CLOSES_MS))
    windows.restart()
    for _ in range(20):
        windows.commit()
    assert len(windows.closings) == 5_000
    assert windows.state.watermark == START_MS + CLOSES_MS


def test_where_a_mark_leaves_off_nothing_is_late_that_has_not_closed(windows: Windows) -> None:
    """The watermark stays in front of what it has not closed; what it has closed gets revisions."""
    windows.commit(*(measured(model=f"model_{number}") for number in range(3_000)))
    windows.commit(mark(CLOSES_MS))
    closed = {closing.key for closing in windows.closings}
    assert 0 < len(closed) < 3_000
    windows.commit(*(measured(model=f"model_{number}") for number in range(3_000)))
    assert windows.late == len(closed)
    for _ in range(5):
        windows.commit(mark(HOUR_MS))
    assert {totals["created"] for totals in windows.latest.values()} == {2}
    assert windows.open_windows == {}


def test_what_the_marks_allow_to_forget_takes_nothing_more(windows: Windows) -> None:
    """Though a commit had no room to forget all of it: else it would depend on room what is dropped."""
    windows.commit(*(measured(model=f"model_{number}") for number in range(3_000)))
    windows.commit(mark(HOUR_MS))
    windows.commit(*(measured(model=f"model_{number}") for number in range(3_000)))
    assert (windows.late, windows.dropped) == (0, 3_000)


# Late arrivals


def test_a_late_arrival_makes_the_next_revision(windows: Windows) -> None:
    """The full total, with how many were late; one revision for each commit."""
    windows.commit(measured(), mark(CLOSES_MS))
    windows.commit(measured())
    windows.commit(measured(), measured())
    assert _sent(windows) == [(0, 0, 1, 0), (0, 1, 2, 1), (0, 2, 4, 3)]
    assert windows.late == 3


def test_an_arrival_behind_the_mark_that_closes_is_late_in_the_same_commit(windows: Windows) -> None:
    """Where batches are cut does not matter: the mark stands in front of it."""
    windows.commit(measured(), mark(CLOSES_MS), measured())
    assert _sent(windows) == [(0, 0, 1, 0), (0, 1, 2, 1)]


def test_a_window_that_comes_about_late_begins_with_revision_0(windows: Windows) -> None:
    """And goes on from there."""
    windows.commit(mark(CLOSES_MS))
    windows.commit(measured())
    windows.commit(measured(), mark(CLOSES_MS + 1))
    windows.restart()
    windows.commit(measured(), mark(CLOSES_MS + 2))
    assert _sent(windows) == [(0, 0, 1, 1), (0, 1, 2, 2), (0, 2, 3, 3)]


def test_a_late_arrival_whose_time_runs_out_in_the_same_commit_is_sent(windows: Windows) -> None:
    """It came in time: nothing is lost without a count."""
    windows.commit(measured(), mark(CLOSES_MS))
    windows.commit(measured(), mark(EXPIRES_MS))
    assert _sent(windows) == [(0, 0, 1, 0), (0, 1, 2, 1)]
    assert windows.open_windows == {}


def test_a_window_that_comes_and_goes_in_one_commit_is_sent(windows: Windows) -> None:
    """Late from its first arrival on."""
    windows.commit(mark(CLOSES_MS), measured(), mark(EXPIRES_MS))
    assert _sent(windows) == [(0, 0, 1, 1)]
    assert windows.open_windows == {}


def test_a_window_is_forgotten_after_its_retention(windows: Windows) -> None:
    """A tombstone; from then on arrivals are counted and dropped, and open no window."""
    windows.commit(measured(), mark(CLOSES_MS))
    windows.commit(measured(), mark(EXPIRES_MS - 1))
    assert len(windows.open_windows) == 1
    out = windows.commit(mark(EXPIRES_MS))
    key = WindowKey("asst_1", "gpt-4o", MINUTE_MS, START_MS)
    assert out.changed[key] is None
    windows.commit(measured(), measured(MINUTE_MS))
    assert windows.dropped == 1
    assert windows.open_windows.keys() == {key._replace(start=START_MS + MINUTE_MS)}
    assert len([closing for closing in windows.closings if closing.key == key]) == 2


@pytest.mark.parametrize(
    ("after_ms", "reason"), [(0, "late"), (DAY_MS - 1, "late"), (DAY_MS, "old"), (DAY_MS * 9, "old")]
)
def test_what_is_dropped_is_old_from_a_day_after_its_retention_on(windows: Windows, after_ms: int, reason: str) -> None:
    """Before that somebody is slow; a day is a backfill, a mirror or a wrong clock."""
    windows.commit(mark(EXPIRES_MS + after_ms))
    windows.commit(measured(totals=totals_from(transitions={"queued": 3})), measured(MINUTE_MS + after_ms))
    assert windows.dropped_as == {reason: 3}


def test_the_last_window_that_had_taken_it_says_why_it_is_dropped() -> None:
    """One measurement is dropped once, for one reason: the largest window is over last."""
    sizes_ms = (60 * MINUTE_MS, MINUTE_MS)
    windows = Windows(structs.replace(RULES, sizes_ms=sizes_ms))
    windows.commit(mark(EXPIRES_MS + DAY_MS), measured())
    assert windows.dropped_as == {"late": 1}
    windows.commit(mark(EXPIRES_MS + DAY_MS + 59 * MINUTE_MS), measured())
    assert windows.dropped_as == {"late": 1, "old": 1}


def test_what_an_aborted_commit_dropped_is_not_counted(windows: Windows) -> None:
    """It comes again."""
    windows.commit(mark(EXPIRES_MS))
    windows.attempt(measured())
    windows.commit(measured())
    assert windows.dropped_as == {"late": 1}


def test_what_is_late_for_one_size_and_dropped_for_another_counts_once() -> None:
    """A larger window may still take what is too late for a smaller one."""
    windows = Windows(structs.replace(RULES, sizes_ms=(MINUTE_MS, 60 * MINUTE_MS)))
    windows.commit(mark(CLOSES_MS), measured())
    assert (windows.late, windows.dropped) == (1, 0)
    windows.commit(mark(EXPIRES_MS), measured())
    assert (windows.late, windows.dropped) == (1, 1)
    windows.commit(mark(10 * HOUR_MS), measured())
    assert (windows.late, windows.dropped) == (1, 2)
    assert {key.size_ms: totals["created"] for key, totals in windows.latest.items()} == {
        MINUTE_MS: 1,
        60 * MINUTE_MS: 2,
    }


def test_a_longer_grace_across_a_restart_loses_nothing() -> None:
    """A window that closed under the shorter one stays closed: what comes is its next revision."""
    windows = Windows()
    windows.commit(measured(), mark(CLOSES_MS))
    windows.state.rules = structs.replace(RULES, grace_ms=10 * GRACE_MS)
    windows.restart()
    windows.commit(measured())
    assert _sent(windows) == [(0, 0, 1, 0), (0, 1, 2, 1)]


def test_a_shorter_grace_across_a_restart_closes_what_is_due() -> None:
    """At the next mark, once."""
    windows = Windows()
    windows.commit(measured(), mark(CLOSES_MS - 1))
    windows.state.rules = structs.replace(RULES, grace_ms=0)
    windows.restart()
    windows.commit(mark(CLOSES_MS - 1))
    assert windows.revisions == {WindowOf("asst_1", "gpt-4o", MINUTE_MS, START_MS): [0]}


def test_windows_of_a_size_that_is_set_no_more_come_to_their_end() -> None:
    """Their sums are sent, and they are forgotten; the new size starts with what comes."""
    windows = Windows()
    windows.commit(measured())
    windows.state.rules = structs.replace(RULES, sizes_ms=(5 * MINUTE_MS,))
    windows.restart()
    windows.commit(measured(), mark(2 * HOUR_MS))
    assert {key.size_ms: totals["created"] for key, totals in windows.latest.items()} == {
        MINUTE_MS: 1,
        5 * MINUTE_MS: 1,
    }
    assert windows.open_windows == {}


# The watermark


def test_the_slowest_source_holds_everybody_back() -> None:
    """Until it comes on."""
    windows = Windows(TWO)
    windows.commit(measured(), mark(0, source=0), mark(HOUR_MS, source=1))
    assert _sent(windows) == []
    windows.commit(mark(CLOSES_MS, source=0))
    assert _sent(windows) == [(0, 0, 1, 0)]


def test_an_idle_source_has_read_until_the_clock_of_its_mark() -> None:
    """So it holds nobody back for long, and closes nothing beyond what it has read."""
    windows = Windows(TWO)
    windows.commit(measured(), idle(CLOSES_MS - 1, source=0), mark(HOUR_MS, source=1))
    assert _sent(windows) == []
    windows.commit(idle(CLOSES_MS, source=0))
    assert _sent(windows) == [(0, 0, 1, 0)]


def test_all_idle_is_the_clock_of_the_oldest_mark() -> None:
    """rules.md 16: time that nobody has read up to may hold events."""
    windows = Windows(TWO)
    windows.commit(measured(), idle(HOUR_MS, source=0), idle(CLOSES_MS - 1, source=1))
    assert _sent(windows) == []
    assert windows.state.watermark == START_MS + CLOSES_MS - 1
    windows.commit(idle(CLOSES_MS, source=1))
    assert _sent(windows) == [(0, 0, 1, 0)]


def test_a_source_that_was_idle_before_an_outage_closes_nothing_after_it() -> None:
    """Its backlog is unread: neither late nor dropped, however long it took."""
    windows = Windows()
    windows.commit(idle(0))
    windows.restart()
    windows.commit(measured(0), measured(10 * MINUTE_MS), mark(20 * MINUTE_MS))
    assert (windows.late, windows.dropped) == (0, 0)
    assert [(start, revision) for start, revision, *_ in _sent(windows)] == [(0, 0), (10 * MINUTE_MS, 0)]


def test_nothing_closes_before_every_source_was_heard_of() -> None:
    """One that has not started may have everything still to tell."""
    windows = Windows(TWO)
    windows.commit(measured(), mark(HOUR_MS, source=0))
    windows.commit(idle(HOUR_MS, source=0))
    assert _sent(windows) == []
    windows.commit(idle(HOUR_MS, source=1))
    assert _sent(windows) == [(0, 0, 1, 0)]


def test_a_mark_of_a_partition_that_does_not_exist_counts_for_nothing() -> None:
    """Somebody else wrote it, or the topic was another one."""
    windows = Windows(TWO)
    windows.commit(measured(), mark(HOUR_MS, source=0), mark(HOUR_MS, source=7))
    assert _sent(windows) == []


def test_a_source_that_is_busy_again_takes_nothing_back() -> None:
    """What it then tells of the time before is late."""
    windows = Windows()
    windows.commit(measured(), idle(CLOSES_MS))
    windows.commit(measured(), mark(1_000))
    assert _sent(windows) == [(0, 0, 1, 0), (0, 1, 2, 1)]
    assert windows.state.watermark == START_MS + CLOSES_MS


def test_a_mark_that_says_less_than_is_known_moves_nothing(windows: Windows) -> None:
    """Also after a restart."""
    windows.commit(mark(CLOSES_MS))
    windows.restart()
    windows.commit(mark(0))
    assert windows.state.watermark == START_MS + CLOSES_MS
    windows.commit(measured())
    assert _sent(windows) == [(0, 0, 1, 1)]


# Memory


def test_nothing_is_left_when_all_is_over(windows: Windows) -> None:
    """Only what is known of the sources."""
    for minute in range(20):
        windows.commit(measured(minute * MINUTE_MS), mark(minute * MINUTE_MS))
    windows.commit(mark(20 * MINUTE_MS + EXPIRES_MS))
    assert set(windows.state.values) == {SOURCES_KEY}
    assert reminders(windows.state) == 0


def test_an_open_window_is_no_revision_yet(windows: Windows) -> None:
    """What the state topic says of it."""
    windows.commit(measured())
    assert [window.revision for window in windows.open_windows.values()] == [NOT_YET]


# What nobody should send


@pytest.mark.parametrize("at", [-(2**40) // MINUTE_MS * MINUTE_MS, 2**62 // MINUTE_MS * MINUTE_MS])
def test_any_start_is_taken(windows: Windows, at: int) -> None:
    """Long ago is dropped and counted; far ahead waits for its time, which the fold never lets happen."""
    windows.commit(mark(0))
    windows.commit(measured(at - START_MS), mark(HOUR_MS))
    assert len(windows.open_windows) + windows.dropped == 1


def test_sums_end_at_what_a_record_can_hold(windows: Windows) -> None:
    """Counts are the producer's word: too many are cut off, not an error for ever."""
    most = 2**63 - 1
    names = ("created", "completed", "to:queued", "tokens:prompt", "queue:500", "queue:1000", "queue:ms")
    windows.commit(*(measured(totals=Totals(dict.fromkeys(names, most), {"a": most})) for _ in range(2)))
    windows.commit(mark(CLOSES_MS))
    (closing,) = windows.closings
    found = summary_of(closing.totals)
    assert (found.created, found.tokens, found.errors) == (most, {"prompt": most}, {"a": most})
    assert max(found.queue_wait.count, found.queue_wait.sum_ms, closing.late, closing.totals.arrivals) <= most


def test_lateness_stays_within_what_a_record_can_hold(windows: Windows) -> None:
    """An Avro long, too."""
    windows.commit(mark(CLOSES_MS))
    most = totals_from(transitions={"queued": 2**63 - 1}, completed=1)
    windows.commit(measured(totals=most), measured(totals=most))
    assert windows.closings[0].late <= 2**63 - 1
