"""Conditions on windows, as data: each window of an assistant and model is judged by them (rules.md 20 and 21).

As with a rule of Prometheus, a condition holds for a window or it does not; for a window without runs it does not.
`windows` does the rest for all conditions alike: firing, resolving, the state in between.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from streamproc.core.alerts import Alert, AlertKind, AlertState, Severity
from streamproc.core.measure import Group, Totals, group_key


class WindowCondition(Protocol):
    """Settings of one condition; there is at most one of each kind."""

    @property
    def kind(self) -> AlertKind:
        """The kind of its alerts."""

    @property
    def window_ms(self) -> int:
        """The size of the windows that it judges."""

    @property
    def relief(self) -> str:
        """The summary for the resolution, once it no longer holds."""

    def judge(self, group: Group, start: int, totals: Totals) -> Sequence[tuple[Severity, str]] | None:
        """Return each severity for which it holds for a window, with a summary.

        None: the window is not enough to decide. It counts as not holding, and as unjudged.
        """


class HoldingKey(NamedTuple):
    """The key of a holding condition: its kind, the group that it is about, and the severity."""

    kind: AlertKind
    group: Group
    severity: Severity


class Holding(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A condition that holds, so that its alert fires; its kind is in the key.

    `since`: start of the first window for which it held; `until`: end of the last one.
    """

    assistant_id: str | None
    model: str | None
    severity: Severity
    since: int
    until: int

    def alert(self, kind: AlertKind, state: AlertState, now: int, summary: str) -> Alert:
        """Return the alert as it fires or resolves at `now`."""
        return Alert(
            alert_id=f"{kind}:{self.severity}:{group_key((self.assistant_id, self.model))}:{self.since}",
            kind=kind,
            severity=self.severity,
            state=state,
            since=self.since,
            decided_at=now,
            summary=summary,
            assistant_id=self.assistant_id,
            model=self.model,
            ends_at=self.until if state is AlertState.RESOLVED else None,
        )
