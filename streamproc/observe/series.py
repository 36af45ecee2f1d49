"""Counters and histograms as plain numbers; Prometheus families are made of them only when somebody reads.

prometheus_client's own labelled histogram takes 1.6 µs a value: a lock and a label look-up for each. Without locks: all
of it belongs to the event loop's thread.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Exemplar as ExportedExemplar
from prometheus_client.utils import floatToGoString

from streamproc.core.measure import BOUNDS_MS, BUCKETS, UNMEASURED
from streamproc.core.summary import Histogram
from streamproc.core.tally import Exemplar
from streamproc.observe.names import Metric

LabelValues = tuple[str, ...]
Bucket = tuple[str, float] | tuple[str, float, ExportedExemplar]

MAX_EXEMPLAR_CHARS = 128
"""Of an exemplar's label names and values together, as OpenMetrics has it."""


class CounterSeries:
    """One counter for each combination of labels; without labels it is 0 from the start.

    Hot loops add to `counts` themselves, no negative numbers: a counter never goes back.
    """

    def __init__(self, metric: Metric, known: Iterable[LabelValues] = ()) -> None:
        self._metric = metric
        self.counts: defaultdict[LabelValues, int] = defaultdict(int)
        self.ensure(known if metric.labels else [()])

    def ensure(self, known: Iterable[LabelValues]) -> None:
        """Let these combinations exist."""
        for labels in known:
            self.counts.setdefault(labels, 0)

    def add(self, amount: int, *labels: str) -> None:
        """Add `amount`, where it is not negative."""
        if amount > 0:
            self.counts[labels] += amount

    def drop(self, is_gone: Callable[[LabelValues], bool]) -> None:
        """Let combinations be no more; one that comes again begins at 0."""
        for labels in [labels for labels in self.counts if is_gone(labels)]:
            del self.counts[labels]

    def family(self) -> CounterMetricFamily:
        """Return what Prometheus reads."""
        family = CounterMetricFamily(self._metric.name, self._metric.documentation, labels=self._metric.labels)
        for labels, count in self.counts.items():
            family.add_metric(labels, count)
        return family


class HistogramSeries:
    """One histogram of values in seconds for each combination of labels; without labels it is there from the start.

    `bounds`: its upper bounds.
    """

    def __init__(self, metric: Metric, bounds: Sequence[float]) -> None:
        self._metric = metric
        self._bounds = bounds
        self._counts: defaultdict[LabelValues, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
        self._sums: defaultdict[LabelValues, float] = defaultdict(float)
        if not metric.labels:
            _ = self._counts[()]

    def add(self, seconds: float, *labels: str) -> None:
        """Add a value."""
        self._counts[labels][bisect_left(self._bounds, seconds)] += 1
        self._sums[labels] += seconds

    def family(self) -> HistogramMetricFamily:
        """Return what Prometheus reads."""
        family = HistogramMetricFamily(self._metric.name, self._metric.documentation, labels=self._metric.labels)
        names = (*map(floatToGoString, self._bounds), "+Inf")
        for labels, counts in self._counts.items():
            family.add_metric(labels, list(zip(names, accumulate(counts), strict=True)), self._sums[labels])
        return family


class _Durations:
    """As the core's Histogram, with every bucket there. `exemplars`: the latest of each bucket."""

    __slots__ = ("buckets", "exemplars", "sum_ms")

    def __init__(self) -> None:
        self.sum_ms = 0
        self.buckets = dict.fromkeys(BUCKETS, 0)
        self.exemplars: dict[str, Exemplar] = {}


class DurationSeries:
    """One histogram of durations for each combination of labels; without labels it is there from the start.

    The buckets are those of run-metrics, so that the two cannot disagree.
    """

    _NAMES = (*map(floatToGoString, [bound / 1000 for bound in BOUNDS_MS]), "+Inf")

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._cells: defaultdict[LabelValues, _Durations] = defaultdict(_Durations)
        if not metric.labels:
            self.ensure([()])

    def ensure(self, known: Iterable[LabelValues]) -> None:
        """Let these combinations exist."""
        for labels in known:
            _ = self._cells[labels]

    def drop(self, is_gone: Callable[[LabelValues], bool]) -> None:
        """Let combinations be no more; one that comes again begins at 0."""
        for labels in [labels for labels in self._cells if is_gone(labels)]:
            del self._cells[labels]

    def merge(self, durations: Histogram, *labels: str) -> None:
        """Add durations; of those that are not known there is nothing to add."""
        cell = self._cells[labels]
        for bucket, count in durations.buckets.items():
            if bucket != UNMEASURED:
                cell.buckets[bucket] += count
        cell.sum_ms += durations.sum_ms

    def show(self, exemplar: Exemplar, *labels: str) -> None:
        """Take an exemplar, unless its bucket has a later one: Prometheus takes none that goes back in time."""
        bucket, shown = BUCKETS[bisect_left(BOUNDS_MS, exemplar.duration_ms)], self._cells[labels].exemplars
        before = shown.get(bucket)
        if (before is None or before.ended_at <= exemplar.ended_at) and _is_showable(exemplar.run_id):
            shown[bucket] = exemplar

    def family(self) -> HistogramMetricFamily:
        """Return what Prometheus reads; exemplars are left out of the text format by the encoder."""
        family = HistogramMetricFamily(self._metric.name, self._metric.documentation, labels=self._metric.labels)
        for labels, cell in self._cells.items():
            family.add_metric(labels, list(self._buckets(cell)), cell.sum_ms / 1000)
        return family

    def _buckets(self, cell: _Durations) -> Iterator[Bucket]:
        for bucket, name, total in zip(BUCKETS, self._NAMES, accumulate(cell.buckets.values()), strict=True):
            exemplar = cell.exemplars.get(bucket)
            yield (name, total) if exemplar is None else (name, total, _exported(exemplar))


def gauge(metric: Metric, values: Mapping[LabelValues, float]) -> GaugeMetricFamily:
    """Return a gauge; `values` by the values of its labels."""
    family = GaugeMetricFamily(metric.name, metric.documentation, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _is_showable(run_id: str) -> bool:
    """Tell whether any parser takes the run id: OpenMetrics allows only so much, and not all read what is escaped."""
    short = len("run_id") + len(run_id) <= MAX_EXEMPLAR_CHARS
    return short and run_id.isprintable() and '"' not in run_id and "\\" not in run_id


def _exported(exemplar: Exemplar) -> ExportedExemplar:
    return ExportedExemplar({"run_id": exemplar.run_id}, exemplar.duration_ms / 1000, exemplar.ended_at / 1000)
