"""The life cycle's tables, held against rules.md 12 to 14 and docs/domain.md 3."""

import pytest

from streamproc.core.lifecycle import Profile
from streamproc.core.model import Verdict
from streamproc.core.profiles import ASSISTANTS, PROFILES

OPEN = tuple(ASSISTANTS.documented)
TERMINAL = tuple(ASSISTANTS.outcomes)


def test_every_status_of_the_reference_is_known() -> None:
    """The reference document's eight, and `incomplete` of v2.1."""
    reference = "queued in_progress requires_action cancelling cancelled failed completed expired incomplete"
    assert set(ASSISTANTS.statuses) == set(reference.split())


@pytest.mark.parametrize("status", [*OPEN, *TERMINAL, "paused"])
def test_a_new_run_is_applied_and_expected_only_if_queued(status: str) -> None:
    """Rule 12."""
    move = ASSISTANTS.judge(None, status)
    assert (move.verdict, move.expected) == (Verdict.APPLIED, status == "queued")


@pytest.mark.parametrize("to", TERMINAL)
@pytest.mark.parametrize("start", [*OPEN, "paused"])
def test_an_open_run_may_always_end(start: str, to: str) -> None:
    """Rule 13: flagged where the table does not document it."""
    move = ASSISTANTS.judge(start, to)
    assert move.verdict is Verdict.APPLIED
    assert move.expected == (to in ASSISTANTS.documented.get(start, ()))


@pytest.mark.parametrize("start", TERMINAL)
@pytest.mark.parametrize("to", [*OPEN, *TERMINAL, "paused"])
def test_terminal_absorbs(start: str, to: str) -> None:
    """Rule 13: another terminal status is ILLEGAL, anything else STALE."""
    if start != to:
        assert ASSISTANTS.judge(start, to).verdict is (Verdict.ILLEGAL if to in TERMINAL else Verdict.STALE)


@pytest.mark.parametrize(
    ("start", "to", "verdict", "expected"),
    [
        ("queued", "in_progress", Verdict.APPLIED, True),
        ("queued", "requires_action", Verdict.APPLIED, False),
        ("queued", "cancelling", Verdict.APPLIED, False),
        ("in_progress", "requires_action", Verdict.APPLIED, True),
        ("in_progress", "cancelling", Verdict.APPLIED, True),
        ("in_progress", "cancelled", Verdict.APPLIED, False),
        ("in_progress", "queued", Verdict.STALE, False),
        ("requires_action", "queued", Verdict.APPLIED, True),
        ("requires_action", "in_progress", Verdict.APPLIED, False),
        ("requires_action", "cancelling", Verdict.APPLIED, False),
        ("requires_action", "expired", Verdict.APPLIED, True),
        ("requires_action", "completed", Verdict.APPLIED, False),
        ("cancelling", "cancelled", Verdict.APPLIED, True),
        ("cancelling", "completed", Verdict.APPLIED, False),
        ("cancelling", "queued", Verdict.STALE, False),
        ("cancelling", "in_progress", Verdict.STALE, False),
        ("cancelling", "requires_action", Verdict.STALE, False),
    ],
)
def test_the_rows_of_the_table(start: str, to: str, verdict: Verdict, expected: bool) -> None:
    """docs/domain.md 3, row by row."""
    assert ASSISTANTS.judge(start, to) == (verdict, expected)


@pytest.mark.parametrize("status", OPEN)
def test_an_unknown_status_may_be_entered_and_left(status: str) -> None:
    """Rule 14."""
    assert ASSISTANTS.judge(status, "paused") == (Verdict.APPLIED, False)
    assert ASSISTANTS.judge("paused", status) == (Verdict.APPLIED, False)
    assert ASSISTANTS.judge("paused", "dreaming") == (Verdict.APPLIED, False)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_the_tables_are_whole(profile: Profile) -> None:
    """Each status named anywhere has a row; terminal ones have none; each end names its outcome."""
    named = {to for row in (*profile.documented.values(), *profile.accepted.values()) for to in row}
    assert named <= set(profile.statuses)
    assert not set(profile.documented) & set(profile.outcomes)
    assert {*profile.initial, *profile.queued, *profile.running, *profile.waiting} <= set(profile.documented)
    assert set(profile.ended_by) <= set(profile.outcomes)
    for status in profile.documented:
        assert not profile.documented[status] & profile.accepted.get(status, frozenset())
