"""Reports as the runtime makes them, with every figure given or 0; the partitions of both stages."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from streamproc.core.measure import Totals
from streamproc.core.summary import summary_of
from streamproc.core.tally import Exemplar, Tally
from streamproc.runtime.observer import FoldReport, WindowReport
from streamproc.runtime.ports import TopicPartition
from tests.support.events import START_MS
from tests.support.sums import totals_from


def source(partition: int = 0) -> TopicPartition:
    """Return a partition of the fold stage's input."""
    return TopicPartition("run-events", partition)


def measured(partition: int = 0) -> TopicPartition:
    """Return a partition of the window stage's input."""
    return TopicPartition("run-measurements", partition)


def report(partition: int = 0, tally: Tally | None = None, **given: Any) -> FoldReport:
    """Return the report of one commit of the fold stage."""
    figures: dict[str, Any] = {"records": 0, "duration_s": 0.0, "latency_s": 0.0, "forgotten": 0, "seen_at": START_MS}
    return FoldReport(source=source(partition), tally=tally or Tally(), **(figures | given))


def window_report(partition: int = 0, **given: Any) -> WindowReport:
    """Return the report of one commit of the window stage."""
    counts = dict.fromkeys(("records", "closed", "revised", "late", "watermark"), 0)
    times = {"duration_s": 0.0, "latency_s": 0.0}
    return WindowReport(source=measured(partition), **({"dropped": {}} | counts | times | given))


def ended(
    durations_ms: Iterable[int], outcome: str = "succeeded", model: str | None = "m", assistant: str | None = "a"
) -> Tally:
    """Return the tally of runs that ended."""
    durations = list(durations_ms)
    tally = tally_of(totals_from(runs={outcome: durations}), model, assistant)
    for number, duration_ms in enumerate(durations):
        tally.exemplars[outcome, model] = Exemplar(f"run_{number}", duration_ms, START_MS)
    return tally


def tally_of(totals: Totals, model: str | None = "m", assistant: str | None = "a", **fields: Any) -> Tally:
    """Return the tally of one group in one base window."""
    summary = summary_of(totals)
    return Tally(
        ended=Counter({(assistant, outcome): count for outcome, count in summary.ended.items()}),
        models={model: totals},
        tokens=Counter({(assistant, model, kind): count for kind, count in summary.tokens.items()}),
        cells={(assistant, model, START_MS): totals},
        **fields,
    )


def tokens(*models: str | None, assistant: str | None = "a") -> Tally:
    """Return the tally of one prompt token for each model."""
    return Tally(tokens=Counter((assistant, model, "prompt") for model in models))
