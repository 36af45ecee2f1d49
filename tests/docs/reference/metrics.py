"""docs/reference/metrics.md: what /metrics of the service and of the console export."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from types import ModuleType, SimpleNamespace
from typing import Any

from prometheus_client.core import Metric as Family

from streamproc.console import metrics as console
from streamproc.core.profiles import ASSISTANTS
from streamproc.observe import names
from streamproc.observe.names import Metric
from tests.docs.reference.markdown import code, codes, page, table
from tests.support.watched import watched_metrics

INTRODUCTION = """\
Figures are of one instance: add them up over all. What is counted of events and runs is counted when its commit is
confirmed. `/metrics` answers in Prometheus's text format, or in OpenMetrics with exemplars to who asks for it.
Besides these there are Python's and the process's own (`python_…`, `process_…`).

Labels whose values producers choose (`model`, `assistant`) are limited by the [settings](settings.md#metrics) of
`metrics`: the rest is `other`. Alerts on these metrics: [Alerts](alerts.md#prometheus-rules)."""


def text() -> str:
    """Return the page."""
    return page(
        "Metrics",
        "what the service and the console export",
        INTRODUCTION,
        f"## The service\n\n{_table(defined(names), _of_service())}",
        f"## The console\n\n{_table(defined(console), _of_console())}",
    )


def defined(module: ModuleType) -> list[Metric]:
    """Return the metrics that a module names."""
    return [value for value in vars(module).values() if isinstance(value, Metric)]


def _table(metrics: Iterable[Metric], families: Iterable[Family]) -> str:
    kinds = {family.name: family for family in families}
    rows = [_row(metric, kinds[metric.name.removesuffix("_total")]) for metric in metrics]
    return table(("name", "type", "labels", ""), rows)


def _row(metric: Metric, family: Family) -> tuple[str, ...]:
    # Prometheus shows an info under its name and a suffix.
    name = f"{metric.name}_info" if family.type == "info" else metric.name
    labels = metric.labels or (tuple(family.samples[0].labels) if family.type == "info" else ())
    return code(name), family.type, codes(labels), metric.documentation


def _of_service() -> list[Family]:
    return asyncio.run(watched_metrics(ASSISTANTS).families())


def _of_console() -> list[Family]:
    """Return the families of a console of which nobody asked anything yet."""
    watched: Any = SimpleNamespace(
        standing=SimpleNamespace(
            was_complete=False,
            as_of=lambda: SimpleNamespace(behind_s=0.0),
            lag_by_topic=dict,
            halt=None,
            records_read=0,
            skipped=Counter(),
        ),
        database=SimpleNamespace(rebuilds=Counter(), interrupted=0),
        intake=SimpleNamespace(unreadable={}, topics=()),
        listeners=int,
        replays={},
    )
    return [*console.Metrics(watched, ASSISTANTS.name)._families(console._DatabaseFigures(0, 0))]
