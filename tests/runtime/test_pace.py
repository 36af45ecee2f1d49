"""However costly records are, one go of decoding and folding stays short: heartbeats come in between (DESIGN.md)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.runtime.pace import LEAST, MAX_S, MOST, Pace
from tests.support.application import application


@pytest.mark.parametrize(("record_us", "settles"), [(1, (MOST, MOST)), (10, (1_600, MOST)), (76, (LEAST, 526))])
def test_it_settles_where_one_go_is_short_enough(record_us, settles):
    pace, goes = Pace(), []
    for _ in range(50):
        goes.append(pace.records * record_us / 1_000_000)
        pace.took(pace.records, goes[-1])
    assert settles[0] <= pace.records <= settles[1]
    assert max(goes) <= MAX_S, "it is never too long on the way there either"


def test_records_that_become_costly_make_it_shorter_at_once():
    pace = Pace()
    for _ in range(20):
        pace.took(pace.records, 0.001)
    assert pace.records == MOST
    pace.took(MOST, 2 * MAX_S)
    assert pace.records == MOST // 2


def test_a_few_records_say_nothing_about_many():
    pace = Pace()
    pace.took(1, 0.000_01)
    assert pace.records == LEAST


@given(st.lists(st.tuples(st.integers(0, MOST), st.floats(0, 10)), max_size=50))
def test_it_stays_within_its_bounds(goes):
    pace = Pace()
    for records, seconds in goes:
        pace.took(records, seconds)
        assert LEAST <= pace.records <= MOST


async def test_a_task_takes_as_many_as_its_pace_says(monkeypatch):
    """Costly ones by the hundred, however many are at hand."""
    took = []
    monkeypatch.setattr(Pace, "took", lambda _, records, __: took.append(records))
    app = await application(max_records=10_000)
    for number in range(950):
        app.send("queued", f"run_{number}")
    async with app.working():
        await app.summed()
    assert max(took) == LEAST
