"""What is measured of runs: sums that may be made in any order, against a count of every single event."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from streamproc.core.deadlines import Deadlines
from streamproc.core.measure import (
    BUCKETS,
    MAX_CODES,
    MAX_DURATION_MS,
    OTHER,
    Totals,
    name,
)
from streamproc.core.model import MAX_AHEAD_MS, Moment, RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.core.step import begin, step
from streamproc.core.summary import summary_of
from tests.support.events import START_MS, event, streams
from tests.support.metrics_oracle import Totals as Sums
from tests.support.metrics_oracle import WindowOf, one_pass, totals_of, windows
from tests.support.oracle import FOREVER
from tests.support.sums import summary_of_all, totals_from

BASE_MS = 5_000
RULES = Rules(ASSISTANTS, FOREVER, Deadlines(overdue=False), BASE_MS)
WALL_MS = START_MS + 10_000_000
SECOND_S = START_MS // 1000

Measured = dict[WindowOf, Totals]


def _measured(*commits: Sequence[RunEvent]) -> Measured:
    """Return the sums of these commits, one after the other."""
    state, found = State(RULES), Measured()
    for events in commits:
        out = step(state, events, Moment(WALL_MS, caught_up=False), begin(state))
        for (assistant, model, start), totals in out.tally.cells.items():
            found.setdefault(WindowOf(assistant, model, BASE_MS, start), Totals()).merge(totals)
        state.merge(out)
    return found


def _sums(found: Measured) -> dict[WindowOf, Sums]:
    return {window: totals_of(totals) for window, totals in found.items()}


def _expected(events: Sequence[RunEvent]) -> dict[WindowOf, Sums]:
    return windows(one_pass(events, WALL_MS).facts, (BASE_MS,))


def _alone(*events: RunEvent) -> Sums:
    """Return the sums of events that are all of one group, over all windows."""
    total = Totals()
    for totals in _measured(events).values():
        total.merge(totals)
    return totals_of(total)


cuts = st.lists(st.integers(0, 40), max_size=6).map(sorted)
ASSISTANTS_OF = {"run_1": "asst_1", "run_2": "asst_1", "run_3": None, "run_4": "x" * 300}


def _named(events: list[RunEvent]) -> list[RunEvent]:
    return [structs.replace(event, assistant_id=ASSISTANTS_OF[event.run_id]) for event in events]


traffic = streams().map(_named)


def _parts(events: list[RunEvent], where: Sequence[int]) -> list[list[RunEvent]]:
    return [events[start:end] for start, end in pairwise([0, *where, len(events)])]


# The whole of it


@given(traffic)
def test_measurements_are_those_of_a_count_of_single_events(events: list[RunEvent]) -> None:
    """The oracle makes a fact of every applied event, and counts them."""
    assert _sums(_measured(events)) == _expected(events)


@given(traffic, cuts)
def test_cutting_commits_anywhere_changes_no_sum(events: list[RunEvent], where: list[int]) -> None:
    """Sums of commits add up to the sums of one."""
    assert _measured(*_parts(events, where)) == _measured(events)


@given(traffic)
def test_an_event_repeated_is_measured_once(events: list[RunEvent]) -> None:
    """A duplicate is no fact."""
    assert _measured([copy for each in events for copy in (each, each)]) == _measured(events)


@given(traffic, st.randoms(use_true_random=False))
def test_sums_may_be_made_in_any_order(events: list[RunEvent], random) -> None:
    """As they come from several sources."""
    pieces = [(window, totals) for each in _split(events) for window, totals in _measured(each).items()]
    sums: list[Measured] = []
    for _ in range(2):
        random.shuffle(pieces)
        found = Measured()
        for window, totals in pieces:
            found.setdefault(window, Totals()).merge(totals)
        sums.append(found)
    assert sums[0] == sums[1]


def _split(events: list[RunEvent]) -> list[list[RunEvent]]:
    """Return the events of each run apart: as if each had a source of its own."""
    return [[event for event in events if event.run_id == run] for run in {event.run_id for event in events}]


# What is counted


def test_a_run_through_its_life() -> None:
    """docs/domain.md 2: usage counts once, at the end; the first start counts, a resumption does not."""
    usage = (100, 20, 120)
    found = _alone(
        event("queued"),
        event("in_progress", at=2_000, offset=1, started_at=SECOND_S + 2),
        event("requires_action", at=9_000, offset=2, started_at=SECOND_S + 2, usage=(50, 10, 60)),
        event("queued", at=12_500, offset=3, started_at=SECOND_S + 2),
        event("in_progress", at=13_000, offset=4, started_at=SECOND_S + 13),
        event("completed", at=20_000, offset=5, completed_at=SECOND_S + 20, usage=usage),
        event("completed", at=21_000, offset=6, completed_at=SECOND_S + 20, usage=usage),
    )
    assert found == {
        "created": 1,
        "ended": {"succeeded": 1},
        "errors": {},
        "transitions": {"queued": 2, "in_progress": 2, "requires_action": 1, "completed": 1},
        "tokens": {"prompt": 100, "completion": 20},
        "queue_wait": {"count": 1, "sum_ms": 2_000, "buckets": {"2000": 1}},
        "run_duration": {"count": 1, "sum_ms": 20_000, "buckets": {"30000": 1}},
        "action_wait": {"count": 1, "sum_ms": 3_500, "buckets": {"5000": 1}},
    }


def test_what_comes_after_the_end_is_counted_when_it_comes() -> None:
    """rules.md 12: usage and an error that the first end did not bring."""
    found = _measured(
        [
            event("failed"),
            event("failed", at=6_000, offset=1, usage=(1, 2, 3), error_code="server_error"),
            event("failed", at=12_000, offset=2, usage=(1, 2, 3), error_code="server_error"),
        ]
    )
    sums = {window.start - START_MS: totals for window, totals in _sums(found).items()}
    assert sums.keys() == {0, 5_000}
    assert (sums[0]["ended"], sums[0]["errors"], sums[0]["tokens"]) == ({"failed": 1}, {}, {})
    assert (sums[5_000]["ended"], sums[5_000]["errors"]) == ({}, {"server_error": 1})
    assert sums[5_000]["tokens"] == {"prompt": 1, "completion": 2}


def test_stale_and_second_ends_are_not_measured() -> None:
    """They change nothing of the run."""
    ended = [event("completed", offset=0)]
    assert _alone(*ended, event("in_progress", at=1, offset=1), event("failed", at=2, offset=2)) == _alone(*ended)


@pytest.mark.parametrize(
    ("fields", "duration"),
    [
        ({"created_at": SECOND_S - 10, "completed_at": SECOND_S + 20}, 30_000),
        ({"created_at": SECOND_S, "completed_at": None}, 7_000),
        ({"created_at": None, "completed_at": SECOND_S}, 7_000),
        ({"created_at": SECOND_S + 50, "completed_at": SECOND_S}, 0),
        ({"created_at": 0, "completed_at": 253_402_300_799}, MAX_DURATION_MS),
    ],
)
def test_a_duration_is_the_run_objects_else_kafkas(fields: dict[str, int | None], duration: int) -> None:
    """rules.md 15; never below 0, and none that drowns the others."""
    created = {"created_at": fields["created_at"]}
    found = _alone(event("in_progress", **created), event("completed", at=7_000, offset=1, **fields))
    assert (found["run_duration"]["count"], found["run_duration"]["sum_ms"]) == (1, duration)


def test_an_expired_run_lasts_until_its_event() -> None:
    """rules.md 15: from its creation; the RunObject has no time for that end, so the event's stands for it."""
    found = _alone(
        event("queued", created_at=SECOND_S - 5), event("expired", at=600_000, offset=1, created_at=SECOND_S - 5)
    )
    assert found["run_duration"]["sum_ms"] == 605_000


@pytest.mark.parametrize(
    ("events", "duration"),
    [
        ([event("expired", at=90_000, created_at=SECOND_S - 30)], 120_000),
        ([event("failed", at=90_000, created_at=SECOND_S - 30, failed_at=SECOND_S + 10)], 40_000),
        ([event("expired", at=90_000, created_at=None)], None),
        ([event("queued", created_at=None), event("expired", at=90_000, offset=1, created_at=None)], 90_000),
        # Kafka's timestamp lies days before the creation: it tells of no end. Two of them tell of the time between.
        ([event("expired", at=-700_000_000)], None),
        ([event("queued", at=-700_090_000), event("expired", at=-700_000_000, offset=1)], 90_000),
        ([event("completed", at=9_000, completed_at=SECOND_S - 4_000)], None),
        ([event("completed", at=-1_000)], 0),
    ],
    ids=[
        "only the end, no time of it",
        "only the end",
        "neither is known",
        "no creation",
        "wrong timestamp",
        "two wrong timestamps",
        "an end before the creation",
        "clocks that differ a little",
    ],
)
def test_a_duration_that_is_not_known_is_not_0(events: list[RunEvent], duration: int | None) -> None:
    """rules.md 15: it is no observation; that the run ended is counted all the same."""
    found = _alone(*events)
    assert sum(found["ended"].values()) == 1
    expected = (0, 0) if duration is None else (1, duration)
    assert (found["run_duration"]["count"], found["run_duration"]["sum_ms"]) == expected


def test_a_time_that_is_not_believed_makes_no_duration() -> None:
    """It is measured as of the stream's time, and the run's end with it; at the very first as of the clock's."""
    ahead = 10**11
    found = _alone(event("queued"), event("expired", at=ahead, offset=1))
    assert found["run_duration"] == {"count": 1, "sum_ms": 0, "buckets": {"500": 1}}
    (window,) = _measured([event("expired", at=ahead, offset=0)])
    assert window.start == WALL_MS - WALL_MS % BASE_MS


@pytest.mark.parametrize(("left_at", "waited"), [(9_000, 4_000), (5_000 - 400_000, None), (4_000, 0)])
def test_a_wait_that_is_not_known_is_not_0(left_at: int, waited: int | None) -> None:
    """rules.md 15, of what a run waits for: a timestamp from before the wait tells of none."""
    found = _alone(event("requires_action", at=5_000), event("completed", at=left_at, offset=1))
    waits = found["action_wait"]
    assert (waits["count"], waits["sum_ms"]) == ((0, 0) if waited is None else (1, waited))


def test_an_event_is_measured_in_the_window_of_its_own_time() -> None:
    """Not of its arrival, nor of the end that it tells of; one that is far ahead of the clock: of the stream's."""
    late, ahead = MAX_AHEAD_MS + 1, 10_000_000 + MAX_AHEAD_MS + 1
    found = _measured(
        [
            event("queued", run="a", at=7_000, offset=0),
            event("queued", run="b", at=-late, offset=1),
            event("queued", run="c", at=ahead, offset=2),
            event("queued", run="d", at=ahead - 1, offset=3),
        ]
    )
    starts = [(START_MS + at) // BASE_MS * BASE_MS for at in (7_000, -late, 7_000, ahead - 1)]
    assert {window.start: totals.created for window, totals in found.items()} == {
        starts[0]: 2,
        starts[1]: 1,
        starts[3]: 1,
    }


# Histograms


def test_buckets_reach_past_the_expiry_of_a_run() -> None:
    """A run expires after 600 s."""
    assert [bound for bound in BUCKETS if bound != "+Inf" and int(bound) > 600_000]


@pytest.mark.parametrize(
    ("duration", "bucket"),
    [
        (0, "500"),
        (500, "500"),
        (501, "1000"),
        (600_000, "600000"),
        (600_001, "900000"),
        (3_600_001, "+Inf"),
        (2**62, "+Inf"),
    ],
)
def test_a_bucket_holds_its_upper_bound(duration: int, bucket: str) -> None:
    """As Prometheus' `le` does."""
    assert summary_of(totals_from(queue_wait=[duration])).queue_wait.buckets == {bucket: 1}


# What nobody should send


def test_long_names_are_one_group() -> None:
    """A name of a megabyte takes no megabyte in each window."""
    found = _measured([event("queued", run=f"run_{n}", offset=n, model=str(n) * 2**20) for n in range(5)])
    assert {(window.model, totals.created) for window, totals in found.items()} == {(OTHER, 5)}
    assert name("a" * 256) == "a" * 256
    assert name("a" * 257) == OTHER
    assert (name(""), name(None)) == ("", None)


def test_so_many_groups_are_told_apart_in_a_window() -> None:
    """First come, first served; those beyond are one group, and none is lost. Each window anew."""
    few = Rules(ASSISTANTS, FOREVER, Deadlines(overdue=False), BASE_MS, max_groups=10)
    state = State(few)
    for window in range(3):
        events = [
            event("queued", run=f"run_{window}_{n}", at=window * BASE_MS, offset=n, model=f"model_{n}")
            for n in range(50)
        ]
        found: dict[str | None, int] = {}
        for part in (events[:5], events[5:], events[:3]):
            out = step(state, part, Moment(WALL_MS, caught_up=False), begin(state))
            for (_, model, _), totals in out.tally.cells.items():
                found[model] = found.get(model, 0) + totals.created
            state.merge(out)
        assert found == {**{f"model_{n}": 1 for n in range(10)}, OTHER: 40}


def test_old_windows_do_not_take_the_memory_of_groups() -> None:
    """However many different times producers send."""
    state = State(RULES)
    for number in range(500):
        events = [event("queued", run=f"run_{number}", at=-number * 10**8, offset=number)]
        step(state, events, Moment(WALL_MS, caught_up=False), begin(state))
    assert len(state.limiter._groups) <= 10


def test_error_codes_are_limited_and_none_is_lost() -> None:
    """5,000 codes, some of a megabyte: what is beyond the limit is `other`, in one commit and in the sum of several."""
    events = [event("failed", run=f"run_{n}", offset=n, error_code=f"code_{n}" + "x" * (n % 100)) for n in range(5_000)]
    events += [event("failed", run=f"long_{n}", offset=n, error_code=str(n) * 2**20) for n in range(3)]
    for found in (_measured(events), _measured(events[:2_000], events[2_000:])):
        (totals,) = found.values()
        assert len(totals.errors) <= MAX_CODES + 1
        assert max(map(len, totals.errors)) <= 64
        assert sum(totals.errors.values()) == len(events)
        assert totals.errors[OTHER] >= len(events) - MAX_CODES


@pytest.mark.parametrize("count", [-1, -(2**63), 2**62, 2**63 - 1])
def test_impossible_token_counts_do_not_drown_the_sums(count: int) -> None:
    """Each counts up to a limit, and never less than nothing."""
    found = _alone(*(event("completed", run=f"run_{n}", offset=n, usage=(count, 5, count)) for n in range(20)))
    assert 0 <= found["tokens"].get("prompt", 0) <= 20 * 10**12
    assert found["tokens"]["completion"] == 100


@example([2**63 - 1])
@given(st.lists(st.integers(0, 2**63 - 1), max_size=4))
def test_sums_stay_within_what_a_record_can_hold(counts: list[int]) -> None:
    """An Avro long."""
    total = Totals()
    for count in counts:
        total.merge(
            Totals(
                dict.fromkeys(
                    ("created", "to:queued", "tokens:prompt", *(f"run:failed:{n}" for n in (500, 1000, "ms"))), count
                ),
                {"a": count},
            )
        )
    sums = totals_of(total)
    numbers = [
        sums["created"],
        total.arrivals,
        *(number for name in ("errors", "transitions", "tokens", "ended") for number in sums[name].values()),
        *(sums["run_duration"][name] for name in ("count", "sum_ms")),
    ]
    assert max(numbers, default=0) <= 2**63 - 1


def test_a_run_waits_for_its_start_once() -> None:
    """However often it is queued again, and though its object never has a start (rules.md 15)."""
    found = _alone(
        event("queued"),
        event("in_progress", at=2_000, offset=1),
        event("requires_action", at=9_000, offset=2),
        event("queued", at=609_000, offset=3),
        event("in_progress", at=610_000, offset=4),
    )
    assert found["queue_wait"] == {"count": 1, "sum_ms": 2_000, "buckets": {"2000": 1}}


@pytest.mark.parametrize("created_at", [None, SECOND_S])
def test_a_run_waits_for_its_start_from_its_beginning(created_at: int | None) -> None:
    """Through all statuses in which it is queued, and whether or not its object has a creation (rules.md 15)."""
    profile = replace(ASSISTANTS, queued=frozenset(("queued", "requires_action")), waiting=frozenset())
    state = State(Rules(profile, FOREVER, Deadlines(overdue=False), BASE_MS))
    events = [
        event("queued", created_at=created_at),
        event("requires_action", at=10_000, offset=1, created_at=created_at),
        event("in_progress", at=12_000, offset=2, created_at=created_at),
    ]
    out = step(state, events, Moment(WALL_MS, caught_up=False), begin(state))
    waits = summary_of_all(out.tally).queue_wait
    assert (waits.count, waits.sum_ms) == (1, 12_000)
