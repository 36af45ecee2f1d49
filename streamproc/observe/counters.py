"""What confirmed commits add up to: the counters and histograms, and the closed sets that their labels come from."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product

from prometheus_client.core import Metric as Family

from streamproc.core.lifecycle import Profile
from streamproc.core.model import Verdict
from streamproc.core.tally import Tally
from streamproc.observe import names
from streamproc.observe.series import CounterSeries, HistogramSeries, Labels, closed
from streamproc.runtime.observer import CommitReport

REASONS = (
    "bad_framing",
    "bad_run_id",
    "bad_status",
    "bad_time",
    "empty_value",
    "trailing_bytes",
    "undecodable",
    "unknown_schema",
)
"""Why records are rejected; a test holds it equal to what the codec raises."""

ANOMALIES = (
    "illegal",
    "key_absent",
    "key_mismatch",
    "stale",
    "two_partitions",
    "unexpected_transition",
    "unknown_status",
)
"""What is counted as odd; a test holds it equal to what the code counts."""

TOKEN_TYPES = ("prompt", "completion")

CAUSES = ("BrokerUnavailable", "TaskInvalid")
MAX_FURTHER_CAUSES = 20
"""A cause is the class name of any error, Kafka's included: too many to list, few enough to limit."""

PIPELINE_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
RUN_BOUNDS_S = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""A run expires after 600 s, so the buckets go past that."""

NEW = "new"
"""The `from` of a run's first transition: Prometheus takes an empty label for none."""
UNKNOWN_MODEL = "unknown"


class PipelineCounters:
    """What the service does, whatever the runs are about."""

    def __init__(self) -> None:
        self._reasons = closed(REASONS)
        self._causes = Labels({cause: cause for cause in CAUSES}, room=MAX_FURTHER_CAUSES)
        self.consumed = CounterSeries(names.EVENTS_CONSUMED)
        self.rejected = CounterSeries(names.EVENTS_REJECTED, product(REASONS))
        self.commit_duration = HistogramSeries(names.COMMIT_DURATION, PIPELINE_BOUNDS_S)
        self.latency = HistogramSeries(names.END_TO_END_LATENCY, PIPELINE_BOUNDS_S)
        self.failures = CounterSeries(names.TRANSACTIONS_FAILED, product(CAUSES))
        self.rebalances = CounterSeries(names.REBALANCES)

    def add(self, report: CommitReport) -> None:
        """Add one confirmed commit."""
        self.consumed.add(report.records)
        for reason, count in report.rejected.items():
            self.rejected.add(count, self._reasons[reason])
        self.commit_duration.add_all((report.duration_s,))
        if report.records:  # Where only the clock caused the commit there is no record to be late with.
            self.latency.add_all((report.latency_s,))

    def failed(self, cause: str) -> None:
        """Count a failed transaction."""
        self.failures.add(1, self._causes[cause])

    def families(self) -> Iterator[Family]:
        """Yield what Prometheus reads."""
        series = (self.consumed, self.rejected, self.commit_duration, self.latency, self.failures, self.rebalances)
        return (one.family() for one in series)


class RunCounters:
    """What happened to the runs. At most `max_models` models get a label value of their own."""

    def __init__(self, profile: Profile, max_models: int) -> None:
        self.statuses = closed(profile.statuses)
        self._froms = Labels({"": NEW, **self.statuses})
        self._kinds = closed(ANOMALIES)
        self._types = closed(TOKEN_TYPES)
        self._outcomes = closed(profile.outcomes.values())
        self._models = Labels({None: UNKNOWN_MODEL, "": UNKNOWN_MODEL, UNKNOWN_MODEL: UNKNOWN_MODEL}, room=max_models)
        self.verdicts = CounterSeries(names.EVENT_VERDICTS, product(Verdict))
        self.transitions = CounterSeries(names.RUN_TRANSITIONS, _applied(profile))
        self.anomalies = CounterSeries(names.RUN_ANOMALIES, product(ANOMALIES))
        self.duration = HistogramSeries(names.RUN_DURATION, RUN_BOUNDS_S)
        self.queue_wait = HistogramSeries(names.RUN_QUEUE_WAIT, RUN_BOUNDS_S)
        self.action_wait = HistogramSeries(names.RUN_ACTION_WAIT, RUN_BOUNDS_S)
        self.tokens = CounterSeries(names.RUN_TOKENS)
        self.forgotten = CounterSeries(names.RUNS_FORGOTTEN)

    def add(self, tally: Tally, forgotten: int) -> None:
        """Add one confirmed commit."""
        for verdict, count in tally.verdicts.items():
            self.verdicts.add(count, verdict.value)
        for (start, to), count in tally.transitions.items():
            self.transitions.add(count, self._froms[start], self.statuses[to])
        for kind, count in tally.anomalies.items():
            self.anomalies.add(count, self._kinds[kind])
        for (kind, model), count in tally.tokens.items():
            self.tokens.add(count, self._types[kind], self._models[model])
        self._add_durations(tally.run_durations)
        self.queue_wait.add_all(tally.queue_waits)
        self.action_wait.add_all(tally.action_waits)
        self.forgotten.add(forgotten)

    def by_status(self, partitions: Iterable[Counter[str]]) -> Counter[str]:
        """Return how many runs there are under each status' label, the known statuses always among them."""
        total = Counter(dict.fromkeys(self.statuses.exported(), 0))
        for partition in partitions:
            for status, count in partition.items():
                total[self.statuses[status]] += count
        return total

    def families(self) -> Iterator[Family]:
        """Yield what Prometheus reads. A model exists with every outcome, so that its first failure is an increase."""
        models = self._models.exported()
        self.duration.ensure(product(self._outcomes.values(), models))
        self.tokens.ensure(product(TOKEN_TYPES, models))
        counters = (self.verdicts, self.transitions, self.anomalies, self.tokens, self.forgotten)
        yield from (counter.family() for counter in counters)
        yield from (histogram.family() for histogram in (self.duration, self.queue_wait, self.action_wait))

    def _add_durations(self, durations: Iterable[tuple[str, str | None, float]]) -> None:
        """Add each run that ended. The hot loop: a call for each value would double its time."""
        cells, outcomes, models, bounds = self.duration.cells, self._outcomes, self._models, RUN_BOUNDS_S
        for outcome, model, seconds in durations:
            cell = cells[outcomes[outcome], models[model]]
            cell.counts[bisect_left(bounds, seconds)] += 1
            cell.sum += seconds


def _applied(profile: Profile) -> Iterator[tuple[str, str]]:
    """Yield each change of status that the profile documents or accepts."""
    for start, row in profile.moves.items():
        for to, move in row.items():
            if move.verdict is Verdict.APPLIED and start != to:
                yield (NEW if start is None else start), to
