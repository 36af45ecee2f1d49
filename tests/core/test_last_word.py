"""State, transitions, measurements and alerts of a run agree on how it ended (rules.md 12 and 13)."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamproc.core.alerts import AlertKind
from streamproc.core.failures import FailureRules
from streamproc.core.measure import Totals
from streamproc.core.model import RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.core.step import begin, step
from streamproc.core.summary import summary_of
from tests.support.events import RETENTION, event, moment

AGAIN = replace(ASSISTANTS, reopened={"failed": frozenset(("queued", "in_progress"))})
USAGES = st.sampled_from((None, (0, 0, 0), (10, 1, 11), (500, 70, 570)))
CODES = st.sampled_from((None, "server_error", "rate_limit_exceeded"))


@st.composite
def _lives(draw: st.DrawFn) -> list[RunEvent]:
    """Events of one run in any order, with tokens and errors that come and go."""
    statuses = draw(st.lists(st.sampled_from((*ASSISTANTS.statuses, "paused")), min_size=1, max_size=12))
    return [
        event(status, at=1_000 * number, offset=number, usage=draw(USAGES), error_code=draw(CODES))
        for number, status in enumerate(statuses)
    ]


class _Attempt:
    """What rules.md 12 says of one attempt, by going through its events once more."""

    def __init__(self) -> None:
        self.outcome: str | None = None
        self.status = ""
        self.usage: tuple[int, int, int] | None = None
        self.error: str | None = None

    def take(self, each: RunEvent) -> None:
        """Take an event of the attempt that was applied."""
        if each.status != self.status:
            self.status, self.error = each.status, each.error_code
            self.outcome = AGAIN.outcomes.get(each.status)
            self.usage = each.usage if self.outcome else each.usage or self.usage
        elif self.outcome:
            self.usage = self.usage if self.usage is not None else each.usage
            self.error = self.error if self.error is not None else each.error_code


@given(_lives(), st.lists(st.integers(0, 12), max_size=3))
def test_state_transitions_measurements_and_alerts_agree_on_the_end(events: list[RunEvent], cuts: list[int]) -> None:
    """Tokens and error are those of the end: in the state, in its transition, added up once, whatever the commits."""
    state, totals, changes, alerts = State(Rules(AGAIN, RETENTION)), Totals(), [], []
    attempts: list[_Attempt] = []
    seconds: set[tuple[int, str, str]] = set()
    edges = sorted({0, *(cut for cut in cuts if cut < len(events)), len(events)})
    for start, end in pairwise(edges):
        out = step(state, events[start:end], moment(), begin(state))
        for cell in out.tally.cells.values():
            totals.merge(cell)
        changes += out.transitions
        alerts += out.alerts
        state.merge(out)
    by_offset = {change.offset: change for change in changes}
    for each in events:
        change = by_offset.get(each.offset)
        if change is not None and change.attempt > len(attempts):
            attempts.append(_Attempt())
        if change is not None or each.status == attempts[-1].status:
            attempts[-1].take(each)
        elif attempts[-1].outcome and each.status in AGAIN.outcomes:
            seconds.add((len(attempts), attempts[-1].status, each.status))
    ended = [attempt for attempt in attempts if attempt.outcome]
    run, last = state.runs["run_1"], attempts[-1]
    assert (run.status, run.attempt) == (last.status, len(attempts))
    if last.outcome:
        assert (run.usage, run.error_code) == (last.usage, last.error)
    summary = summary_of(totals)
    assert summary.ended == _counted(attempt.outcome for attempt in ended)
    assert totals.errors == _counted(attempt.error for attempt in ended)
    tokens = [attempt.usage or (0, 0, 0) for attempt in ended]
    assert (summary.tokens.get("prompt", 0), summary.tokens.get("completion", 0)) == (
        sum(usage[0] for usage in tokens),
        sum(usage[1] for usage in tokens),
    )
    ends = [change for change in changes if change.outcome]
    assert [(change.to_status, change.attempt) for change in ends] == [
        (attempt.status, number) for number, attempt in enumerate(attempts, start=1) if attempt.outcome
    ]
    failed, count = FailureRules().rate(totals)
    assert (failed, count) == (sum(change.outcome == "failed" for change in ends), len(ends))
    assert {alert.kind for alert in alerts} <= {AlertKind.ILLEGAL}
    assert len(alerts) == len(seconds), "once for each attempt and pair of ends"


def _counted(names: Iterable[str | None]) -> dict[str, int]:
    return dict(Counter(name for name in names if name))
