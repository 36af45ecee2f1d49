"""What an Alertmanager has to be told, and from where the topic must be read again to know it."""

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.alerts import Alert, AlertState
from streamproc.notify.board import AFTERWARDS_MS, AlertTable, TrackedAlert
from streamproc.runtime.feed import Start
from streamproc.runtime.ports import Committed
from tests.support.alerts import MINUTE_MS, START_MS, firing, resolved

RESEND_S = 60.0
AM = "http://am"


def board(limit: int = 100, committed: Committed | None = None, end: int = 0) -> AlertTable:
    it = AlertTable(limit)
    it.assign({0: Start(committed, 0 if committed is None else committed.offset, end)})
    return it


def take(board: AlertTable, offset: int, alert: Alert, now: int | None = None) -> None:
    board.take(0, offset, alert, alert.decided_at, alert.decided_at if now is None else START_MS + now)


def due(board: AlertTable, clock_s: float = 0.0, receiver: str = AM) -> list[str]:
    return [held.alert.alert_id for held in board.due(receiver, RESEND_S, clock_s)]


def tell(board: AlertTable, clock_s: float = 0.0, receiver: str = AM) -> None:
    for held in board.due(receiver, RESEND_S, clock_s):
        held.sent[receiver] = clock_s
        held.settled = True


def offset(board: AlertTable) -> int:
    return board.offsets()[0].offset


def test_what_fires_is_due_at_once_and_again_after_the_interval():
    it = board()
    take(it, 0, firing())
    assert due(it) == ["stuck_queued:run_1:7"]
    tell(it)
    assert due(it, RESEND_S - 1) == []
    assert due(it, RESEND_S) == ["stuck_queued:run_1:7"]


def test_each_receiver_has_times_of_its_own():
    it = board()
    take(it, 0, firing())
    tell(it, 0.0, "http://one")
    assert due(it, 30.0, "http://one") == []
    assert len(due(it, 30.0, "http://other")) == 1


def test_the_end_is_news_and_is_repeated_for_five_minutes():
    it = board()
    take(it, 0, firing())
    tell(it)
    take(it, 1, resolved(at=MINUTE_MS))
    assert len(due(it)) == 1
    tell(it)
    it.expire(START_MS + MINUTE_MS + AFTERWARDS_MS - 1)
    assert len(due(it, RESEND_S)) == 1
    it.expire(START_MS + MINUTE_MS + AFTERWARDS_MS)
    assert due(it, RESEND_S) == []


def test_what_ended_is_kept_until_somebody_has_taken_it():
    it = board()
    take(it, 0, resolved())
    it.expire(START_MS + 100 * AFTERWARDS_MS)
    assert len(due(it)) == 1
    assert it.waiting == 1
    tell(it)
    it.expire(START_MS + 100 * AFTERWARDS_MS)
    assert (due(it, RESEND_S), it.waiting) == ([], 0)


def test_five_minutes_count_from_when_people_could_know():
    """Decided in a backlog, an alert ended long before it was published."""
    it = board()
    take(it, 0, firing())
    it.take(0, 1, resolved(at=0), START_MS + 60 * MINUTE_MS, START_MS + 60 * MINUTE_MS)
    tell(it)
    it.expire(START_MS + 64 * MINUTE_MS)
    assert len(due(it, RESEND_S)) == 1


def test_a_clock_that_is_ahead_keeps_nothing_for_ever():
    it = board()
    far = START_MS + 1_000_000 * MINUTE_MS
    it.take(0, 0, resolved(ends_at=far), far, START_MS)
    tell(it)
    it.expire(START_MS + AFTERWARDS_MS)
    assert due(it, RESEND_S) == []


def test_an_occurrence_is_sent_until_five_minutes_after_its_end():
    it = board()
    take(it, 0, firing(kind="illegal", ends_at=START_MS + MINUTE_MS))
    tell(it)
    it.expire(START_MS + MINUTE_MS + AFTERWARDS_MS - 1)
    assert len(due(it, RESEND_S)) == 1
    it.expire(START_MS + MINUTE_MS + AFTERWARDS_MS)
    assert due(it, RESEND_S) == []


def test_labels_are_made_of_the_firing_record():
    it = board()
    take(it, 0, firing(status="queued"))
    take(it, 1, resolved(status="completed"))
    (held,) = it.due(AM, RESEND_S, 0.0)
    assert (held.alert.status, held.began.status) == ("completed", "queued")


def test_nothing_is_due_before_the_partition_was_read_to_its_end():
    """Else what was resolved long ago would fire once more after each restart."""
    it = board(end=2)
    take(it, 0, firing())
    assert due(it) == []
    take(it, 1, resolved())
    assert due(it) == []
    assert it.release([0])
    assert not it.release([0])
    assert [held.alert.state for held in it.due(AM, RESEND_S, 0.0)] == [AlertState.RESOLVED]


def test_the_offset_is_that_of_the_oldest_alert_to_be_sent():
    it = board()
    assert offset(it) == 0
    take(it, 0, firing("a"))
    take(it, 1, firing("b"))
    take(it, 2, resolved("a", at=0))
    take(it, 3, firing("c"))
    tell(it)
    # The firing record of `a` is read again too: its labels are what identifies it.
    assert offset(it) == 0
    it.expire(START_MS + AFTERWARDS_MS)
    assert offset(it) == 1
    take(it, 4, resolved("b", at=AFTERWARDS_MS))
    take(it, 5, resolved("c", at=AFTERWARDS_MS))
    tell(it)
    it.expire(START_MS + 2 * AFTERWARDS_MS)
    assert offset(it) == 6
    it.skip(0, 6)
    assert offset(it) == 7


def test_nothing_that_ended_is_sent_again_after_a_restart_once_it_was_taken():
    it = board()
    take(it, 0, firing("a"))
    take(it, 1, firing("b"))
    take(it, 2, resolved("b"))
    tell(it)
    it.expire(START_MS + AFTERWARDS_MS)
    again = board(committed=it.offsets()[0], end=3)
    for number, alert in enumerate((firing("a"), firing("b"), resolved("b"))):
        take(again, number, alert, AFTERWARDS_MS)
    again.release([0])
    assert due(again) == ["stuck_queued:a:7"]
    assert again.waiting == 0


def test_what_ended_and_was_not_taken_is_sent_after_a_restart():
    it = board()
    take(it, 0, firing("a"))
    tell(it)
    take(it, 1, resolved("a"))
    again = board(committed=it.offsets()[0], end=2)
    take(again, 0, firing("a"), 10 * AFTERWARDS_MS)
    take(again, 1, resolved("a"), 10 * AFTERWARDS_MS)
    again.release([0])
    assert len(due(again)) == 1
    assert again.waiting == 1


def test_at_the_very_first_start_what_is_over_is_history():
    it = board(end=3)
    for number, alert in enumerate((firing("a"), resolved("a"), firing("b"))):
        take(it, number, alert, 10 * AFTERWARDS_MS)
    it.release([0])
    assert due(it) == ["stuck_queued:b:7"]


def test_metadata_of_somebody_else_is_taken_for_none():
    for metadata in ("", "{}", "[]", "null", '{"settled": "x"}', '{"settled": null}'):
        it = board(committed=Committed(5, metadata), end=6)
        take(it, 5, resolved(), 10 * AFTERWARDS_MS)
        it.release([0])
        assert len(due(it)) == 1, metadata


def test_the_oldest_go_where_there_are_too_many_first_those_that_ended():
    it = board(limit=3)
    take(it, 0, firing("a"))
    take(it, 1, firing("b"))
    take(it, 2, resolved("c"))
    take(it, 3, firing("d"))
    assert (it.dropped, sorted(due(it))) == (1, [f"stuck_queued:{run}:7" for run in "abd"])
    take(it, 4, firing("e"))
    assert (it.dropped, sorted(due(it))) == (2, [f"stuck_queued:{run}:7" for run in "bde"])
    assert offset(it) == 1


def test_what_comes_for_a_partition_that_is_not_ours_is_left_alone():
    it = board()
    it.take(1, 0, firing(), START_MS, START_MS)
    it.skip(1, 0)
    assert (due(it), list(it.offsets()), it.release([1])) == ([], [0], False)
    take(it, 0, firing())
    (held,) = it.due(AM, RESEND_S, 0.0)
    assert it.holds(held)
    it.clear()
    assert (due(it), it.offsets(), it.holds(held)) == ([], {}, False)


def test_a_newer_record_takes_the_place_of_the_older_one():
    it = board()
    take(it, 0, firing())
    (held,) = it.due(AM, RESEND_S, 0.0)
    take(it, 1, resolved())
    assert not it.holds(held)


class Op(NamedTuple):
    """A record of an alert, or None: time passes and what is due is taken or not."""

    run: str | None
    ends: bool
    minutes: int
    told: bool


OPS = st.lists(
    st.builds(Op, st.none() | st.sampled_from("abc"), st.booleans(), st.integers(0, 4), st.booleans()), max_size=30
)


@given(OPS)
def test_reading_again_from_the_committed_offset_gives_the_same_table(ops: Sequence[Op]) -> None:
    """At any moment, whatever was told to anybody by then."""
    it, log, clock = board(), [], 0
    fires: dict[str, str] = {}
    for op in ops:
        clock += op.minutes
        if op.run is not None:
            ends = op.ends and op.run in fires
            alert_id = fires.pop(op.run) if ends else fires.setdefault(op.run, f"{op.run}:{len(log)}")
            alert = (resolved if ends else firing)(op.run, at=clock * MINUTE_MS, alert_id=alert_id)
            log.append(alert)
            take(it, len(log) - 1, alert)
        if op.told:
            tell(it)
        it.expire(START_MS + clock * MINUTE_MS)
        committed = it.offsets()[0]
        again = board(committed=committed, end=len(log))
        for number, alert in enumerate(log[committed.offset :], committed.offset):
            take(again, number, alert, clock * MINUTE_MS)
        again.release([0])
        assert _table(again) == _table(it)
        assert again.offsets() == it.offsets()


def _table(board: AlertTable) -> dict[str, tuple[Alert, Alert, int, int, int | None]]:
    found: list[TrackedAlert] = board.due("nobody", RESEND_S, 0.0)
    return {held.alert.alert_id: (held.alert, held.began, held.first, held.offset, held.until) for held in found}
