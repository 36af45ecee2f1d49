"""What a Prometheus server makes of an exposition."""

import asyncio
from collections.abc import Mapping
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from streamproc.observe.metrics import MetricsObserver

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PARSERS = (("", parse_text), (OPENMETRICS, parse_openmetrics))


def exposed(metrics: MetricsObserver, accept: str = "") -> str:
    """Return the exposition, outside of any event loop."""
    return asyncio.run(metrics.exposition(accept))[0].decode()


def samples(text: str) -> Mapping[Any, float]:
    """Return every sample of the text format as (name, labels) → value."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def value(metrics: MetricsObserver, name: str, **labels: str) -> float | None:
    """Return the value of one series, None where it does not exist."""
    return samples(exposed(metrics)).get((f"streamproc_{name}", *sorted(labels.items())))


def label_values(metrics: MetricsObserver, name: str, label: str) -> set[str]:
    """Return the values that a label has."""
    return {dict(key[1:])[label] for key in samples(exposed(metrics)) if key[0] == f"streamproc_{name}"}
