"""What holds of windows whatever arrives, in whatever batches, with whatever aborts and restarts in between."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from streamproc.core.alerts import Severity
from streamproc.core.beacon import Beacon
from streamproc.core.deadlines import Deadlines
from streamproc.core.failures import FailureRules
from streamproc.core.measure import Mark, Measurement, Measurements
from streamproc.core.model import Moment, RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.rules import Rules
from streamproc.core.sources import NOT_HEARD, SourceMark, Sources
from streamproc.core.state import State
from streamproc.core.step import begin, pass_time, step
from streamproc.core.summary import summary_of
from streamproc.core.windowstate import SOURCES_KEY, WindowRules
from tests.support.contents import contents
from tests.support.events import streams
from tests.support.metrics_oracle import FailureLimits, Said, WindowOf, failure_alerts, one_pass, total
from tests.support.metrics_oracle import windows as every_window
from tests.support.oracle import FOREVER
from tests.support.windowing import (
    MINUTE_MS,
    RULES,
    START_MS,
    Arrived,
    Windows,
    ended,
    idle,
    mark,
    measured,
    remembered,
    reminders,
)

GRACE_MS, RETENTION_MS = 30_000, 120_000
DAY_MS = 86_400_000
FAILURES = FailureRules(window_ms=MINUTE_MS, thresholds=((Severity.WARNING, 0.3),), min_ended=2)
SMALL = structs.replace(
    RULES,
    sources=2,
    sizes_ms=(MINUTE_MS, 3 * MINUTE_MS),
    grace_ms=GRACE_MS,
    retention_ms=RETENTION_MS,
    conditions=(FAILURES,),
)
ONE_SIZE = structs.replace(SMALL, sizes_ms=(MINUTE_MS,))
Arrivals = list[Arrived]


@st.composite
def arrivals(draw: st.DrawFn, longest: int = 30) -> Arrivals:
    """Return measurements and marks of two sources, in any order; watermarks go on, and sometimes jump far."""
    found: Arrivals = []
    reached = [0, 0]
    for _ in range(draw(st.integers(1, longest))):
        source = draw(st.integers(0, 1))
        if draw(st.integers(0, 2)):
            at = max(0, reached[source] + draw(st.integers(-5, 2)) * MINUTE_MS)
            failed, succeeded = draw(st.integers(0, 3)), draw(st.integers(1, 3))
            subject = {"assistant": draw(st.sampled_from(("asst_1", "asst_2")))}
            found.append(ended(at, failed=failed, succeeded=succeeded, **subject))
        else:
            reached[source] += draw(st.sampled_from((0, 1_000, 29_999, 30_000, 60_000, 90_000, 600_000)))
            make = idle if draw(st.integers(0, 3)) == 0 else mark
            found.append(make(reached[source], source=source))
    return found


cuts = st.lists(st.integers(0, 30), max_size=6).map(sorted)


def _parts(found: Arrivals, where: Sequence[int]) -> list[Arrivals]:
    edges = [0, *where, len(found)]
    return [found[start:end] for start, end in pairwise(edges)]


def _committed(
    found: Arrivals,
    where: Sequence[int] = (),
    *,
    restarts: bool = False,
    aborts: bool = False,
    rules: WindowRules = SMALL,
) -> Windows:
    windows = Windows(rules)
    for part in _parts(found, where):
        if aborts:
            windows.attempt(*part)
            windows.attempt(*part[: len(part) // 2], idle(10**9, source=0), idle(10**9, source=1))
        windows.commit(*part)
        if restarts:
            windows.restart()
    return windows


def _outcome(windows: Windows) -> tuple[dict, list[Said], int, dict[str, int]]:
    return windows.latest, sorted(windows.said), windows.late, windows.dropped_as


def _ends(windows: Windows) -> Windows:
    """Let everything close and be forgotten."""
    windows.commit(mark(10**9, source=0), mark(10**9, source=1))
    return windows


@given(arrivals(), cuts)
def test_cutting_batches_anywhere_closes_the_same_windows_with_the_same_sums(found: Arrivals, where: list[int]) -> None:
    """Only how many revisions there are depends on it: the highest ones, the alerts and the counts do not."""
    whole, cut = _ends(_committed(found)), _ends(_committed(found, where))
    assert _outcome(cut) == _outcome(whole)


def _records(found: Arrivals, where: Sequence[int]) -> list[Measurements]:
    """Return arrivals as records of several: in each the sums first, then the marks."""
    return [
        Measurements(
            [each for each in part if isinstance(each, Measurement)], [each for each in part if isinstance(each, Mark)]
        )
        for part in _parts(found, where)
    ]


@given(arrivals(), cuts, cuts)
def test_a_record_of_many_is_as_many_records(found: Arrivals, where: list[int], commits: list[int]) -> None:
    """All that it holds, in its order, whatever was put together; commits cut between records as elsewhere."""
    records = _records(found, where)
    apart: Arrivals = [each for record in records for each in (*record.sums, *record.marks)]
    one, other = _ends(_committed(list(records), commits)), _ends(_committed(apart))
    assert _outcome(one) == _outcome(other)
    assert remembered(one.state) == remembered(other.state)


@given(arrivals(), st.integers(0, 30), st.booleans())
def test_what_an_earlier_release_kept_of_each_source_is_taken_over(found: Arrivals, at: int, aborts: bool) -> None:
    """rules.md 6: its keys are dropped with the commit that first writes the new one; counted right all the time."""
    windows, undisturbed = _committed(found[:at]), _committed(found[:at])
    known = windows.state.values.pop(SOURCES_KEY, Sources.of(2, {}))
    assert isinstance(known, Sources)
    single = zip(known.watermarks, known.read_until, known.seen_at, strict=True)
    marks = {number: SourceMark(*each) for number, each in enumerate(single) if each[0] != NOT_HEARD}
    windows.state.values.update({**marks, 7: SourceMark(1, 2, 3)})
    windows.restart()
    for part in (found[at:], [mark(10**9, source=0), mark(10**9, source=1)]):
        if aborts:
            windows.attempt(*part)
        out = windows.attempt(*part)
        expected = windows.state.live_after(out.changed)
        windows.commit(*part)
        undisturbed.commit(*part)
        assert windows.state.live_keys == expected
    assert remembered(windows.state) == remembered(undisturbed.state)
    assert _outcome(windows) == _outcome(undisturbed)
    assert windows.state.values.keys() == {SOURCES_KEY}


@given(arrivals(), cuts, st.booleans())
def test_aborted_commits_and_restarts_change_nothing(found: Arrivals, where: list[int], restarts: bool) -> None:
    """rules.md 9: what was not committed is as if it had never been tried; what was comes back as it was."""
    undisturbed, disturbed = _committed(found, where), _committed(found, where, restarts=restarts, aborts=True)
    assert remembered(disturbed.state) == remembered(undisturbed.state)
    undisturbed, disturbed = _ends(undisturbed), _ends(disturbed)
    assert sorted(disturbed.closings, key=repr) == sorted(undisturbed.closings, key=repr)
    assert _outcome(disturbed) == _outcome(undisturbed)


@given(arrivals(), cuts, st.integers(0, 10**9))
def test_a_commit_that_is_dropped_leaves_the_state_as_it_was(found: Arrivals, where: list[int], until: int) -> None:
    """rules.md 9: values, calendars and all; whatever it closed, dropped, or looked at in vain."""
    windows = Windows(SMALL)
    for part in _parts(found, where):
        before = contents(windows.state)
        windows.attempt(*part, idle(until, source=0), idle(until, source=1))
        windows.attempt(*part)
        assert contents(windows.state) == before
        windows.commit(*part)


@given(arrivals(), cuts)
def test_what_was_looked_at_in_vain_need_not_be_looked_at_again(found: Arrivals, where: list[int]) -> None:
    """It changes nothing of what comes."""
    windows, settling = Windows(SMALL), Windows(SMALL)
    for part in _parts(found, where):
        windows.commit(*part)
        settling.commit(*part)
        out = settling.attempt()
        if not out.changed and not out.closings:
            settling.state.settle(out)
            assert min(settling.state.closing.next_at, settling.state.holding.next_at) > out.target
    assert _outcome(_ends(settling)) == _outcome(_ends(windows))


@given(arrivals(), cuts)
def test_revisions_of_a_window_count_from_zero(found: Arrivals, where: list[int]) -> None:
    """rules.md 19: each number once, none left out."""
    for window, numbers in _ends(_committed(found, where)).revisions.items():
        assert numbers == list(range(len(numbers))), window


@given(arrivals(), cuts)
def test_every_arrival_is_in_the_highest_revision_or_was_counted_as_dropped(found: Arrivals, where: list[int]) -> None:
    """rules.md 19: nothing is lost without a count, and nothing is in twice."""
    windows = _ends(_committed(found, where, rules=ONE_SIZE))
    highest = {closing.key: closing.totals.arrivals for closing in windows.closings}
    sent = sum(arrival.totals.arrivals for arrival in found if isinstance(arrival, Measurement))
    assert sum(highest.values()) + windows.dropped == sent


@st.composite
def days(draw: st.DrawFn) -> Arrivals:
    """Return what comes in over days, some of it as old as the first of them: two sources, in any order."""
    found: Arrivals = []
    reached = [0, 0]
    for _ in range(draw(st.integers(1, 20))):
        source = draw(st.integers(0, 1))
        if draw(st.booleans()):
            found.append(measured(draw(st.integers(0, max(reached) // MINUTE_MS)) * MINUTE_MS))
        else:
            reached[source] += draw(st.sampled_from((0, 1, MINUTE_MS, DAY_MS - 1, DAY_MS, DAY_MS + 5 * MINUTE_MS)))
            found.append(mark(reached[source], source=source))
    return found


def _judged(found: Arrivals, rules: WindowRules) -> Counter[str]:
    """Return what is dropped, by reason, by brute force: one arrival after the other."""
    reached: dict[int, int] = {}
    dropped: Counter[str] = Counter()
    for arrival in found:
        if isinstance(arrival, Mark):
            reached[arrival.source_partition] = arrival.watermark
            continue
        watermark = min(reached.values()) if len(reached) == rules.sources else 0
        ends = [arrival.start - arrival.start % size_ms + size_ms for size_ms in rules.sizes_ms]
        late_by = [watermark - (end + rules.grace_ms + rules.retention_ms) for end in ends]
        if max(late_by) >= 0:
            dropped["old" if min(by for by in late_by if by >= 0) >= DAY_MS else "late"] += 1
    return dropped


@given(days(), cuts)
def test_what_is_dropped_is_late_or_old_by_the_watermark_wherever_batches_are_cut(
    found: Arrivals, where: list[int]
) -> None:
    """Each arrival once, by the window that was over last."""
    assert _committed(found, where).dropped_as == _judged(found, SMALL)


@given(arrivals(), cuts)
def test_late_says_how_many_came_after_the_close(found: Arrivals, where: list[int]) -> None:
    """Of what is in the highest revision."""
    windows = _ends(_committed(found, where, rules=ONE_SIZE))
    assert sum({closing.key: closing.late for closing in windows.closings}.values()) == windows.late


@given(arrivals(), cuts)
def test_nothing_is_remembered_for_ever(found: Arrivals, where: list[int]) -> None:
    """Windows and failing groups get their tombstone, and the calendar holds no reminder of them."""
    windows = _ends(_committed(found, where))
    assert windows.state.values.keys() == {SOURCES_KEY}
    assert windows.state.live_keys == 1
    assert reminders(windows.state) == 0


@given(arrivals(), cuts)
def test_live_keys_are_known_before_the_commit(found: Arrivals, where: list[int]) -> None:
    """rules.md 6: they are committed along with the offset."""
    windows = Windows(SMALL)
    for part in _parts(found, where):
        out = windows.attempt(*part)
        expected = windows.state.live_after(out.changed)
        windows.commit(*part)
        assert windows.state.live_keys == expected


@given(arrivals())
def test_the_watermark_is_the_least_that_a_source_has_read(found: Arrivals) -> None:
    """rules.md 18: it never goes back, and stands still until every source was heard of."""
    windows, expected, sources = Windows(SMALL), 0, [0, 0]
    for arrival in found:
        windows.commit(arrival)
        if isinstance(arrival, Mark):
            said = max(arrival.watermark, arrival.sent_at) if arrival.idle else arrival.watermark
            sources[arrival.source_partition] = max(sources[arrival.source_partition], said)
            expected = min(sources)
        assert windows.state.watermark == expected


@given(arrivals(), cuts)
def test_alerts_about_failures_come_in_pairs(found: Arrivals, where: list[int]) -> None:
    """Firing, then resolved, each once, with one id; the next one of a group has another id."""
    said = _ends(_committed(found, where)).said
    firing = Counter(alert.alert_id for alert in said if alert.state == "firing")
    assert Counter(alert.alert_id for alert in said if alert.state == "resolved") == firing
    assert set(firing.values()) <= {1}
    for group in {alert.subject for alert in said}:
        states = [alert.state for alert in said if alert.subject == group]
        assert states == ["firing", "resolved"] * (len(states) // 2)


@st.composite
def in_time(draw: st.DrawFn) -> Arrivals:
    """Return measurements of one source, none later than the grace, with a mark for how far it has come."""
    found: Arrivals = []
    reached = 0
    for _ in range(draw(st.integers(1, 40))):
        at = draw(st.integers(max(0, reached - GRACE_MS), reached + MINUTE_MS))
        subject = {"assistant": draw(st.sampled_from(("asst_1", "asst_2", None)))}
        found.append(ended(at, failed=draw(st.integers(0, 2)), succeeded=draw(st.integers(1, 3)), **subject))
        reached = max(reached, at)
        if draw(st.booleans()):
            found.append(mark(reached))
        reached += draw(st.sampled_from((0, 0, 0, 300_000)))
    return found


@given(in_time(), cuts)
def test_failure_alerts_are_those_of_one_pass_over_the_windows(found: Arrivals, where: list[int]) -> None:
    """rules.md 20: each window judged once, by the totals of its first revision, the empty one after it too."""
    windows = Windows(structs.replace(SMALL, sources=1))
    for part in _parts(found, where):
        windows.commit(*part)
    windows.commit(mark(10**9))
    totals: dict[WindowOf, list] = {}
    for arrival in found:
        if isinstance(arrival, Measurement):
            window = WindowOf(arrival.assistant_id, arrival.model, MINUTE_MS, arrival.start)
            totals.setdefault(window, []).append(summary_of(arrival.totals).ended)
    summed = {window: {**total([]), "ended": sum(map(Counter, held), Counter())} for window, held in totals.items()}
    expected = failure_alerts(summed, FailureLimits(MINUTE_MS, GRACE_MS, min_ended=2, rates={"warning": "0.3"}))
    assert sorted(windows.said) == sorted(expected)
    assert windows.late == windows.dropped == 0


# Both stages


class Source:
    """The fold of one input partition, and what it sends on. Its clock is far ahead of its events."""

    def __init__(self, number: int, events: list[RunEvent]) -> None:
        self.left = events
        self._number = number
        self._state = State(Rules(ASSISTANTS, FOREVER, Deadlines(overdue=False), MINUTE_MS))
        self._beacon = Beacon(number)

    def commit(self, count: int, wall_ms: int) -> Arrivals:
        """Fold so many of the events left; none are left: it is caught up."""
        events, self.left = self.left[:count], self.left[count:]
        at = Moment(wall_ms, caught_up=not events)
        out = pass_time(self._state, at, step(self._state, events, at, begin(self._state)))
        sent: Arrivals = [Measurement(*key, totals) for key, totals in out.tally.cells.items()]
        due = self._beacon.due(out.stream_time, idle=at.caught_up, seen_at=wall_ms, wall_ms=wall_ms)
        if due is not None:
            self._beacon.sent(due)
            sent.append(due)
        self._state.merge(out)
        return sent


@st.composite
def inputs(draw: st.DrawFn) -> list[list[RunEvent]]:
    """Return the events of three partitions, spread over a few minutes; the disorder stays within the grace."""
    found = []
    for number in range(3):
        events = draw(streams(runs=3, longest=20))
        slow = draw(st.sampled_from((1, 1, 10)))
        found.append(
            [
                structs.replace(
                    event,
                    run_id=f"{event.run_id}_{number}",
                    assistant_id=f"asst_{event.run_id[-1]}",
                    timestamp=START_MS + (event.timestamp - START_MS) * slow,
                )
                for event in events
            ]
        )
    return found


@given(inputs(), st.data())
def test_both_stages_together_make_the_totals_of_one_pass(events: list[list[RunEvent]], data: st.DataObject) -> None:
    """Whichever source is ahead, however the commits of either stage are cut: highest revisions, and failure alerts."""
    wall_ms = START_MS + 10**9
    facts = [fact for part in events for fact in one_pass(part, wall_ms).facts]
    sources = [Source(number, part) for number, part in enumerate(events)]
    windows = Windows(structs.replace(SMALL, sources=3, retention_ms=10**9))
    pending: Arrivals = []
    while any(source.left for source in sources):
        wall_ms += 700
        source = data.draw(st.sampled_from([source for source in sources if source.left]))
        pending += source.commit(data.draw(st.integers(1, 10)), wall_ms)
        if data.draw(st.booleans()):
            windows.commit(*pending)
            pending = []
    for source in sources:
        pending += source.commit(1, wall_ms + 10**6)
    windows.commit(*pending)
    expected = every_window(facts, SMALL.sizes_ms)
    assert windows.latest == expected
    assert windows.dropped == 0
    assert {tuple(numbers) for numbers in windows.revisions.values()} == {(0,)}
    limits = FailureLimits(MINUTE_MS, GRACE_MS, min_ended=2, rates={"warning": "0.3"})
    assert sorted(windows.said) == sorted(failure_alerts(expected, limits))
