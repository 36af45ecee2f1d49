"""The time line of a run is to scale."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from streamproc.console.pages.drawing import MAX_TICKS, SMALLEST, line, time_line
from tests.support import fleet
from tests.support.fleet import NOW_MS

LIVES = fleet.lives(80)


def test_stretches_are_as_wide_as_they_lasted():
    for run, steps in LIVES:
        drawn = time_line(run, steps, NOW_MS)
        applied = [step for step in steps if step.verdict == "applied"]
        assert [stretch.status for stretch in drawn.stretches] == [step.to_status for step in applied]
        lasted = [after.at - before.at for before, after in pairwise(applied)]
        wide = [stretch.width for stretch in drawn.stretches][: len(lasted)]
        pairs = [(ms, width) for ms, width in zip(lasted, wide, strict=True) if width > SMALLEST]
        scales = [width / ms for ms, width in pairs]
        assert not scales or max(scales) - min(scales) < 1e-9


def test_everything_is_within_the_picture():
    for run, steps in LIVES:
        drawn = time_line(run, steps, NOW_MS)
        assert all(stretch.x >= 0 and stretch.x + stretch.width <= 100 + SMALLEST for stretch in drawn.stretches)
        assert all(0 <= mark.x <= 100 for mark in drawn.marks)
        assert len(drawn.ticks) <= MAX_TICKS + 1


def test_alerts_refusals_and_the_limit_are_marked():
    run, steps = next(life for life in LIVES if life.run.alerts)
    kinds = [mark.kind for mark in time_line(run, steps, NOW_MS).marks]
    assert {"alert", "limit"} <= set(kinds)


def test_a_history_without_a_transition_has_no_picture():
    run, steps = LIVES[0]
    refused = [structs.replace(step, verdict="stale") for step in steps]
    assert time_line(run, refused, NOW_MS) is None
    assert time_line(None, [], NOW_MS) is None


def test_a_run_of_one_moment_has_a_picture():
    run, steps = LIVES[0]
    ended = structs.replace(run, is_open=False)
    assert len(time_line(ended, steps[:1], NOW_MS).stretches) == 1


@given(st.lists(st.none() | st.floats(0, 1e9)))
def test_a_line_stays_in_its_box_and_has_gaps_where_nothing_was_measured(values):
    drawn = line(values, 100, 20)
    assert drawn.count("M") + drawn.count("L") == sum(value is not None for value in values)
    assert "nan" not in drawn
