"""The exposition for Prometheus, of any process: families as text or OpenMetrics, and the process's own metrics."""

import asyncio
import platform
from collections.abc import Iterator, Sequence
from copy import copy
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.samples import Sample

from streamproc.native import CODEC
from streamproc.observe import names
from streamproc.version import installed

Family = Metric
"""What is exported under one name."""


class _Families:
    """The families of one scrape, in the form that encoders need."""

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


class ExpositionFormat(NamedTuple):
    """A text format for families. Its content type identifies it."""

    content_type: str
    accept: str


def format_for(accept: str) -> ExpositionFormat:
    """Return the format, text or OpenMetrics, that the HTTP Accept header `accept` asks for: one of a few."""
    try:
        _, content_type = choose_encoder(accept)
    except TypeError:  # prometheus_client cannot compare a version like 1.x.
        return FORMATS[0]
    if matching := [known for known in FORMATS if known.content_type == content_type]:
        return matching[0]
    # An unknown version of OpenMetrics: a client could name another one with each request.
    return next(known for known in FORMATS if known.accept.startswith(OPENMETRICS))


async def encoded(families: Sequence[Family], wanted: ExpositionFormat) -> bytes:
    """Return families as text. Other tasks run in between: the families no longer change."""
    encode, _ = choose_encoder(wanted.accept)
    parts, lines = [], 0
    for family in families:
        head = encode(_Families([_with(family, [])])).removesuffix(END)
        parts.append(head)
        for start in range(0, len(family.samples), MAX_LINES):
            samples = family.samples[start : start + MAX_LINES]
            if (lines := lines + len(samples)) > MAX_LINES:
                lines = len(samples)
                await asyncio.sleep(0)
            parts.append(encode(_Families([_with(family, samples)])).removeprefix(head).removesuffix(END))
    return b"".join(parts) + (END if wanted.accept.startswith(OPENMETRICS) else b"")


def _with(family: Family, samples: list[Sample]) -> Family:
    """Return a family with other samples."""
    other = copy(family)
    other.samples = samples
    return other


def _formats() -> Iterator[ExpositionFormat]:
    accepts = [""]
    for base in (f"{OPENMETRICS};version=1.0.0", "text/plain;version=1.0.0"):
        accepts += [base, *(f"{base};escaping={one}" for one in ("allow-utf-8", "underscores", "dots", "values"))]
    for accept in accepts:
        yield ExpositionFormat(choose_encoder(accept)[1], accept)


OPENMETRICS = "application/openmetrics-text"
END = b"# EOF\n"
MAX_LINES = 300
"""How much is written at once: about 2 ms."""
FORMATS = tuple(_formats())
