"""What is said of arrivals that changed no status, and why (rules.md 12 and 13)."""

import pytest

from streamproc.core.model import RunEvent, Verdict
from tests.support.events import START_MS, event, fold, new_state


@pytest.mark.parametrize(
    ("before", "arrival", "verdict", "reason"),
    [
        (event("queued"), event("queued", at=1), "duplicate", "repeated"),
        (event("in_progress"), event("in_progress", at=1, payload=b"other"), "applied", "rewritten"),
        (event("completed"), event("completed", at=1, usage=(1, 2, 3)), "applied", "completed"),
        (event("failed"), event("failed", at=1, error_code="server_error"), "applied", "completed"),
        (event("completed"), event("completed", at=1), "duplicate", "repeated"),
        (event("completed"), event("completed", at=1, payload=b"other"), "duplicate", "no_news"),
        (event("in_progress"), event("queued", at=1), "stale", "not_allowed"),
        (event("completed"), event("in_progress", at=1), "stale", "ended"),
        (event("completed"), event("unheard_of", at=1), "stale", "ended"),
        (event("completed"), event("failed", at=1), "illegal", "other_end"),
    ],
)
def test_the_reason_is_told(before: RunEvent, arrival: RunEvent, verdict: str, reason: str) -> None:
    """With what the run was, and what the arrival said it is."""
    state = new_state()
    fold(state, before)
    (ruling,) = fold(state, arrival).rulings
    assert (ruling.verdict, ruling.reason) == (verdict, reason)
    assert (ruling.status_before, ruling.status_said) == (before.status, arrival.status)
    assert (ruling.run_id, ruling.source_offset) == (arrival.run_id, arrival.offset)
    assert (ruling.occurred_at, ruling.attempt) == (START_MS + 1, 1)


def test_a_change_of_status_is_no_ruling() -> None:
    """It is a transition: a new run, too."""
    outcome = fold(new_state(), event("queued"), event("in_progress", at=1), event("completed", at=2))
    assert outcome.rulings == []
    assert outcome.tally.verdicts == {Verdict.APPLIED: 3}
