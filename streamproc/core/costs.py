"""The condition that the tokens of a window cost more than its budget. Money in whole millionths of a currency."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from msgspec import Struct

from streamproc.core.alerts import AlertKind, Severity
from streamproc.core.instants import utc_text
from streamproc.core.measure import TOKENS, Group, Totals

MILLION = 10**6
ANY_MODEL = "*"
"""The key of the prices for models without their own."""
Prices = Mapping[str, int]
"""The price of a million tokens, by token type."""


class CostRules(Struct, frozen=True):
    """`budget`: what an assistant may spend on a model in a window; `prices`: by model, or for ANY_MODEL."""

    kind: ClassVar = AlertKind.COST_OVER_BUDGET
    relief: ClassVar = "the cost is within the budget"

    budget: int
    prices: Mapping[str, Prices]
    window_ms: int = 60_000

    def judge(self, group: Group, start: int, totals: Totals) -> Sequence[tuple[Severity, str]] | None:
        """See `WindowCondition`; None for a window with tokens of unknown price."""
        prices = self.prices.get(group[1] or ANY_MODEL, self.prices.get(ANY_MODEL))
        if prices is None:
            return None if any(name.startswith(TOKENS) for name in totals.counts) else ()
        # By price of a single token, a million times as fine as the budget: nothing is rounded before the comparison.
        spent = sum(totals.counts.get(TOKENS + kind, 0) * price for kind, price in prices.items())
        if spent <= self.budget * MILLION:
            return ()
        return [(self.kind.severity, self._summary(group, start, -(-spent // MILLION)))]

    def _summary(self, group: Group, start: int, spent: int) -> str:
        assistant, model = group
        who = "runs without an assistant" if assistant is None else f"assistant {assistant}"
        of = "an unnamed model" if model is None else model
        since = utc_text(start, "seconds")
        window = f"the {self.window_ms // 1000} s from {since}"
        return f"{who} spent {_money(spent)} on {of} in {window} (the budget is {_money(self.budget)})"


def _money(millionths: int) -> str:
    whole, rest = divmod(millionths, MILLION)
    digits = f"{rest:06}"
    return f"{whole}.{digits[:2]}{digits[2:].rstrip('0')}"
