"""What Prometheus reads, of whichever process: families as text or OpenMetrics, and the process's own."""

import platform
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from streamproc.native import CODEC
from streamproc.observe import names
from streamproc.version import installed

Family = Metric
"""What is exported under one name."""


class _Reading:
    """The families of one scrape, as an encoder takes them."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = families

    def collect(self) -> Sequence[Family]:
        return self._families


class Process:
    """Which version runs, under which profile, with which codec; and what the operating system says of the process."""

    def __init__(self, profile: str) -> None:
        about = {"version": installed(), "python": platform.python_version(), "profile": profile, "codec": CODEC.name}
        self._build = InfoMetricFamily(names.BUILD.name, names.BUILD.documentation, about)
        # Of a registry of its own, or it would end up in the process-wide one.
        self._process = ProcessCollector(registry=CollectorRegistry())

    def families(self) -> Iterator[Family]:
        """Yield what Prometheus reads."""
        yield self._build
        yield from self._process.collect()


def encoded(families: Sequence[Family], accept: str) -> tuple[bytes, str]:
    """Return families and their content type, text or OpenMetrics, as the HTTP Accept header `accept` asks."""
    try:
        encode, content_type = choose_encoder(accept)
    except TypeError:  # prometheus_client cannot compare a version like 1.x.
        encode, content_type = choose_encoder("")
    return encode(_Reading(families)), content_type
