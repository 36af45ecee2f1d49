"""What is measured of runs: counts and durations that can be added up in any order.

One structure from the fold to the window, so that both stages and the exported counters cannot disagree. It is also
what stands in run-measurements and run-windows, field by field in this order: a change of it is a new version of these.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar

from msgspec import Meta, Struct, field

from streamproc.core.model import MAX_TIME_MS

OTHER = "other"
MAX_NAME_CHARS = 256
"""A longer name of an assistant or a model is `other`: whoever sends it must not blow up every window."""
MAX_CODE_CHARS = 64
MAX_CODES = 100
"""Different error codes of one assistant and model in a window; those beyond are `other`."""
MAX_DURATION_MS = 10**12
"""Of one run: 31 years. A longer one comes from a wrong clock, and must not drown the sums."""
MAX_LONG = 2**63 - 1

BOUNDS_MS = (500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000)
"""Upper bounds of the buckets. A run expires after 600 s, so they go past that."""
BUCKETS = (*map(str, BOUNDS_MS), "+Inf")
UNMEASURED = "unmeasured"
"""Beside the buckets: what took a time that is not known (rules.md 15)."""

Instant = Annotated[int, Meta(ge=0, le=MAX_TIME_MS)]
Count = Annotated[int, Meta(ge=0, le=MAX_LONG)]
Name = Annotated[str, Meta(max_length=MAX_NAME_CHARS)]

Group = tuple[str | None, str | None]
"""What is measured apart: assistant and model."""
CellKey = tuple[str | None, str | None, int]
"""Assistant, model, start of the base window in milliseconds."""
Key = TypeVar("Key")


def add(counts: dict[str, int], name: str, amount: int) -> None:
    """Add to a count, up to what an Avro long holds: token counts are the producer's word."""
    counts[name] = add_up(counts.get(name, 0), amount)


def add_up(count: int, amount: int) -> int:
    """Return the sum, or the most that a record can hold."""
    total = count + amount
    return total if total < MAX_LONG else MAX_LONG  # noqa: FURB136  min() is a call, in what is done most


class Histogram(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """Durations in milliseconds. `buckets`: upper bounds as in BUCKETS to counts, not cumulative, zeros left out.

    Without buckets there is no sum either. UNMEASURED among them counts those that are not known; they are no part of `count` and `sum_ms`.
    """

    sum_ms: Count = 0
    buckets: dict[str, Count] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many durations."""
        return min(sum(self.buckets.values()) - self.buckets.get(UNMEASURED, 0), MAX_LONG)

    @property
    def ends(self) -> int:
        """How many there were, those of an unknown duration too."""
        return min(sum(self.buckets.values()), MAX_LONG)

    def add(self, duration_ms: int | None) -> None:
        """Add one duration, of MAX_DURATION_MS at most; None: it is not known."""
        if duration_ms is None:
            add(self.buckets, UNMEASURED, 1)
            return
        duration_ms = min(duration_ms, MAX_DURATION_MS)
        bucket = BUCKETS[bisect_left(BOUNDS_MS, duration_ms)]
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.sum_ms += duration_ms

    def merge(self, other: "Histogram") -> None:
        """Add all of another's durations."""
        _merge(self.buckets, other.buckets)
        self.sum_ms = add_up(self.sum_ms, other.sum_ms)

    def copy(self) -> "Histogram":
        """Return one that can be changed on its own."""
        return Histogram(self.sum_ms, dict(self.buckets))


class Totals(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """Sums over some events of one group. `arrivals`: how many events were measured; `durations`: by outcome."""

    arrivals: Count = 0
    created: Count = 0
    transitions: dict[str, Count] = field(default_factory=dict)
    errors: dict[str, Count] = field(default_factory=dict)
    tokens: dict[str, Count] = field(default_factory=dict)
    durations: dict[str, Histogram] = field(default_factory=dict)
    queue_wait: Histogram = field(default_factory=Histogram)
    action_wait: Histogram = field(default_factory=Histogram)

    @property
    def ended(self) -> dict[str, int]:
        """How many runs ended, by outcome."""
        return {outcome: histogram.ends for outcome, histogram in self.durations.items()}

    @property
    def run_duration(self) -> Histogram:
        """The durations of all outcomes."""
        total = Histogram()
        for histogram in self.durations.values():
            total.merge(histogram)
        return total

    def ended_as(self, outcome: str, duration_ms: int | None) -> None:
        """Count a run that ended; None: it is not known how long it took."""
        histogram = self.durations.get(outcome)
        if histogram is None:
            histogram = self.durations[outcome] = Histogram()
        histogram.add(duration_ms)

    def error(self, code: str) -> None:
        """Count an error; codes are the producer's words, so there may be only so many."""
        known = code in self.errors or (len(self.errors) < MAX_CODES and len(code) <= MAX_CODE_CHARS)
        add(self.errors, code if known else OTHER, 1)

    def merge(self, other: "Totals") -> None:
        """Add all of another's sums."""
        self.arrivals = add_up(self.arrivals, other.arrivals)
        self.created = add_up(self.created, other.created)
        _merge(self.transitions, other.transitions)
        _merge(self.tokens, other.tokens)
        for code, count in other.errors.items():
            known = code in self.errors or len(self.errors) < MAX_CODES
            add(self.errors, code if known else OTHER, count)
        for outcome, histogram in other.durations.items():
            before = self.durations.get(outcome)
            if before is None:
                self.durations[outcome] = histogram.copy()
            else:
                before.merge(histogram)
        if other.queue_wait.buckets:
            self.queue_wait.merge(other.queue_wait)
        if other.action_wait.buckets:
            self.action_wait.merge(other.action_wait)

    def copy(self) -> "Totals":
        """Return totals that can be changed on their own."""
        return Totals(
            self.arrivals,
            self.created,
            self.transitions.copy(),
            self.errors.copy(),
            self.tokens.copy(),
            {outcome: histogram.copy() for outcome, histogram in self.durations.items()},
            self.queue_wait.copy(),
            self.action_wait.copy(),
        )


class Measurement(Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """The sums of one commit, group and base window, whatever the partitions of its events. `start` in milliseconds."""

    assistant_id: Name | None
    model: Name | None
    start: Instant
    totals: Totals


class Mark(Struct, array_like=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """How far a source has come (rules.md 18). Times in milliseconds.

    `watermark`: its stream time; `idle`: it is caught up and holds nobody back; `seen_at`: the clock at the last commit
    that had records, 0 where there was none since the task began; `sent_at`: the clock now.
    """

    source_partition: Count
    watermark: Instant
    idle: bool
    seen_at: Instant
    sent_at: Instant


class Measurements(Struct, frozen=True):
    """What one record of run-measurements holds. The marks tell of what is in front of them, these sums included."""

    sums: Sequence[Measurement] = ()
    marks: Sequence[Mark] = ()


def summed(parts: Sequence[Mapping[Key, Totals]]) -> Mapping[Key, Totals]:
    """Return the sums of all parts by key; the parts are left as they are."""
    if len(parts) == 1:
        return parts[0]
    whole: dict[Key, Totals] = {}
    own: set[Key] = set()
    for part in parts:
        for key, totals in part.items():
            if key not in whole:
                whole[key] = totals
                continue
            if key not in own:
                own.add(key)
                whole[key] = whole[key].copy()
            whole[key].merge(totals)
    return whole


def name(value: str | None) -> str | None:
    """Return the name under which an assistant or a model is measured."""
    return value if value is None or len(value) <= MAX_NAME_CHARS else OTHER


def _merge(counts: dict[str, int], other: Mapping[str, int]) -> None:
    for key, amount in other.items():
        total = counts.get(key, 0) + amount
        counts[key] = total if total < MAX_LONG else MAX_LONG  # noqa: FURB136  see `add_up`
