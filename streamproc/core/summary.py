"""Totals in full: named counts and histograms, as in run-metrics and Prometheus."""

from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct, field

from streamproc.core.measure import MAX_LONG, SUM_MS, UNMEASURED, Totals, add_up


class Histogram(Struct):
    """Durations in milliseconds. `buckets`: upper bounds as in BUCKETS to counts, not cumulative, zeros left out.

    The bucket UNMEASURED counts unknown durations; they are not part of `count` and `sum_ms`.
    """

    sum_ms: int = 0
    buckets: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of known durations."""
        return min(sum(self.buckets.values()) - self.buckets.get(UNMEASURED, 0), MAX_LONG)

    @property
    def ends(self) -> int:
        """The number of all durations, the unknown ones included."""
        return min(sum(self.buckets.values()), MAX_LONG)


class Summary(Struct):
    """See `Totals`. `transitions`: by the status that was entered; `tokens`: by type; `runs`: durations by outcome."""

    created: int
    errors: Mapping[str, int]
    transitions: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    runs: dict[str, Histogram] = field(default_factory=dict)
    queue_wait: Histogram = field(default_factory=Histogram)
    action_wait: Histogram = field(default_factory=Histogram)

    @property
    def ended(self) -> dict[str, int]:
        """How many runs ended, by outcome."""
        return {outcome: durations.ends for outcome, durations in self.runs.items()}

    @property
    def run_duration(self) -> Histogram:
        """The durations of all outcomes."""
        total = Histogram()
        for durations in self.runs.values():
            total.sum_ms = add_up(total.sum_ms, durations.sum_ms)
            for bucket, count in durations.buckets.items():
                total.buckets[bucket] = add_up(total.buckets.get(bucket, 0), count)
        return total


def summary_of(totals: Totals) -> Summary:
    """Return totals as a summary; counts of other names are left out."""
    summary = Summary(totals.created, totals.errors)
    by_kind = {"to": summary.transitions, "tokens": summary.tokens}
    waits = {"queue": summary.queue_wait, "action": summary.action_wait}
    for name, count in totals.counts.items():
        kind, outcome, rest = _parts(name)
        if kind in by_kind:
            by_kind[kind][rest] = count
            continue
        durations = waits.get(kind)
        if kind == "run":
            durations = summary.runs.get(outcome)
            if durations is None:
                durations = summary.runs[outcome] = Histogram()
        if durations is None:
            continue
        if rest == SUM_MS:
            durations.sum_ms = count
        else:
            durations.buckets[rest] = count
    return summary


@lru_cache(maxsize=2_000)
def _parts(name: str) -> tuple[str, str, str]:
    """Split the name of a count into its kind, its outcome (empty if it has none), and the rest."""
    kind, _, rest = name.partition(":")
    outcome, _, bucket = rest.rpartition(":") if kind == "run" else ("", "", rest)
    return kind, outcome, bucket
