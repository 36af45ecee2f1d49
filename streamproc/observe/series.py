"""Counters and histograms as plain numbers; Prometheus families are made of them only when somebody reads.

prometheus_client's own labelled histogram takes 1.6 µs a value (a lock and a label look-up for each), and one commit
brings thousands; these take about 0.2 µs. Without locks: all of it belongs to the event loop's thread.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from streamproc.observe.names import Metric

OTHER = "other"

# Nothing that an exposition has to escape, or that a person could take for something else.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:/@+-]{0,99}")

LabelValues = tuple[str, ...]


class Labels(dict[str | None, str]):
    """What arrives → its label value: `known` as given, further plain names while there is room, else `other`."""

    def __init__(self, known: Mapping[str | None, str], room: int = 0) -> None:
        super().__init__(known)
        self._room = room

    def __missing__(self, value: str | None) -> str:
        """Admit a plain name for good, first come, first served; any other takes no room."""
        if self._room <= 0 or value is None or not _PLAIN.fullmatch(value):
            return OTHER
        self._room -= 1
        self[value] = value
        return value

    def exported(self) -> set[str]:
        """Return every label value there is so far."""
        return {*self.values(), OTHER}


def closed(values: Iterable[str]) -> Labels:
    """Return labels that admit nothing but `values`."""
    return Labels({value: value for value in values})


class CounterSeries:
    """One counter for each combination of labels; without labels it is 0 from the start."""

    def __init__(self, metric: Metric, known: Iterable[LabelValues] = ()) -> None:
        self._metric = metric
        self._counts: dict[LabelValues, int] = {}
        self.ensure(known if metric.labels else [()])

    def ensure(self, known: Iterable[LabelValues]) -> None:
        """Let these combinations exist."""
        for labels in known:
            self._counts.setdefault(labels, 0)

    def add(self, amount: int, *labels: str) -> None:
        """Add `amount`; nothing where it is negative, as a producer's token count may be: a counter never goes back."""
        if amount > 0:
            self._counts[labels] = self._counts.get(labels, 0) + amount

    def family(self) -> CounterMetricFamily:
        """Return what Prometheus reads."""
        family = CounterMetricFamily(self._metric.name, self._metric.documentation, labels=self._metric.labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        return family


class Cell:
    """One histogram: how many values fell into each bucket (the last one: beyond all bounds), and their sum."""

    __slots__ = ("counts", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.sum = 0.0


class HistogramSeries:
    """One histogram for each combination of labels; without labels it is there from the start.

    `bounds` are upper bounds in seconds. `cells` makes what is missing: hot loops use it as it is.
    """

    def __init__(self, metric: Metric, bounds: Sequence[float]) -> None:
        self._metric = metric
        self._names = [*map(floatToGoString, bounds), "+Inf"]
        self.bounds = bounds
        self.cells: defaultdict[LabelValues, Cell] = defaultdict(lambda: Cell(len(bounds) + 1))
        if not metric.labels:
            self.ensure([()])

    def ensure(self, known: Iterable[LabelValues]) -> None:
        """Let these combinations exist."""
        for labels in known:
            _ = self.cells[labels]

    def add_all(self, seconds: Sequence[float]) -> None:
        """Add values to the histogram without labels."""
        cell, bounds = self.cells[()], self.bounds
        counts = cell.counts
        for value in seconds:
            counts[bisect_left(bounds, value)] += 1
        cell.sum += sum(seconds)

    def family(self) -> HistogramMetricFamily:
        """Return what Prometheus reads."""
        family = HistogramMetricFamily(self._metric.name, self._metric.documentation, labels=self._metric.labels)
        for labels, cell in self.cells.items():
            family.add_metric(labels, self._cumulative(cell), cell.sum)
        return family

    def _cumulative(self, cell: Cell) -> list[tuple[str, float]]:
        total = 0
        buckets: list[tuple[str, float]] = []
        for name, count in zip(self._names, cell.counts, strict=True):
            total += count
            buckets.append((name, total))
        return buckets
