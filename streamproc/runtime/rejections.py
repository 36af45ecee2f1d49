"""How many records of a partition may be rejected: a limit for each cause, and a share at which it stops. Pure.

Nothing is dropped: what is over a limit waits in the input. A commit ends before the first record that would be over
it, so no minute has more rejections of a cause than its limit; the share is judged after each confirmed commit.
"""

from collections import Counter, deque
from collections.abc import Mapping

from streamproc.errors import RejectionReason
from streamproc.runtime.config import DeadLetterSettings
from streamproc.runtime.observer import Pause

SLICE_MS = 1_000
SLICES = 61
"""Looked back on: with the present one, which has only begun, they cover a full minute and at most a second more."""

Closed = tuple[Pause, str]
"""Why nothing passes, and what that means to a person."""


class RejectionGate:
    """Keeps the account of one partition, in memory: a restart, or another owner, begins anew. Times in milliseconds.

    Once it has stopped it never opens again. `is_limited`: whether a cause has a limit, and `allows` has to be asked.
    """

    def __init__(self, settings: DeadLetterSettings) -> None:
        self._settings = settings
        percent, limits = settings.stop_percent, settings.max_per_minute_of
        self.is_limited = settings.max_per_minute is not None or bool(limits)
        self._is_open = percent is None and not self.is_limited
        self._slices: deque[tuple[int, int, Counter[RejectionReason]]] = deque()
        self._records = 0
        self._rejected: Counter[RejectionReason] = Counter()
        self._stopped = ""
        self._exceeded: set[RejectionReason] = set()

    def passed(self, records: int, rejected: Mapping[RejectionReason, int], now_ms: int) -> None:
        """Take note of a confirmed commit."""
        if self._is_open or not records:
            return
        number = self._pass(now_ms)
        before, reasons = 0, Counter[RejectionReason]()
        if self._slices and self._slices[-1][0] == number:
            _, before, reasons = self._slices.pop()
        reasons.update(rejected)
        self._slices.append((number, before + records, reasons))
        self._records += records
        self._rejected.update(rejected)
        self._judge()

    def closed(self, now_ms: int) -> Closed | None:
        """Return why nothing may pass now, None where it may."""
        if self._is_open:
            return None
        if self._stopped:
            return Pause.REJECTIONS, self._stopped
        self._pass(now_ms)
        self._exceeded = {reason for reason in self._exceeded if not self.allows(reason, 1)}
        if not self._exceeded:
            return None
        return Pause.RATE, f"more rejections than allowed: {', '.join(map(self._named, sorted(self._exceeded)))}"

    def allows(self, reason: RejectionReason, count: int) -> bool:
        """Tell whether a commit may reject so many for a reason, given what was committed in the last minute."""
        limit = self._settings.max_per_minute_of.get(reason, self._settings.max_per_minute)
        return limit is None or self._rejected[reason] + count <= limit

    def exceeded(self, reason: RejectionReason) -> None:
        """Take note that the next record would exceed the limit of its reason: nothing passes until it may."""
        self._exceeded.add(reason)

    def _named(self, reason: RejectionReason) -> str:
        of, limit = self._settings.max_per_minute_of, self._settings.max_per_minute
        setting = f"max_per_minute_of: {of[reason]}" if reason in of else f"max_per_minute: {limit}"
        return f"{reason} (dead_letters.{setting})"

    def _judge(self) -> None:
        percent, bad, total = self._settings.stop_percent, self._rejected.total(), self._records
        if percent is None or self._stopped or total < self._settings.stop_min_records:
            return
        if 100 * bad > percent * total:
            self._stopped = (
                f"{bad} of {total} records of the last minute were rejected, more than dead_letters.stop_percent "
                f"({percent:g}) allows: see `streamproc dlq list`, mend the producer, then "
                "`streamproc offsets resume`; or change the settings and restart"
            )

    def _pass(self, now_ms: int) -> int:
        """Forget what is over; return the number of the present slice."""
        number, slices = now_ms // SLICE_MS, self._slices
        if slices and slices[-1][0] - number >= SLICES:
            # The clock was set back: to wait until it is there again might take for ever.
            slices.clear()
            self._records, self._rejected = 0, Counter()
        elif slices:
            number = max(number, slices[-1][0])
        while slices and slices[0][0] <= number - SLICES:
            _, records, reasons = slices.popleft()
            self._records -= records
            self._rejected -= reasons
        return number
