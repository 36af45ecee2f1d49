"""Deadlines and alerts of the fold: when they fire, when they resolve, and that nothing else changes that."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.core.alerts import Alert
from streamproc.core.deadlines import Deadlines
from streamproc.core.model import MAX_AHEAD_MS, Moment, RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import MAX_FIRED_PER_COMMIT, CommitOutcome, State
from streamproc.core.step import begin, pass_time, step
from tests.support.events import START_MS, TRAFFIC_ARRIVES, event, traffic
from tests.support.metrics_oracle import Limits, Said, SourcePass, said
from tests.support.oracle import FOREVER
from tests.support.states import runs_of

LIMITS = Limits(
    allowance_s=2,
    stuck_s={"queued": 5, "in_progress": 20, "requires_action": 0, "cancelling": 3},
    assistants={"asst_2": {"queued": 1, "requires_action": 4, "in_progress": 0}},
)
SECOND_S = START_MS // 1000


def _rules(limits: Limits, retention: Retention = FOREVER) -> Rules:
    deadlines = Deadlines(
        allowance_ms=limits.allowance_s * 1000,
        overdue=limits.overdue,
        limits={status: 1000 * limit for status, limit in limits.stuck_s.items()},
        assistants={
            name: {status: 1000 * limit for status, limit in own.items()} for name, own in limits.assistants.items()
        },
    )
    return Rules(ASSISTANTS, retention, deadlines)


class Partition:
    """The fold of one partition: commits, aborted ones, restarts. Times in milliseconds after START_MS."""

    def __init__(self, limits: Limits = LIMITS, retention: Retention = FOREVER) -> None:
        self.state = State(_rules(limits, retention))
        self.alerts: list[Alert] = []

    def attempt(
        self, events: Sequence[RunEvent] = (), at: int | None = None, *, caught_up: bool = False
    ) -> CommitOutcome:
        """Return what a commit would change; by default its events arrive in time."""
        if at is None:
            at = max(self.state.stream_time, *(each.timestamp for each in events), START_MS) - START_MS
        out = step(self.state, events, Moment(START_MS + at, caught_up=False), begin(self.state))
        return pass_time(self.state, Moment(START_MS + at, caught_up), out)

    def commit(self, *events: RunEvent, at: int | None = None, caught_up: bool = False) -> list[Said]:
        """Fold events in one commit; return the alerts that it says."""
        out = self.attempt(events, at, caught_up=caught_up)
        self.alerts += out.alerts
        self.state.merge(out)
        return [said(alert, 0) for alert in out.alerts]

    def tick(self, at: int) -> list[Said]:
        """Let the clock do its part, all being read."""
        return self.commit(at=at, caught_up=True)

    def restart(self) -> None:
        """Go on with what the state topic would give back."""
        runs, stream_time = runs_of(self.state), self.state.stream_time
        self.state = State(self.state.rules, stream_time)
        for run in sorted(runs.values(), key=lambda run: run.run_id[::-1]):
            self.state.put(run)
        self.state.arm()


def _brief(found: Sequence[Said]) -> list[tuple[str, str, int]]:
    return [(alert.alert_id, alert.state, alert.decided_at - START_MS) for alert in found]


@pytest.fixture
def partition() -> Partition:
    """A partition with small limits: 2 s allowance; queued 5 s, in_progress 20 s, cancelling 3 s."""
    return Partition()


# When they fire


def test_a_deadline_fires_once_at_the_full_second_after_its_allowance(partition: Partition) -> None:
    """Decided at that second, however late it is looked at; source, status and limit are the run's."""
    partition.commit(event("queued", at=300, offset=7))
    assert partition.tick(7_999) == []
    (alert,) = partition.tick(8_000)
    assert alert == Said(
        alert_id="stuck_queued:run_1:7",
        kind="stuck_queued",
        severity="warning",
        state="firing",
        subject=("run_1", "asst_1", "gpt-4o"),
        status="queued",
        since=START_MS + 300,
        deadline_at=START_MS + 5_300,
        ends_at=None,
        decided_at=START_MS + 8_000,
        source=(0, 7),
    )
    assert partition.tick(9_000) == partition.tick(10**9) == []


def test_a_run_that_is_looked_at_late_fires_as_of_when_it_was_due(partition: Partition) -> None:
    """So it does not depend on when somebody looked."""
    partition.commit(event("queued"))
    assert _brief(partition.tick(500_000)) == [("stuck_queued:run_1:0", "firing", 7_000)]


def test_an_event_that_is_only_late_raises_no_alarm(partition: Partition) -> None:
    """The allowance is for that; so is the event that itself brings the time: it comes first."""
    partition.commit(event("queued"))
    assert partition.commit(event("in_progress", at=6_900)) == []
    assert partition.commit(event("completed", at=900_000)) == []
    assert partition.tick(10**9) == []


def test_a_backlog_fires_by_stream_time_only(partition: Partition) -> None:
    """rules.md 16: what would resolve it may be there, unread."""
    partition.commit(event("queued"), at=10**9)
    assert partition.commit(at=10**9) == []
    assert _brief(partition.commit(event("queued", run="run_2", at=7_000), at=10**9)) == [
        ("stuck_queued:run_1:0", "firing", 7_000)
    ]
    assert partition.tick(10**9) == [], "run_2 was heard of only now: what ends it may be on its way"
    (alert,) = partition.tick(10**9 + 7_000)
    assert (alert.alert_id, alert.decided_at) == ("stuck_queued:run_2:7000", START_MS + 10**9 + 7_000)


def test_a_broken_clock_of_a_producer_fires_nothing(partition: Partition) -> None:
    """Event times more than five minutes ahead are not believed; five minutes are."""
    partition.commit(event("queued"), at=1_000)
    assert partition.commit(event("queued", run="run_2", at=1_001 + MAX_AHEAD_MS), at=1_000) == []
    assert partition.commit(event("queued", run="run_3", at=1_000 + MAX_AHEAD_MS), at=1_000) != []


@pytest.mark.parametrize(
    ("assistant", "status", "due"),
    [
        ("asst_1", "queued", 7_000),
        ("asst_1", "in_progress", 22_000),
        ("asst_1", "requires_action", None),
        ("asst_1", "cancelling", 5_000),
        (None, "queued", 7_000),
        ("asst_2", "queued", 3_000),
        ("asst_2", "requires_action", 6_000),
        ("asst_2", "in_progress", None),
        ("asst_2", "cancelling", 5_000),
    ],
)
def test_limits_are_by_status_and_by_assistant(
    partition: Partition, assistant: str | None, status: str, due: int | None
) -> None:
    """An assistant's own goes before; one that it does not name is everybody's; 0 is none."""
    partition.commit(event(status, assistant_id=assistant))
    expected = [] if due is None else [(f"stuck_{status}:run_1:0", "firing", due)]
    assert _brief(partition.tick(10**6)) == expected


def test_an_assistant_told_only_later_brings_its_limit(partition: Partition) -> None:
    """By an event that changes nothing else."""
    partition.commit(event("queued", assistant_id=None), event("queued", at=1, assistant_id="asst_2"))
    assert _brief(partition.tick(3_000)) == [("stuck_queued:run_1:0", "firing", 3_000)]


@pytest.mark.parametrize("status", ["paused", "stuck", ""])
def test_an_unknown_status_has_no_deadline(partition: Partition, status: str) -> None:
    """rules.md 14: neither for the status nor for its expiry."""
    partition.commit(event("in_progress", expires_at=SECOND_S + 100), event(status, at=1, expires_at=SECOND_S + 1))
    assert partition.tick(10**9) == []


@pytest.mark.parametrize("status", ASSISTANTS.outcomes)
def test_an_ended_run_has_no_deadline(partition: Partition, status: str) -> None:
    """Whatever its expires_at says."""
    partition.commit(event(status, expires_at=SECOND_S + 1))
    assert partition.tick(10**9) == []


def test_both_kinds_fire_for_one_run(partition: Partition) -> None:
    """Each at its own time."""
    partition.commit(event("queued", expires_at=SECOND_S + 60))
    assert _brief(partition.tick(10**6)) == [
        ("stuck_queued:run_1:0", "firing", 7_000),
        ("overdue:run_1:0", "firing", 62_000),
    ]


def test_overdue_can_be_switched_off() -> None:
    """By a setting."""
    partition = Partition(LIMITS._replace(overdue=False))
    partition.commit(event("requires_action", expires_at=SECOND_S + 1))
    assert partition.tick(10**9) == []


@pytest.mark.parametrize("caught_up", [True, False], ids=["by the clock", "by stream time"])
def test_a_great_many_deadlines_fire_in_several_commits(partition: Partition, caught_up: bool) -> None:
    """Each stays small; none is left out, none said twice, all as of when they were due."""
    many = 2 * MAX_FIRED_PER_COMMIT + 5
    partition.commit(*(event("queued", run=f"run_{number}", offset=number) for number in range(many)))
    found = []
    for number in range(4):
        events = [] if caught_up else [event("completed", run="run_x", at=7_000 + number)]
        found.append(partition.commit(*events, at=8_000, caught_up=caught_up))
    assert [len(said) for said in found] == [MAX_FIRED_PER_COMMIT, MAX_FIRED_PER_COMMIT, 5, 0]
    assert {alert.alert_id for said in found for alert in said} == {f"stuck_queued:run_{n}:{n}" for n in range(many)}
    assert {alert.decided_at for said in found for alert in said} == {START_MS + 7_000}


def test_what_a_commit_had_no_room_for_may_still_move_on(partition: Partition) -> None:
    """It fires in none of the next ones then."""
    many = MAX_FIRED_PER_COMMIT + 1
    partition.commit(*(event("queued", run=f"run_{number}", offset=number) for number in range(many)))
    fired = {alert.subject[0] for alert in partition.tick(8_000)}
    (left,) = (f"run_{number}" for number in range(many) if f"run_{number}" not in fired)
    assert partition.commit(event("completed", run=left, at=8_001)) == []
    assert partition.tick(10**6) == []


# When they resolve


def test_a_stuck_run_that_moves_on_resolves() -> None:
    """At the event's time; a later entry into the same status is another alert."""
    partition = Partition(LIMITS._replace(stuck_s={"queued": 5, "requires_action": 5}))
    partition.commit(event("queued", offset=0))
    partition.tick(7_000)
    assert _brief(partition.commit(event("in_progress", at=9_500, offset=1))) == [
        ("stuck_queued:run_1:0", "resolved", 9_500)
    ]
    partition.commit(event("requires_action", at=10_000, offset=2), event("queued", at=11_000, offset=3))
    assert _brief(partition.tick(10**6)) == [("stuck_queued:run_1:3", "firing", 18_000)]


def test_a_resolution_says_when_the_condition_ended(partition: Partition) -> None:
    """And is else what fired."""
    partition.commit(event("queued"))
    (fired,) = partition.tick(7_000)
    (resolved,) = partition.commit(event("failed", at=9_000))
    assert resolved == fired._replace(
        state="resolved", deadline_at=None, ends_at=START_MS + 9_000, decided_at=START_MS + 9_000
    )


@pytest.mark.parametrize("at", [-(10**9), 10**12], ids=["long ago", "far ahead"])
def test_a_resolution_lies_between_the_beginning_and_now(partition: Partition, at: int) -> None:
    """However wrong the event's clock: a receiver refuses an end before the start, and waits for one that is ahead."""
    partition.commit(event("queued"), at=10_000)
    (fired,) = partition.tick(10_000)
    (resolved,) = partition.commit(event("completed", at=at), at=10_000)
    assert resolved.ends_at is not None
    assert fired.since <= resolved.ends_at <= START_MS + 10_000 + MAX_AHEAD_MS


def test_a_rewrite_of_the_same_status_resolves_nothing(partition: Partition) -> None:
    """The run has not moved on."""
    partition.commit(event("queued"))
    partition.tick(7_000)
    assert partition.commit(event("queued", at=8_000, required_tools=("a",))) == []
    assert partition.commit(event("paused", at=9_000)) != []


def test_overdue_outlasts_a_change_of_status(partition: Partition) -> None:
    """in_progress → cancelling is still overdue, under the same id; the end resolves it."""
    partition.commit(event("in_progress", expires_at=SECOND_S + 10))
    assert _brief(partition.tick(12_000)) == [("overdue:run_1:0", "firing", 12_000)]
    assert partition.commit(event("cancelling", at=13_000)) == []
    assert _brief(partition.tick(18_000)) == [("stuck_cancelling:run_1:13000", "firing", 18_000)]
    found = partition.commit(event("cancelled", at=20_000))
    assert sorted(_brief(found)) == [
        ("overdue:run_1:0", "resolved", 20_000),
        ("stuck_cancelling:run_1:13000", "resolved", 20_000),
    ]
    assert {alert.ends_at for alert in found} == {START_MS + 20_000}


def test_overdue_resolves_when_the_run_gets_more_time(partition: Partition) -> None:
    """And fires again when that is over, as another alert: an id never fires twice."""
    partition.commit(event("requires_action", expires_at=SECOND_S + 10))
    (first,) = partition.tick(12_000)
    (resolved,) = partition.commit(event("requires_action", at=13_000, expires_at=SECOND_S + 20))
    assert (resolved.alert_id, resolved.state) == (first.alert_id, "resolved")
    (second,) = partition.tick(22_000)
    assert second.state == "firing"
    assert second.alert_id != first.alert_id


def test_overdue_keeps_the_last_expiry_that_was_told(partition: Partition) -> None:
    """docs/domain.md 2: null once terminal, or left out, takes nothing back."""
    partition.commit(event("in_progress", expires_at=SECOND_S + 10), event("requires_action", at=1, expires_at=None))
    assert _brief(partition.tick(12_000)) == [("overdue:run_1:1", "firing", 12_000)]


@pytest.mark.parametrize("caught_up", [True, False], ids=["by the clock", "by stream time"])
def test_forgetting_a_run_resolves_what_it_fires(caught_up: bool) -> None:
    """rules.md 17."""
    partition = Partition(retention=Retention(terminal_ms=60_000, open_ms=60_000))
    partition.commit(event("queued", expires_at=SECOND_S + 10))
    fired = partition.tick(30_000)
    assert len(fired) == 2
    later = [] if caught_up else [event("completed", run="run_2", at=62_000)]
    found = partition.commit(*later, at=62_000, caught_up=caught_up)
    assert sorted(_brief(found)) == [
        ("overdue:run_1:0", "resolved", 62_000),
        ("stuck_queued:run_1:0", "resolved", 62_000),
    ]
    assert "run_1" not in partition.state.runs


def test_a_run_that_comes_again_after_its_time_resolves_what_it_fired() -> None:
    """It is a new run: forgotten by stream time, whether or not a commit said so."""
    partition = Partition(retention=Retention(terminal_ms=60_000, open_ms=60_000))
    partition.commit(event("queued", offset=0))
    partition.tick(30_000)
    found = partition.commit(event("queued", at=70_000, offset=1))
    assert _brief(found) == [("stuck_queued:run_1:0", "resolved", 70_000)]
    assert partition.state.runs["run_1"].alerts == ()
    assert _brief(partition.tick(100_000)) == [("stuck_queued:run_1:1", "firing", 77_000)]


@pytest.mark.parametrize("status", ["queued", "in_progress"], ids=["the same status", "another status"])
def test_an_event_of_long_ago_does_not_end_the_memory_of_a_run(status: str) -> None:
    """Nor of what it fires: a timestamp out of order, or none, opens nothing anew."""
    partition = Partition(retention=Retention(terminal_ms=60_000, open_ms=60_000))
    partition.commit(event("queued", at=50_000), event(status, at=-(10**9), required_tools=("a",)), at=60_000)
    partition.tick(100_000)
    assert partition.state.runs["run_1"].retained_from == START_MS + 60_000, "when it was last heard of"


def test_what_is_over_by_retention_fires_no_more() -> None:
    """Whether or not a commit in between said that it is forgotten."""
    late = LIMITS._replace(stuck_s={"queued": 100}, overdue=False)
    for in_between in (False, True):
        partition = Partition(late, retention=Retention(terminal_ms=60_000, open_ms=60_000))
        partition.commit(event("queued"))
        events = [event("completed", run="run_2", at=62_000), event("completed", run="run_3", at=200_000)]
        if in_between:
            partition.commit(events.pop(0))
        assert partition.commit(*events) == [], f"a commit in between: {in_between}"


# What the run's state remembers


def test_the_state_remembers_what_fires(partition: Partition) -> None:
    """So that it is not said again after a restart, and can be resolved."""
    partition.commit(event("queued", expires_at=SECOND_S + 1))
    out = partition.attempt(at=10_000, caught_up=True)
    assert out.runs["run_1"] is not None
    assert set(out.runs["run_1"].alerts) == {"overdue:run_1:0", "stuck_queued:run_1:0"}
    partition.tick(10_000)
    partition.restart()
    assert partition.tick(20_000) == []
    assert len(partition.commit(event("completed", at=20_000))) == 2
    assert partition.state.runs["run_1"].alerts == ()


def test_a_deadline_ahead_survives_a_restart(partition: Partition) -> None:
    """rules.md 20: durable, of the run as it is."""
    partition.commit(event("queued"))
    partition.restart()
    assert partition.tick(6_999) == []
    assert _brief(partition.tick(7_000)) == [("stuck_queued:run_1:0", "firing", 7_000)]


def test_a_limit_made_shorter_across_a_restart_counts_at_once() -> None:
    """And one made longer, or taken away, leaves what fires firing until the run moves on."""
    partition = Partition(LIMITS._replace(stuck_s={"queued": 100}))
    partition.commit(event("queued"))
    partition.state.rules = _rules(LIMITS)
    partition.restart()
    assert _brief(partition.tick(50_000)) == [("stuck_queued:run_1:0", "firing", 7_000)]
    partition.state.rules = _rules(LIMITS._replace(stuck_s={}))
    partition.restart()
    assert partition.tick(10**6) == []
    assert _brief(partition.commit(event("completed", at=2 * 10**6))) == [
        ("stuck_queued:run_1:0", "resolved", 2 * 10**6)
    ]


# Second ends


def test_another_end_is_told_once_for_each_pair(partition: Partition) -> None:
    """rules.md 21: an occurrence, with an end time; the same end again, and anything else, is none."""
    partition.commit(event("completed", offset=3))
    (alert,) = partition.commit(event("failed", at=1_000, offset=4))
    assert alert == Said(
        alert_id="illegal:run_1:completed:failed:3",
        kind="illegal",
        severity="warning",
        state="firing",
        subject=("run_1", "asst_1", "gpt-4o"),
        status="failed",
        since=START_MS + 1_000,
        deadline_at=None,
        ends_at=START_MS + 301_000,
        decided_at=START_MS + 1_000,
        source=(0, 4),
    )
    for status in ("failed", "completed", "in_progress", "paused"):
        assert partition.commit(event(status, at=2_000, offset=5)) == []
    partition.restart()
    assert partition.commit(event("failed", at=3_000, offset=6)) == []
    assert [alert.alert_id for alert in partition.commit(event("expired", at=4_000, offset=7))] == [
        "illegal:run_1:completed:expired:3"
    ]
    assert partition.state.runs["run_1"].status == "completed"


def test_nothing_resolves_a_second_end() -> None:
    """Neither news of the run's own end nor that it is forgotten: an occurrence has its end time from the beginning."""
    partition = Partition(retention=Retention(terminal_ms=60_000, open_ms=60_000))
    partition.commit(event("completed"), event("failed", at=1, offset=1), at=0)
    assert partition.commit(event("completed", at=2, offset=2, usage=(1, 2, 3)), at=0) == []
    assert partition.commit(event("failed", at=3, offset=3), at=0) == []
    assert partition.tick(200_000) == []
    assert dict(partition.state.runs) == {}


def test_the_state_written_for_a_second_end_is_named_by_its_event(partition: Partition) -> None:
    """rules.md 22: two states of a run never share an id; the clock's are named by the commit."""
    partition.commit(event("completed", offset=3), event("queued", run="run_2", offset=4))
    assert partition.attempt([event("failed", at=1, offset=5)]).causes == {"run_1": 5}
    assert partition.attempt(at=10_000, caught_up=True).causes == {"run_2": -1}
    assert partition.attempt([event("in_progress", run="run_2", at=1, offset=5)]).causes == {}


def test_an_occurrence_stops_being_news_whatever_the_clock_said(partition: Partition) -> None:
    """A time that is not believed must not make it last for years."""
    partition.commit(event("completed"), at=10_000)
    (alert,) = partition.commit(event("failed", at=10**12), at=10_000)
    assert alert.ends_at is not None
    assert alert.ends_at <= START_MS + 10_000 + 2 * MAX_AHEAD_MS


# What nobody should send


@pytest.mark.parametrize("at", [0, -1, -(2**62), 2**62, 2**63 - 1])
@pytest.mark.parametrize("expires_at", [None, 0, 253_402_300_799])
def test_any_timestamp_is_taken(at: int, expires_at: int | None) -> None:
    """Nothing raises, then or later; what fires is paired."""
    partition = Partition()
    for status in ("queued", "in_progress", "cancelling", "completed", "failed"):
        odd = event(status, at=at - START_MS, offset=1, expires_at=expires_at)
        partition.commit(odd, event(status, run="run_2"), at=10_000, caught_up=True)
    partition.tick(10**6)
    firing, resolved = (
        {alert.alert_id for alert in partition.alerts if alert.state.value == state and alert.kind != "illegal"}
        for state in ("firing", "resolved")
    )
    assert firing == resolved


@pytest.mark.parametrize("run", ["overdue:x:1", "stuck_queued", ":", "illegal:run_1", "r" * 256])
def test_a_run_may_be_called_anything(partition: Partition, run: str) -> None:
    """Its alerts are told apart by their kind all the same."""
    partition.commit(event("queued", run=run, expires_at=SECOND_S + 1))
    assert {alert.kind for alert in partition.tick(10_000)} == {"overdue", "stuck_queued"}
    assert {alert.kind for alert in partition.commit(event("completed", run=run, at=1))} == {"overdue", "stuck_queued"}
    assert [alert.kind for alert in partition.commit(event("failed", run=run, at=2))] == ["illegal"]


# Properties


cuts = st.lists(st.integers(0, 30), max_size=6).map(sorted)


def _parts(events: list[RunEvent], where: Sequence[int]) -> list[list[RunEvent]]:
    edges = [0, *where, len(events)]
    return [events[start:end] for start, end in pairwise(edges)]


def _folded(
    events: list[RunEvent],
    where: Sequence[int] = (),
    *,
    aborts: bool = False,
    restarts: bool = False,
    retention: Retention = FOREVER,
) -> Partition:
    partition = Partition(retention=retention)
    for part in _parts(events, where):
        if aborts:
            partition.attempt(part, at=TRAFFIC_ARRIVES)
            partition.attempt(part[: len(part) // 2], at=10**9, caught_up=True)
        partition.commit(*part, at=TRAFFIC_ARRIVES)
        if restarts:
            partition.restart()
    return partition


def _all_said(partition: Partition) -> list[Said]:
    return sorted((said(alert, 0) for alert in partition.alerts), key=repr)


@given(traffic())
def test_alerts_are_those_of_a_look_at_every_run_after_every_event(events: list[RunEvent]) -> None:
    """The oracle has no reminders: it looks at all open runs whenever a second has passed. Then the clock goes on."""
    partition, expected = Partition(), SourcePass(0, LIMITS)
    for each in events:
        expected.arrive(each, START_MS + TRAFFIC_ARRIVES)
    partition.commit(*events, at=TRAFFIC_ARRIVES)
    assert _all_said(partition) == sorted(expected.alerts, key=repr)
    partition.tick(100_000_000)
    expected.pass_time(START_MS + 100_000_000, by_clock=True)
    assert _all_said(partition) == sorted(expected.alerts, key=repr)


@given(traffic(), cuts, st.booleans(), st.booleans())
def test_cuts_aborts_and_restarts_change_no_alert(
    events: list[RunEvent], where: list[int], aborts: bool, restarts: bool
) -> None:
    """Nor the runs, which remember what was said."""
    whole, cut = _folded(events), _folded(events, where, aborts=aborts, restarts=restarts)
    assert _all_said(cut) == _all_said(whole)
    assert runs_of(cut.state) == runs_of(whole.state)


@given(traffic(), cuts)
def test_cuts_change_no_alert_where_runs_are_forgotten_in_between(events: list[RunEvent], where: list[int]) -> None:
    """What is forgotten by stream time is so whether or not a commit said it yet."""
    short = Retention(terminal_ms=10_000, open_ms=12_000)
    # `retained_from` of an ended run is its commit's clock: far ahead here, so that only open runs are forgotten.
    whole, cut = _folded(events, retention=short), _folded(events, where, retention=short)
    for partition in (whole, cut):
        # When a commit says it depends on where others looked; that it does, does not.
        partition.commit(event("completed", run="last", at=9_000_000, offset=99), at=TRAFFIC_ARRIVES)
        partition.commit(at=TRAFFIC_ARRIVES)
    assert _ids(cut) == _ids(whole)


def _ids(partition: Partition) -> Counter[tuple[str, str]]:
    return Counter((alert.alert_id, alert.state.value) for alert in partition.alerts)


@settings(max_examples=200)
@given(traffic(), cuts)
def test_conditions_come_in_pairs(events: list[RunEvent], where: list[int]) -> None:
    """rules.md 21: an id fires once and resolves once, in this order; a forgotten run fires nothing any more."""
    partition = _folded(events, where, retention=Retention(terminal_ms=10**9, open_ms=10**9))
    partition.tick(10**13)
    partition.tick(10**14)
    states: dict[str, list[str]] = defaultdict(list)
    for alert in partition.alerts:
        if alert.kind != "illegal":
            states[alert.alert_id].append(alert.state.value)
    assert [found for found in states.items() if found[1] != ["firing", "resolved"]] == []
    assert len(partition.state.runs) == 0


@given(traffic())
def test_an_event_repeated_says_nothing_again(events: list[RunEvent]) -> None:
    """At once; what the repeat is late for is another matter."""
    repeated = [copy for each in events for copy in (each, each)]
    whole, twice = _folded(events), _folded(repeated)
    assert _all_said(twice) == _all_said(whole)
