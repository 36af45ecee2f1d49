"""What is to be looked at when: a calendar, and what a commit takes from it and adds to it."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.calendar import NEVER, Calendar, CalendarOverlay
from tests.support.contents import contents

WIDTH_MS = 1_000
dues = st.lists(st.integers(-5_000, 20_000), max_size=40)


def _end(due_ms: int) -> int:
    return -(-due_ms // WIDTH_MS) * WIDTH_MS


def _filled(dues: list[int]) -> Calendar[int]:
    calendar: Calendar[int] = Calendar(WIDTH_MS)
    for number, due in enumerate(dues):
        calendar.add(number, due)
    return calendar


def _taken(overlay: CalendarOverlay[int], now: int, limit: int = NEVER) -> list[tuple[int, int]]:
    """Take all that is due; return when each was taken, and what."""
    found = []
    while (at := overlay.next_at) <= now:
        keys = overlay.take(limit)
        assert 0 < len(keys) <= limit
        found += [(at, key) for key in keys]
    return found


@given(dues, dues, st.integers(-6_000, 21_000), st.integers(1, 5))
def test_what_is_due_is_taken_once_in_the_order_of_time(
    held: list[int], added: list[int], now: int, limit: int
) -> None:
    """At the end of its bucket, whether it was there or this commit added it; and then the calendar is without it."""
    calendar = _filled(held)
    overlay = CalendarOverlay(calendar)
    for number, due in enumerate(added, start=len(held)):
        overlay.add(number, due)
    found = _taken(overlay, now, limit)
    ends = dict(enumerate(map(_end, [*held, *added])))
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    assert sorted(found) == sorted((end, number) for number, end in ends.items() if end <= now)
    left = {number: end for number, end in ends.items() if end > now}
    assert overlay.next_at == min(left.values(), default=NEVER)
    calendar.merge(overlay)
    assert calendar.next_at == overlay.next_at
    assert sorted(_taken(CalendarOverlay(calendar), 10**6)) == sorted((end, number) for number, end in left.items())


@given(dues, dues, st.integers(-6_000, 21_000), st.integers(1, 5), st.integers(0, 30))
def test_a_calendar_stays_as_it_is_until_it_merges(
    held: list[int], added: list[int], now: int, limit: int, takes: int
) -> None:
    """An overlay that is dropped in the middle of a bucket was never there; the next one takes the same."""
    calendar = _filled(held)
    before = contents(calendar)
    overlay = CalendarOverlay(calendar)
    for due in added:
        overlay.add(-1, due)
        for _ in range(takes):
            if overlay.next_at <= now:
                overlay.take(limit)
    assert contents(calendar) == before
    assert len(_taken(CalendarOverlay(calendar), now)) == sum(_end(due) <= now for due in held)


moves = st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 20_000), st.integers(1, 4), st.booleans()))


@given(moves)
def test_commits_one_after_the_other_lose_and_double_nothing(found: list[tuple[int, int, int, bool]]) -> None:
    """Each adds a key and takes some, in the middle of a bucket or not; a plain list of what is left says the same."""
    calendar: Calendar[int] = Calendar(WIDTH_MS)
    left: Counter[tuple[int, int]] = Counter()
    for number, (due, now, limit, is_committed) in enumerate(found):
        overlay = CalendarOverlay(calendar)
        overlay.add(number, due)
        here = left + Counter([(_end(due), number)])
        if overlay.next_at <= now:
            at = overlay.next_at
            taken = Counter((at, key) for key in overlay.take(limit))
            assert at == min(end for end, _ in here)
            assert taken <= here
            here -= taken
        if is_committed:
            calendar.merge(overlay)
            left = here
    assert Counter(_taken(CalendarOverlay(calendar), 10**6)) == left
