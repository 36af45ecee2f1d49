"""How the schema registry is doing. `streamproc.registry` knows this as its RegistryObserver."""

from collections.abc import Iterator

from prometheus_client.core import Metric as Family

from streamproc.observe import names
from streamproc.observe.labels import closed
from streamproc.observe.series import CounterSeries

RESULTS = ("failed", "found", "not_found")
"""What may become of a request; a test compares it with what the client says."""


class RegistryMetrics:
    """What the registry client reports."""

    def __init__(self) -> None:
        self._results = closed(RESULTS)
        self._requests = CounterSeries(names.REGISTRY_REQUESTS, [(result,) for result in RESULTS])

    def requested(self, result: str) -> None:
        """Count a request."""
        self._requests.add(1, self._results[result])

    def families(self) -> Iterator[Family]:
        """Yield what Prometheus reads."""
        yield self._requests.family()
