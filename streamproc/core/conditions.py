"""Conditions on windows, as data: what is asked of each window of an assistant and model (rules.md 20 and 21).

Judged as Prometheus judges a rule: a condition holds for a window, or it does not; for a window without runs it does
not. `windows` does the rest, alike for all: firing, resolving, what is remembered in between.
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
        """Of the alerts that it makes."""

    @property
    def window_ms(self) -> int:
        """The size of the windows that it is about."""

    @property
    def relief(self) -> str:
        """What there is to say where it holds no longer."""

    def judge(self, group: Group, start: int, totals: Totals) -> Sequence[tuple[Severity, str]] | None:
        """Return each severity for which it holds of a window, and what there is to say.

        None: the window does not tell whether it does. It counts as if it did not, and somebody may want to know.
        """


class HoldingKey(NamedTuple):
    """Of which condition something is known, about whom, and how bad it is."""

    kind: AlertKind
    group: Group
    severity: Severity


class Holding(Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A condition that holds, so that its alert fires; which one says the key.

    `since`: start of its first window; `until`: end of the last one that it held of.
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
