"""A window task's core under the test's hand: commits, aborted commits, and what came out of them."""

from collections import Counter
from collections.abc import Mapping

from streamproc.core.alerts import Alert
from streamproc.core.calendar import Calendar
from streamproc.core.measure import Mark, Measurement, Measurements, Totals
from streamproc.core.sources import Sources
from streamproc.core.windows import absorb, begin_windows, finish
from streamproc.core.windowstate import (
    Closing,
    Key,
    Value,
    Window,
    WindowKey,
    WindowOutcome,
    WindowRules,
    WindowState,
)
from tests.support.metrics_oracle import Said, WindowOf, said, totals_of
from tests.support.metrics_oracle import Totals as Sums
from tests.support.sums import totals_from

START_MS = 1_717_200_000_000
"""A multiple of every window size in use here."""
MINUTE_MS = 60_000
RULES = WindowRules(sources=1, stream="run-events", grace_ms=30_000, retention_ms=300_000, silence_ms=0)


Arrived = Measurement | Mark | Measurements
"""What arrives: a record of run-measurements, or what is the only thing in one."""


def record_of(arrival: Arrived) -> Measurements:
    """Return the record that something arrives in."""
    if isinstance(arrival, Measurements):
        return arrival
    return Measurements(marks=[arrival]) if isinstance(arrival, Mark) else Measurements([arrival])


class Windows:
    """See the module. Times in milliseconds after START_MS."""

    def __init__(self, rules: WindowRules = RULES, *, watches_silence: bool = True) -> None:
        self.state = WindowState(rules)
        self.watches_silence = watches_silence
        self.closings: list[Closing] = []
        self.alerts: list[Alert] = []
        self.late = 0
        self.dropped_as: Counter[str] = Counter()

    def attempt(self, *arrivals: Arrived) -> WindowOutcome:
        """Return what a commit would change; nothing is taken over."""
        out = begin_windows(self.state)
        absorb(self.state, map(record_of, arrivals), out)
        finish(self.state, out, watches_silence=self.watches_silence)
        return out

    def commit(self, *arrivals: Arrived) -> WindowOutcome:
        """Take arrivals in one commit."""
        out = self.attempt(*arrivals)
        # As an encoder would have it: what is sent is what is in it at that moment.
        self.closings += [closing._replace(totals=closing.totals.copy()) for closing in out.closings]
        self.alerts += out.alerts
        self.late += out.late
        self.dropped_as.update(out.dropped)
        self.state.merge(out)
        return out

    def restart(self, rules: WindowRules | None = None) -> None:
        """Go on with what the state topic would give back, in another order; by other rules, where some are given."""
        values, watermark = self.state.values, self.state.watermark
        self.state = WindowState(rules or self.state.rules, watermark)
        for key in sorted(values, key=repr):
            self.state.values[key] = copied(values[key])
        self.state.arm()

    @property
    def dropped(self) -> int:
        """Return how many arrivals were dropped, for whatever reason."""
        return self.dropped_as.total()

    @property
    def revisions(self) -> dict[WindowOf, list[int]]:
        """Return the revisions of each window in the order in which they were sent."""
        found: dict[WindowOf, list[int]] = {}
        for closing in self.closings:
            found.setdefault(WindowOf(*closing.key), []).append(closing.revision)
        return found

    @property
    def latest(self) -> dict[WindowOf, Sums]:
        """Return the totals sent last, by window."""
        return {WindowOf(*closing.key): totals_of(closing.totals) for closing in self.closings}

    @property
    def said(self) -> list[Said]:
        """Return the alerts as they can be compared."""
        return [said(alert) for alert in self.alerts]

    @property
    def open_windows(self) -> Mapping[WindowKey, Window]:
        """Return what is remembered of windows."""
        return {
            key: value
            for key, value in self.state.values.items()
            if isinstance(key, WindowKey) and isinstance(value, Window)
        }


def reminders(state: object) -> int:
    """Return how many reminders a state's calendars hold, and how many wait to be filed."""
    limits = getattr(state, "limits", None)
    held = [*vars(state).values(), *(vars(limits).values() if limits else ())]
    calendars = [value for value in held if isinstance(value, Calendar)]
    unfiled = len(limits.unfiled) if limits else 0
    return unfiled + sum(sum(map(len, calendar.buckets.values())) for calendar in calendars)


def copied(value: Value) -> Value:
    """Return a value that shares nothing."""
    return value.copy() if isinstance(value, Window | Sources) else value


def remembered(state: WindowState) -> dict[Key, Value]:
    """Return the whole state, safe from later changes."""
    return {key: copied(value) for key, value in state.values.items()}


def measured(
    at: int = 0, *, assistant: str | None = "asst_1", model: str | None = "gpt-4o", totals: Totals | None = None
) -> Measurement:
    """Return a measurement of the base window (of a minute) that `at` falls into: one run created, unless told else."""
    one = totals_from(created=1, transitions={"queued": 1})
    return Measurement(assistant, model, START_MS + at // MINUTE_MS * MINUTE_MS, totals or one)


def ended(at: int = 0, *, failed: int = 0, succeeded: int = 0, **subject: str | None) -> Measurement:
    """Return a measurement of runs that ended."""
    totals = totals_from(
        transitions={"failed": failed, "completed": succeeded},
        runs={"failed": [1_000] * failed, "succeeded": [1_000] * succeeded},
    )
    return measured(at, totals=totals, **subject)


def mark(watermark: int, *, source: int = 0, seen_at: int | None = None, sent_at: int = 0) -> Mark:
    """Return the mark of a busy source; `seen_at` None: nothing was seen since its task began."""
    seen = 0 if seen_at is None else START_MS + seen_at
    return Mark(source, START_MS + watermark, idle=False, seen_at=seen, sent_at=START_MS + sent_at)


def idle(at: int, *, source: int = 0, watermark: int = 0, seen_at: int | None = None) -> Mark:
    """Return the mark of a source that is caught up at `at` by the clock."""
    seen = 0 if seen_at is None else START_MS + seen_at
    return Mark(source, START_MS + watermark, idle=True, seen_at=seen, sent_at=START_MS + at)
