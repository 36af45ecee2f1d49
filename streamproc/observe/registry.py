"""How the schema registry is doing."""

from collections.abc import Iterator
from itertools import product

from prometheus_client.core import Metric as Family

from streamproc.observe import names
from streamproc.observe.labels import closed
from streamproc.observe.series import CounterSeries
from streamproc.registry.observer import RegistryObserver, RequestResult


class RegistryMetrics(RegistryObserver):
    """What the registry client reports."""

    def __init__(self) -> None:
        self._results = closed(RequestResult)
        self._requests = CounterSeries(names.REGISTRY_REQUESTS, product(RequestResult))

    def requested(self, result: RequestResult) -> None:
        """Count a request."""
        self._requests.add(1, self._results[result])

    def families(self) -> Iterator[Family]:
        """Yield what Prometheus reads."""
        yield self._requests.family()
