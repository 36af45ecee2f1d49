"""What happened to the runs, as confirmed commits of the fold stage add up to it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import product

from prometheus_client.core import Metric as Family

from streamproc.codec.arrival import FLAGS
from streamproc.core.alerts import OVERDUE, STUCK
from streamproc.core.lifecycle import Profile
from streamproc.core.measure import Histogram, Totals
from streamproc.core.model import MAX_AHEAD_MS, Verdict
from streamproc.core.tally import TOKEN_TYPES, Tally
from streamproc.observe import names
from streamproc.observe.config import MetricsSettings
from streamproc.observe.labels import Labels, closed, limited
from streamproc.observe.series import CounterSeries, DurationSeries
from streamproc.runtime.observer import FoldReport

ANOMALIES = (
    *FLAGS,
    "future_timestamp",
    "illegal",
    "key_absent",
    "key_mismatch",
    "old_timestamp",
    "stale",
    "timestamp_absent",
    "two_partitions",
    "unexpected_transition",
    "unknown_status",
)
"""What is counted as odd; a test holds it equal to what the code counts."""

NEW = "new"
"""The `from` of a run's first transition: Prometheus takes an empty label for none."""


class RunCounters:
    """By model and by assistant, as far as the settings give them label values of their own."""

    def __init__(self, profile: Profile, settings: MetricsSettings) -> None:
        self._statuses = closed(profile.statuses)
        self._froms = Labels({"": NEW, **self._statuses})
        self._kinds = closed(ANOMALIES)
        self._types = closed(TOKEN_TYPES)
        self._outcomes = closed(profile.outcomes.values())
        self._models = limited(settings.models, settings.max_models)
        self._assistants = limited(settings.assistants, settings.max_assistants)
        self._verdicts = CounterSeries(names.EVENT_VERDICTS, product(Verdict))
        self._transitions = CounterSeries(names.RUN_TRANSITIONS, _applied(profile))
        self._anomalies = CounterSeries(names.RUN_ANOMALIES, product(ANOMALIES))
        self._ended = CounterSeries(names.RUNS_ENDED)
        self._tokens = CounterSeries(names.RUN_TOKENS)
        self._forgotten = CounterSeries(names.RUNS_FORGOTTEN)
        self._duration = DurationSeries(names.RUN_DURATION)
        self._queue_wait = DurationSeries(names.RUN_QUEUE_WAIT)
        self._action_wait = DurationSeries(names.RUN_ACTION_WAIT)

    def add(self, report: FoldReport) -> None:
        """Add one confirmed commit."""
        tally = report.tally
        for verdict, count in tally.verdicts.items():
            self._verdicts.add(count, verdict.value)
        for kind, count in tally.anomalies.items():
            self._anomalies.add(count, self._kinds[kind])
        # There may be as many groups as events: per group only what has to be, and labels once for all it holds.
        moves: defaultdict[tuple[str, str], int] = defaultdict(int)
        for (assistant, model, _), cell in tally.groups.items():
            for move, count in cell.moves.items():
                moves[move] += count
            self._add_sums(cell.sums, assistant, model)
        for (start, to), count in moves.items():
            self._transitions.add(count, self._froms[start], self._statuses[to])
        self._forgotten.add(report.forgotten)
        self._show(tally, report.seen_at)

    def families(self) -> Iterator[Family]:
        """Yield what Prometheus reads. A model exists with every outcome, so that its first failure is an increase."""
        models, outcomes = self._models.exported(), set(self._outcomes.values())
        self._duration.ensure(product(outcomes, models))
        self._tokens.ensure(product(TOKEN_TYPES, models))
        self._ended.ensure(product(outcomes, self._assistants.exported()))
        counters = (self._verdicts, self._transitions, self._anomalies, self._ended, self._tokens, self._forgotten)
        yield from (counter.family() for counter in counters)
        yield from (histogram.family() for histogram in (self._duration, self._queue_wait, self._action_wait))

    def _add_sums(self, sums: Totals, assistant: str | None, model: str | None) -> None:
        """Add what was measured of an assistant and a model in one base window."""
        if sums.durations:
            self._add_ended(sums.durations, self._assistants[assistant], self._models[model])
        if sums.tokens:
            label = self._models[model]
            for kind, count in sums.tokens.items():
                self._tokens.counts[self._types[kind], label] += count
        if sums.queue_wait.buckets:
            self._queue_wait.merge(sums.queue_wait)
        if sums.action_wait.buckets:
            self._action_wait.merge(sums.action_wait)

    def _add_ended(self, durations: Mapping[str, Histogram], assistant: str, model: str) -> None:
        for outcome, histogram in durations.items():
            label = self._outcomes[outcome]
            self._ended.counts[label, assistant] += self._duration.merge(histogram, label, model)

    def _show(self, tally: Tally, seen_at: int) -> None:
        """Take the exemplars, but none from the future: it would stay for as long as it takes to get there."""
        for (outcome, model), exemplar in tally.exemplars.items():
            if 0 < exemplar.ended_at <= seen_at + MAX_AHEAD_MS:
                self._duration.show(exemplar, self._outcomes[outcome], self._models[model])


def deadline_kinds(profile: Profile) -> tuple[str, ...]:
    """Return the kinds of deadlines that a run may miss."""
    return (OVERDUE, *(STUCK + status for status in profile.documented))


def _applied(profile: Profile) -> Iterator[tuple[str, str]]:
    """Yield each change of status that the profile documents or accepts."""
    for start, row in profile.moves.items():
        for to, move in row.items():
            if move.verdict is Verdict.APPLIED and start != to:
                yield (NEW if start is None else start), to
