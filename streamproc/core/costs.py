"""The condition that the tokens of a window cost more than its budget. Money in whole millionths of a currency."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar

from msgspec import Struct

from streamproc.core.alerts import AlertKind, Severity
from streamproc.core.measure import TOKENS, Group, Totals

MILLION = 10**6
ANY_MODEL = "*"
"""Stands for the models that have no price of their own."""
Prices = Mapping[str, int]
"""Of a million tokens, by their type."""


class CostRules(Struct, frozen=True):
    """What may be spent: `budget` by an assistant on a model in a window; `prices` by model, or for ANY_MODEL."""

    kind: ClassVar = AlertKind.COST_OVER_BUDGET
    relief: ClassVar = "the cost is within the budget"

    budget: int
    prices: Mapping[str, Prices]
    window_ms: int = 60_000

    def judge(self, group: Group, start: int, totals: Totals) -> Sequence[tuple[Severity, str]] | None:
        """See `WindowCondition`; a window tells nothing where there are tokens, and nobody knows what they cost."""
        prices = self.prices.get(group[1] or ANY_MODEL, self.prices.get(ANY_MODEL))
        if prices is None:
            return None if any(name.startswith(TOKENS) for name in totals.counts) else ()
        # Of a token, so a million times as fine as the budget: nothing is rounded before it is compared.
        spent = sum(totals.counts.get(TOKENS + kind, 0) * price for kind, price in prices.items())
        if spent <= self.budget * MILLION:
            return ()
        return [(self.kind.severity, self._said(group, start, -(-spent // MILLION)))]

    def _said(self, group: Group, start: int, spent: int) -> str:
        assistant, model = group
        who = "runs without an assistant" if assistant is None else f"assistant {assistant}"
        of = "an unnamed model" if model is None else model
        since = datetime.fromtimestamp(start // 1000, UTC).isoformat().replace("+00:00", "Z")
        window = f"the {self.window_ms // 1000} s from {since}"
        return f"{who} spent {_money(spent)} on {of} in {window} (the budget is {_money(self.budget)})"


def _money(millionths: int) -> str:
    whole, rest = divmod(millionths, MILLION)
    digits = f"{rest:06}"
    return f"{whole}.{digits[:2]}{digits[2:].rstrip('0')}"
