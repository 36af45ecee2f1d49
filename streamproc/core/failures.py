"""The condition that too many runs of a window failed."""

from collections.abc import Sequence
from typing import ClassVar

from msgspec import Struct

from streamproc.core.alerts import AlertKind, Severity
from streamproc.core.measure import Group, Totals
from streamproc.core.summary import summary_of


class FailureRules(Struct, frozen=True):
    """When a failure rate fires an alert. `thresholds`: ratios by severity; `window_ms`: the size of its windows."""

    kind: ClassVar = AlertKind.FAILURE_RATE
    relief: ClassVar = "the failure rate is below the limit, or too few runs ended to tell"

    window_ms: int = 60_000
    thresholds: tuple[tuple[Severity, float], ...] = ((Severity.WARNING, 0.1), (Severity.CRITICAL, 0.3))
    min_ended: int = 20
    outcomes: frozenset[str] = frozenset(("failed",))

    def rate(self, totals: Totals) -> tuple[int, int]:
        """Return how many runs failed, and how many ended."""
        ended = summary_of(totals).ended
        return sum(count for outcome, count in ended.items() if outcome in self.outcomes), sum(ended.values())

    def judge(self, group: Group, start: int, totals: Totals) -> Sequence[tuple[Severity, str]] | None:  # noqa: ARG002  whoever it is, and whenever
        """See `WindowCondition`; None for a window in which too few runs ended."""
        failed, ended = self.rate(totals)
        if ended < self.min_ended:
            return None if ended else ()
        if not failed:
            return ()
        rate = failed / ended
        return [
            (severity, f"{failed} of {ended} runs failed ({rate:.0%}; the limit is {threshold:.0%})")
            for severity, threshold in self.thresholds
            if rate >= threshold
        ]
