"""What happened to the runs, as confirmed commits of the fold stage add up to it."""

from collections.abc import Iterator
from itertools import product

from prometheus_client.core import Metric as Family

from streamproc.core.alerts import AlertKind
from streamproc.core.lifecycle import Profile
from streamproc.core.measure import OTHER
from streamproc.core.model import MAX_AHEAD_MS, Verdict
from streamproc.core.summary import Summary, summary_of
from streamproc.core.tally import ANOMALIES, TOKEN_TYPES, Tally
from streamproc.observe import names
from streamproc.observe.config import MetricsSettings
from streamproc.observe.labels import Labels, Pairs, closed, limited
from streamproc.observe.series import CounterSeries, DurationSeries
from streamproc.runtime.observer import FoldReport

TURN_MS = 60_000
"""How often it is looked at whose series there are."""

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
        self._pairs = Pairs(settings.max_pairs)
        self._turn = 0
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
        self._take_turns(report.seen_at // TURN_MS)
        for verdict, count in tally.verdicts.items():
            self._verdicts.add(count, verdict)
        for anomaly, count in tally.anomalies.items():
            self._anomalies.add(count, self._kinds[anomaly])
        for (start, to), count in tally.transitions.items():
            self._transitions.add(count, self._froms[start], self._statuses[to])
        for (assistant, outcome), count in tally.ended.items():
            self._ended.add(count, self._outcomes[outcome], self._assistants[assistant])
            self._assistants.count(assistant, count)
        for (named, model, kind), count in tally.tokens.items():
            pair = self._pairs[self._models[model], self._assistants[named]]
            self._tokens.add(count, self._types[kind], *pair)
        for (named, model), count in tally.spenders.items():
            # Whoever spent tokens has its labels by now.
            self._pairs.count((self._models.get(model, OTHER), self._assistants.get(named, OTHER)), count)
        for model, totals in tally.models.items():
            self._models.count(model, self._add_model(summary_of(totals), self._models[model]))
        self._forgotten.add(report.forgotten)
        self._show(tally, report.seen_at)

    def families(self) -> Iterator[Family]:
        """Yield what Prometheus reads. A model exists with every outcome, so that its first failure is an increase."""
        models, outcomes = self._models.exported(), set(self._outcomes.values())
        self._duration.ensure(product(outcomes, models))
        self._tokens.ensure((kind, *pair) for kind, pair in product(TOKEN_TYPES, self._pairs.exported(models)))
        self._ended.ensure(product(outcomes, self._assistants.exported()))
        counters = (self._verdicts, self._transitions, self._anomalies, self._ended, self._tokens, self._forgotten)
        yield from (counter.family() for counter in counters)
        yield from (histogram.family() for histogram in (self._duration, self._queue_wait, self._action_wait))

    def _take_turns(self, turn: int) -> None:
        """Once a minute, let who is busier now have series. What loses its own is gone, and counts as `other` later."""
        if turn <= self._turn:
            return
        passed, self._turn = turn - self._turn, turn
        models, assistants = self._models.turn(passed), self._assistants.turn(passed)
        pairs = {*self._pairs.without(models, assistants), *self._pairs.turn(passed)}
        if models:
            self._duration.drop(lambda labels: labels[1] in models)
        if assistants:
            self._ended.drop(lambda labels: labels[1] in assistants)
        if pairs or models:
            self._tokens.drop(lambda labels: labels[1] in models or labels[1:] in pairs)

    def _add_model(self, summary: Summary, model: str) -> int:
        """Return how many runs ended."""
        ends = 0
        for outcome, durations in summary.runs.items():
            self._duration.merge(durations, self._outcomes[outcome], model)
            ends += durations.ends
        self._queue_wait.merge(summary.queue_wait)
        self._action_wait.merge(summary.action_wait)
        return ends

    def _show(self, tally: Tally, seen_at: int) -> None:
        """Take the exemplars, but none from the future: it would stay for as long as it takes to get there."""
        for (outcome, model), exemplar in tally.exemplars.items():
            if 0 < exemplar.ended_at <= seen_at + MAX_AHEAD_MS:
                self._duration.show(exemplar, self._outcomes[outcome], self._models[model])


def deadline_kinds(profile: Profile) -> tuple[str, ...]:
    """Return the kinds of deadlines that a run may miss."""
    return (AlertKind.OVERDUE.value, *(AlertKind.STUCK + status for status in profile.documented))


def _applied(profile: Profile) -> Iterator[tuple[str, str]]:
    """Yield each change of status that the profile documents or accepts."""
    for start, row in profile.moves.items():
        for to, move in row.items():
            if move.verdict is Verdict.APPLIED and start != to:
                yield (NEW if start is None else start), to
