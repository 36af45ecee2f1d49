"""What confirmed commits add up to, whatever the runs are about."""

from collections.abc import Iterator
from itertools import product

from prometheus_client.core import Metric as Family

from streamproc.core.alerts import AlertKind, AlertState, Subject
from streamproc.core.windowstate import Dropped
from streamproc.errors import BrokerUnavailable, RejectionReason, TaskInvalid
from streamproc.observe import names
from streamproc.observe.labels import Labels, closed
from streamproc.observe.series import CounterSeries, HistogramSeries, gauge
from streamproc.runtime.observer import CommitReport, FoldReport, WindowReport

CAUSES = (BrokerUnavailable.__name__, TaskInvalid.__name__)
MAX_FURTHER_CAUSES = 20
"""A cause is the class name of any error, Kafka's included: too many to list, few enough to limit."""

PIPELINE_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class PipelineCounters:
    """What both stages do. `kinds`: of alerts, as the profile has them."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self._reasons = closed(RejectionReason)
        self._kinds, self._states = closed(kinds), closed(AlertState)
        self._causes = Labels({cause: cause for cause in CAUSES}, room=MAX_FURTHER_CAUSES)
        self._rejected = CounterSeries(names.EVENTS_REJECTED, product(RejectionReason))
        self._alerts = CounterSeries(names.ALERTS, product(kinds, AlertState))
        self._failures = CounterSeries(names.TRANSACTIONS_FAILED, product(CAUSES))
        self._transactions = CounterSeries(names.TRANSACTIONS)
        self._rebalances = CounterSeries(names.REBALANCES)

    def add(self, report: CommitReport) -> None:
        """Add one confirmed commit."""
        for reason, count in report.rejected.items():
            self._rejected.add(count, self._reasons[reason])
        for (kind, state), count in report.alerts.items():
            self._alerts.add(count, self._kinds[kind], self._states[state])

    def transacted(self) -> None:
        """Count a confirmed transaction."""
        self._transactions.add(1)

    def failed(self, cause: str) -> None:
        """Count a failed transaction."""
        self._failures.add(1, self._causes[cause])

    def rebalanced(self) -> None:
        """Count an assignment."""
        self._rebalances.add(1)

    def families(self) -> Iterator[Family]:
        """Yield what Prometheus reads."""
        series = (self._rejected, self._alerts, self._transactions, self._failures, self._rebalances)
        return (one.family() for one in series)


class InputCounters:
    """How the input is read: the fold stage's commits."""

    def __init__(self) -> None:
        self._consumed = CounterSeries(names.EVENTS_CONSUMED)
        self._duration = HistogramSeries(names.COMMIT_DURATION, PIPELINE_BOUNDS_S)
        self._latency = HistogramSeries(names.END_TO_END_LATENCY, PIPELINE_BOUNDS_S)
        self._seen_at = 0

    def add(self, report: FoldReport) -> None:
        """Add one confirmed commit."""
        self._consumed.add(report.records)
        self._duration.add(report.duration_s)
        self._seen_at = max(self._seen_at, report.seen_at)
        if report.records:  # Where only the clock caused the commit there is no record to be late with.
            self._latency.add(report.latency_s)

    def families(self) -> Iterator[Family]:
        """Yield what Prometheus reads."""
        yield from (one.family() for one in (self._consumed, self._duration, self._latency))
        yield gauge(names.LAST_EVENT, {(): self._seen_at / 1000})


class WindowCounters:
    """What became of the windows: the window stage's commits."""

    def __init__(self) -> None:
        self._closed = CounterSeries(names.WINDOWS_CLOSED)
        self._revisions = CounterSeries(names.WINDOW_REVISIONS)
        self._late = CounterSeries(names.WINDOW_LATE)
        self._dropped = CounterSeries(names.WINDOW_DROPPED, product(Dropped))
        conditions = (kind.value for kind in AlertKind if kind.subject is Subject.WINDOWS)
        self._unjudged = CounterSeries(names.WINDOWS_UNJUDGED, product(conditions))

    def add(self, report: WindowReport) -> None:
        """Add one confirmed commit."""
        self._closed.add(report.closed)
        self._revisions.add(report.revised)
        self._late.add(report.late)
        for reason, count in report.dropped.items():
            self._dropped.add(count, reason)
        for kind, count in report.unjudged.items():
            self._unjudged.add(count, kind)

    def families(self) -> Iterator[Family]:
        """Yield what Prometheus reads."""
        series = (self._closed, self._revisions, self._late, self._dropped, self._unjudged)
        return (one.family() for one in series)
