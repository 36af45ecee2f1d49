"""The measurements of runs: counts and durations that can be added up in any order.

One structure from the fold to the window, so that both stages and the exported counters cannot disagree. It is also the
format of run-measurements and run-windows, field by field in this order: changing it makes a new version of these.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, NamedTuple, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from streamproc.core.model import MAX_TIME_MS

OTHER = "other"
MAX_NAME_CHARS = 256
"""A longer name of an assistant or a model becomes `other`: no producer may blow up every window."""
MAX_CODE_CHARS = 64
MAX_CODES = 100
"""Different error codes of one assistant and model in a window; any more become `other`."""
MAX_DURATION_MS = 10**12
"""The longest duration of one run: 31 years. A longer one comes from a wrong clock, and must not drown the sums."""
MAX_LONG = 2**63 - 1

BOUNDS_MS = (500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000)
"""Upper bounds of the buckets. A run expires after 600 s, so they go past that."""
BUCKETS = (*map(str, BOUNDS_MS), "+Inf")
UNMEASURED = "unmeasured"
"""Beside the buckets: the count of unknown durations (rules.md 15)."""

Instant = Annotated[int, Meta(ge=0, le=MAX_TIME_MS)]
Count = Annotated[int, Meta(ge=0, le=MAX_LONG)]
Name = Annotated[str, Meta(max_length=MAX_NAME_CHARS)]

Group = tuple[str | None, str | None]
"""The grouping of measurements: assistant and model."""
CellKey = tuple[str | None, str | None, int]
"""Assistant, model, start of the base window in milliseconds."""
Key = TypeVar("Key")


def add_up(count: int, amount: int) -> int:
    """Return the sum, at most the largest Avro long: token counts are whatever a producer sends."""
    return min(count + amount, MAX_LONG)


def group_key(group: Group) -> str:
    """Return the key of a group's records: a JSON array (rules.md 2)."""
    return msgspec.json.encode(group).decode()


class DurationNames(NamedTuple):
    """The names of a histogram's counts: of each bucket in BUCKETS, of the unknown durations, of the sum in ms."""

    buckets: tuple[str, ...]
    unmeasured: str
    sum_ms: str

    @classmethod
    def of(cls, kind: str) -> "DurationNames":
        """Return the names of a kind of durations."""
        return cls(tuple(kind + bucket for bucket in BUCKETS), kind + UNMEASURED, kind + SUM_MS)


# The names of the counts, or what they begin with: a status, a type, a bucket, or an outcome and a bucket follow.
CREATED, COMPLETED, TO, TOKENS, RUN = "created", "completed", "to:", "tokens:", "run:"
SUM_MS = "ms"
"""In the place of a bucket: the sum."""
QUEUE_WAIT, ACTION_WAIT = DurationNames.of("queue:"), DurationNames.of("action:")


@lru_cache(maxsize=1_000)
def entered(status: str) -> str:
    """Return the name of the changes to a status. Cached, as are those below: one is made for each event."""
    return TO + status


@lru_cache(maxsize=100)
def run_durations(outcome: str) -> DurationNames:
    """Return the names of how long runs took that ended so."""
    return DurationNames.of(f"{RUN}{outcome}:")


class Totals(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """Sums over some events of one group.

    `counts`: flat, by the names above, zeros left out, since summing is what costs: `created`: runs and further
    attempts that began; `completed`: events that told more of a run that had ended; `to:`: changes of status;
    `tokens:`; `queue:`, `action:`, `run:`: how often something took so long. `errors`: by code, the producer's word.
    What they say in full is in a `Summary`.
    """

    counts: dict[str, Count] = field(default_factory=dict)
    errors: dict[str, Count] = field(default_factory=dict)

    @property
    def arrivals(self) -> int:
        """How many events were measured."""
        moves = sum(count for name, count in self.counts.items() if name.startswith(TO))
        return add_up(moves, self.counts.get(COMPLETED, 0))

    @property
    def created(self) -> int:
        """How many runs and further attempts began."""
        return self.counts.get(CREATED, 0)

    def add(self, name: str, amount: int = 1) -> None:
        """Add to a count, of one commit: too little to need a limit."""
        self.counts[name] = self.counts.get(name, 0) + amount

    def took(self, names: DurationNames, duration_ms: int | None) -> None:
        """Add one duration, of MAX_DURATION_MS at most; None: it is not known."""
        if duration_ms is None:
            self.add(names.unmeasured)
            return
        duration_ms = min(duration_ms, MAX_DURATION_MS)
        self.add(names.buckets[bisect_left(BOUNDS_MS, duration_ms)])
        self.add(names.sum_ms, duration_ms)

    def error(self, code: str) -> None:
        """Count an error; codes are the producer's words, so there may be only so many."""
        errors = self.errors
        known = code in errors or (len(errors) < MAX_CODES and len(code) <= MAX_CODE_CHARS)
        errors[code if known else OTHER] = errors.get(code if known else OTHER, 0) + 1

    def merge(self, other: "Totals") -> None:
        """Add all of another's sums, each up to MAX_LONG."""
        counts, errors = self.counts, self.errors
        for name, amount in other.counts.items():
            count = counts.get(name, 0) + amount
            counts[name] = count if count < MAX_LONG else MAX_LONG  # noqa: FURB136  min() is a call: the hottest loop
        for code, amount in other.errors.items():
            known = code if code in errors or len(errors) < MAX_CODES else OTHER
            errors[known] = add_up(errors.get(known, 0), amount)

    def copy(self) -> "Totals":
        """Return totals that can be changed on their own."""
        return Totals(self.counts.copy(), self.errors.copy())


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
