"""Events whose Kafka timestamp is none, in another unit, or late (rules.md 15 to 17): what an operator sees of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.deadlines import Deadlines
from streamproc.core.model import MAX_LATE_MS, NO_TIMESTAMP, OLD_MS, Moment, RunEvent, Verdict
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.reminders import UNFILED_ROOM
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import CommitOutcome, State
from streamproc.core.step import begin, pass_time, step
from tests.support.events import START_MS, event
from tests.support.states import runs_of

DAY_MS = 86_400_000
LIMITS = Deadlines(allowance_ms=30_000, limits={"queued": 300_000, "in_progress": 900_000, "requires_action": 600_000})
LATE_MS = 8 * DAY_MS
RETENTION = Retention(terminal_ms=DAY_MS, open_ms=7 * DAY_MS)


class Live:
    """A partition that is read to its end after each event. Times in milliseconds after START_MS."""

    def __init__(self, retention: Retention = RETENTION) -> None:
        self.state = State(Rules(ASSISTANTS, retention, LIMITS))
        self.outcomes: list[CommitOutcome] = []

    def arrive(self, *events: RunEvent, at: int) -> CommitOutcome:
        """Take events that arrive at a time by the clock."""
        return self._merged(step(self.state, events, Moment(START_MS + at, caught_up=False), begin(self.state)))

    def tick(self, at: int) -> list[tuple[str, str]]:
        """Let the clock do its part; return what is said."""
        out = self._merged(pass_time(self.state, Moment(START_MS + at, caught_up=True), begin(self.state)))
        return [(alert.kind, alert.state.value) for alert in out.alerts]

    def _merged(self, out: CommitOutcome) -> CommitOutcome:
        self.outcomes.append(out)
        self.state.merge(out)
        return out

    @property
    def anomalies(self) -> dict[str, int]:
        """What was counted as odd so far."""
        total = sum((out.tally.anomalies for out in self.outcomes), start=self.outcomes[0].tally.anomalies.__class__())
        return {kind: count for kind, count in total.items() if not kind.startswith("key_")}

    @property
    def alerts(self) -> list[str]:
        """The kinds of all that was said so far."""
        return [alert.kind for out in self.outcomes for alert in out.alerts]


def _run(*timestamps: int | None, step_ms: int = 4_000) -> list[tuple[int, RunEvent]]:
    """Return the events of one run, one each `step_ms`, with these Kafka timestamps, and when they arrive."""
    statuses = ("queued", "in_progress", "in_progress", "completed")
    return [
        (
            number * step_ms,
            event(
                status,
                offset=number,
                timestamp=NO_TIMESTAMP if timestamp is None else START_MS + timestamp,
                completed_at=START_MS // 1000 + 12 if status == "completed" else None,
                payload=status.encode(),
            ),
        )
        for number, (status, timestamp) in enumerate(zip(statuses, timestamps, strict=True))
    ]


def test_a_timestamp_that_is_none_is_the_clock_of_arrival() -> None:
    """rules.md 15: one run, three transitions at their arrival, nothing forgotten, no alert, measured once, counted."""
    live = Live()
    for at, each in _run(None, None, None, None):
        live.arrive(each, at=at)
        assert live.tick(at + 1_000) == []
    changes = [change for out in live.outcomes for change in out.transitions]
    assert [change.occurred_at - START_MS for change in changes] == [0, 4_000, 12_000]
    assert [change.in_from_ms for change in changes] == [None, 4_000, 8_000]
    assert live.state.runs["run_1"].transitions == 3
    assert live.anomalies == {"timestamp_absent": 4}
    windows = {key[2] for out in live.outcomes for key in out.tally.cells}
    assert windows == {START_MS - START_MS % 60_000}


def test_alerts_of_events_without_a_timestamp_are_of_the_clock() -> None:
    """What resolves, and what is told, is as of its arrival: no receiver takes what was over before it came."""
    live = Live()
    live.arrive(event("queued", offset=0, timestamp=NO_TIMESTAMP), at=0)
    assert live.tick(400_000) == [("stuck_queued", "firing")]
    [resolved] = live.arrive(event("completed", offset=1, timestamp=NO_TIMESTAMP), at=500_000).alerts
    assert (resolved.decided_at, resolved.ends_at) == (START_MS + 500_000, START_MS + 500_000)
    [illegal] = live.arrive(event("failed", offset=2, timestamp=NO_TIMESTAMP), at=600_000).alerts
    assert (illegal.since, illegal.decided_at) == (START_MS + 600_000, START_MS + 600_000)


def test_a_timestamp_that_is_none_moves_no_stream_time() -> None:
    """In a backlog the clock is far ahead: what is unread may hold the ends of all that would be late by it."""
    live = Live()
    live.arrive(event("queued", offset=0), at=0)
    out = live.arrive(event("queued", run="run_2", offset=1, timestamp=NO_TIMESTAMP), at=DAY_MS)
    assert out.alerts == []
    assert live.state.stream_time == START_MS


@pytest.mark.parametrize("others", [False, True], ids=["alone on its partition", "beside a live stream"])
def test_old_timestamps_on_a_live_topic_forget_nothing_and_alarm_nobody(others: bool) -> None:
    """The run is one, each event's time is kept, the duplicate is recognised (rules.md 12, 15, 17)."""
    live = Live()
    for at, each in _run(-LATE_MS, 4_000 - LATE_MS, 8_000 - LATE_MS, 12_000 - LATE_MS):
        if others:
            live.arrive(event("queued", run="run_2", at=at, offset=100 + at, payload=b"%d" % at), at=at)
        live.arrive(each, at=at)
        assert live.tick(at + 1_000) == []
    changes = [change for out in live.outcomes for change in out.transitions if change.run_id == "run_1"]
    assert [change.occurred_at - START_MS for change in changes] == [-LATE_MS, 4_000 - LATE_MS, 12_000 - LATE_MS]
    assert sum(out.tally.verdicts[Verdict.DUPLICATE] for out in live.outcomes) == 1
    assert live.anomalies == {"old_timestamp": 4}
    assert live.alerts == []


@pytest.mark.parametrize("others", [False, True], ids=["alone on its partition", "beside a live stream"])
def test_a_late_run_that_stays_is_stuck_from_its_arrival_on(others: bool) -> None:
    """rules.md 16: no alarm for what the clock alone made late; a real one is only later. It says since when."""
    live = Live()
    live.arrive(event("queued", at=-LATE_MS, offset=0), at=0)
    for at in range(10_000, 330_000, 10_000):
        if others:
            live.arrive(event("completed", run=f"run_{at}", at=at, offset=at), at=at)
        assert live.tick(at) == []
    assert live.tick(330_000) == [("stuck_queued", "firing")]
    [alert] = live.outcomes[-1].alerts
    assert alert.since == START_MS - LATE_MS
    assert live.arrive(event("completed", at=400_000 - LATE_MS, offset=1), at=400_000).alerts != []


def test_a_slow_mirror_is_judged_by_its_own_stream_too() -> None:
    """It never is read to its end: what was stuck there long before its next event is told all the same."""
    live = Live()
    live.arrive(event("queued", at=-LATE_MS, offset=0), at=0)
    found = live.arrive(event("queued", run="run_2", at=400_000 - LATE_MS, offset=1), at=1_000)
    assert [(alert.kind, alert.run_id) for alert in found.alerts] == [("stuck_queued", "run_1")]


def test_lateness_within_the_allowance_of_networks_changes_nothing() -> None:
    """A live run is looked at as of its own times."""
    live = Live()
    live.arrive(event("queued", offset=0), at=MAX_LATE_MS)
    assert live.tick(329_999) == []
    assert live.tick(330_000) == [("stuck_queued", "firing")]


@pytest.mark.parametrize(
    ("expires_in_s", "fires_at"),
    [(60, 90_000), (60 - LATE_MS // 1000, 90_000)],
    ids=["by the clock of now", "by the clock of then"],
)
def test_an_expiry_is_told_once_however_late_its_event(expires_in_s: int, fires_at: int) -> None:
    """One that had passed when the run was heard of gives as much time as there was; one ahead is the producer's."""
    live = Live()
    expires_at = START_MS // 1000 + expires_in_s
    live.arrive(event("in_progress", at=-LATE_MS, offset=0, expires_at=expires_at), at=0)
    assert live.tick(fires_at - 1) == []
    assert live.tick(fires_at) == [("overdue", "firing")]


def test_one_look_tells_all_that_passed_of_a_late_run() -> None:
    """rules.md 16: both of its limits passed while nobody looked; the second waits for no other commit."""
    live = Live()
    live.arrive(event("queued", at=-LATE_MS, expires_at=(START_MS - LATE_MS) // 1000), at=0)
    assert live.tick(DAY_MS) == [("overdue", "firing"), ("stuck_queued", "firing")]
    assert live.tick(2 * DAY_MS) == []


def test_an_aborted_end_of_a_late_run_leaves_its_limit_in_force() -> None:
    """The commit that was aborted had looked at the clock, too; the next one is cut in front of the run's end."""
    live = Live()
    live.arrive(event("queued", at=-LATE_MS), at=0)
    clock = Moment(START_MS + DAY_MS, caught_up=True)
    aborted = step(live.state, [event("completed", at=-LATE_MS + 1, offset=1)], clock, begin(live.state))
    assert pass_time(live.state, clock, aborted).alerts == []
    assert live.tick(DAY_MS) == [("stuck_queued", "firing")]


def test_a_backlog_of_late_runs_needs_memory_only_for_those_that_are_open() -> None:
    """Its runs come and end by the million before anybody looks at them by the clock."""
    live = Live()
    for first in range(0, 5 * UNFILED_ROOM, 1_000):
        at = -LATE_MS + first // 1_000
        ids = [f"run_{number}" for number in range(first, first + 1_000)]
        live.arrive(*(event(status, run=run, at=at) for run in ids for status in ("queued", "completed")), at=0)
    live.arrive(event("queued", run="run_x", at=-LATE_MS), at=0)
    assert len(live.state.limits.unfiled) <= UNFILED_ROOM + 1_000
    assert live.tick(DAY_MS) == [("stuck_queued", "firing")]


def test_lateness_outlives_a_restart() -> None:
    """It is in the state: else each restart would alarm for every run of a backfill."""
    live = Live()
    live.arrive(event("queued", at=-LATE_MS, offset=0), at=0)
    held = runs_of(live.state)
    live.state = State(live.state.rules, live.state.stream_time)
    for run in held.values():
        live.state.put(run)
    live.state.arm()
    assert live.tick(329_000) == []
    assert live.tick(330_000) == [("stuck_queued", "firing")]


# Retention


SHORT = Retention(terminal_ms=60_000, open_ms=100_000)


def test_an_open_run_is_remembered_from_when_it_was_last_heard() -> None:
    """rules.md 17: by the clock of its arrival, whatever its timestamp."""
    live = Live(SHORT)
    live.arrive(event("queued", at=-LATE_MS, offset=0), at=0)
    live.tick(99_999)
    assert "run_1" in live.state.runs
    live.tick(100_000)
    assert "run_1" not in live.state.runs


@pytest.mark.parametrize("what", ["a duplicate", "a stale event"])
def test_what_changes_nothing_is_heard_all_the_same(what: str) -> None:
    """A run is never forgotten between events that arrive one after the other; to a hundredth of the retention."""
    live = Live(SHORT)
    live.arrive(event("cancelling", offset=0, payload=b"it"), at=0)
    for number in range(1, 6):
        status = "cancelling" if what == "a duplicate" else "queued"
        live.arrive(event(status, at=number, offset=number, payload=b"it"), at=number * 90_000)
        live.tick(number * 90_000 + 1)
    out = live.arrive(event("cancelled", at=10, offset=10), at=6 * 90_000)
    assert [change.from_status for change in out.transitions] == ["cancelling"]
    assert live.state.runs["run_1"].transitions == 2


def test_a_state_is_not_written_for_each_duplicate() -> None:
    """It says anew when the run was heard only once in a hundredth of the retention, as of that event (rules.md 22)."""
    live = Live(SHORT)
    live.arrive(event("queued", offset=0, payload=b"it"), at=0)
    again = [event("queued", offset=number, payload=b"it") for number in (1, 2)]
    assert live.arrive(again[0], at=999).runs == {}
    out = live.arrive(again[1], at=1_000)
    assert out.causes == {"run_1": 2}


def test_a_run_that_ends_late_in_its_life_is_forgotten_in_time() -> None:
    """rules.md 17: `terminal_s` after its end, also where it was looked at while it was open."""
    live = Live(Retention(terminal_ms=60_000, open_ms=600_000))
    live.arrive(event("queued", offset=0), at=0)
    live.tick(100_000)
    live.arrive(event("completed", at=101_000, offset=1), at=101_000)
    live.tick(160_999)
    assert "run_1" in live.state.runs
    live.tick(162_000)
    assert "run_1" not in live.state.runs


def test_a_clock_that_is_ahead_forgets_nobody_early() -> None:
    """Stream time may be five minutes ahead: retention counts by the clock of arrival, and never ahead of it."""
    live = Live(SHORT)
    live.arrive(event("queued", offset=0), at=0)
    live.arrive(event("queued", run="run_2", at=299_000, offset=1), at=1_000)
    out = live.arrive(event("in_progress", at=2_000, offset=2), at=2_000)
    assert [change.from_status for change in out.transitions] == ["queued"]


def test_a_backlog_forgets_by_stream_time() -> None:
    """rules.md 17: what was heard before an outage is forgotten as the events pass, not at their first one."""
    live = Live(SHORT)
    live.arrive(event("queued", offset=0), at=0)
    kept = live.arrive(event("in_progress", at=90_000, offset=1), at=500_000)
    assert [change.from_status for change in kept.transitions] == ["queued"]


@given(
    st.lists(
        st.tuples(st.integers(0, 99_000), st.one_of(st.none(), st.integers(-(10**12), 10**12), st.just(0))), max_size=20
    )
)
def test_no_timestamp_ends_the_memory_of_a_run_that_is_heard(gaps: list[tuple[int, int | None]]) -> None:
    """Whatever its events' timestamps are: it is one run for as long as one comes within its retention."""
    live, now = Live(SHORT), 0
    live.arrive(event("in_progress", offset=0), at=0)
    for number, (gap, timestamp) in enumerate(gaps, start=1):
        now += gap
        live.tick(now)
        stamp = NO_TIMESTAMP if timestamp is None else START_MS + timestamp
        live.arrive(event("in_progress", offset=number, timestamp=stamp, required_tools=(str(number),)), at=now)
    assert live.state.runs["run_1"].transitions == 1


def test_old_is_a_day() -> None:
    """Counted, since windows will leave it out; less may be an outage."""
    live = Live()
    live.arrive(event("queued", at=-OLD_MS, offset=0), event("in_progress", at=-OLD_MS - 1, offset=1), at=0)
    assert live.anomalies == {"old_timestamp": 1}
