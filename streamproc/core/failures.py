"""Failure-rate alerts: a condition on each closed window of an assistant and model (rules.md 20 and 21).

Judged as Prometheus judges a rule: it holds for a window, or it does not; for a window without runs it does not.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from streamproc.core.alerts import Alert, AlertKind, AlertState, Severity
from streamproc.core.measure import Group, Totals
from streamproc.core.summary import summary_of


class FailureRules(Struct, frozen=True):
    """When a failure rate is one to be told about. `thresholds`: ratios by severity; `window_ms`: of which windows."""

    window_ms: int = 60_000
    thresholds: tuple[tuple[Severity, float], ...] = ((Severity.WARNING, 0.1), (Severity.CRITICAL, 0.3))
    min_ended: int = 20
    outcomes: frozenset[str] = frozenset(("failed",))

    def rate(self, totals: Totals) -> tuple[int, int]:
        """Return how many runs failed, and how many ended."""
        ended = summary_of(totals).ended
        return sum(count for outcome, count in ended.items() if outcome in self.outcomes), sum(ended.values())

    def holding(self, totals: Totals) -> Iterator[tuple[Severity, str]]:
        """Yield each severity whose condition holds, and what there is to say."""
        failed, ended = self.rate(totals)
        for severity, threshold in self.thresholds:
            if ended >= self.min_ended and failed and failed / ended >= threshold:
                yield severity, f"{failed} of {ended} runs failed ({failed / ended:.0%}; the limit is {threshold:.0%})"


class Failing(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A failure-rate alert that fires. `since`: start of its first window; `until`: end of the last one that held."""

    assistant_id: str | None
    model: str | None
    severity: Severity
    since: int
    until: int

    @property
    def group(self) -> Group:
        """Return what it is about."""
        return self.assistant_id, self.model

    def alert(self, state: AlertState, now: int, summary: str) -> Alert:
        """Return the alert as it fires or resolves at `now`."""
        return Alert(
            alert_id=f"{AlertKind.FAILURE_RATE}:{self.severity}:{group_key(self.group)}:{self.since}",
            kind=AlertKind.FAILURE_RATE,
            severity=self.severity,
            state=state,
            since=self.since,
            decided_at=now,
            summary=summary,
            assistant_id=self.assistant_id,
            model=self.model,
            ends_at=self.until if state is AlertState.RESOLVED else None,
        )


def group_key(group: Group) -> str:
    """Return the key of a group's records: a JSON array (rules.md 2)."""
    return msgspec.json.encode(group).decode()
