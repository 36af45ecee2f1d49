"""How long to wait after a failure: twice as long each time, within bounds, and never all at the same moment."""

from random import uniform

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0
"""Where events wait for it: the broker may be back after a moment, and nobody reads what is in between.

Whoever waits for something else has its own, and says why.
"""
SPREAD = 0.5


class Backoff:
    """The waits of one task or sender, in seconds."""

    def __init__(self, first_s: float | None = None, longest_s: float | None = None) -> None:
        """Take the first wait and the longest one; None: as long as events may wait."""
        self._first = FIRST_WAIT_S if first_s is None else first_s
        self._longest = LONGEST_WAIT_S if longest_s is None else longest_s
        self.failures = 0

    def failed(self) -> float:
        """Count a failure and return how long to wait: between half of the time and all of it."""
        whole = min(self._longest, self._first * 2 ** min(self.failures, 32))
        self.failures += 1
        return uniform(whole * SPREAD, whole)  # noqa: S311  spreads load, keeps no secret

    def succeeded(self) -> int:
        """Start anew; return how many failures there were in a row."""
        failures, self.failures = self.failures, 0
        return failures
