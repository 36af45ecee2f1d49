"""Reports as the runtime makes them, with every figure given or 0."""

from collections import Counter
from typing import Any

from streamproc.core.tally import Tally
from streamproc.runtime.observer import CommitReport


def report(partition: int = 0, tally: Tally | None = None, **given: Any) -> CommitReport:
    """Return the report of one commit."""
    figures: dict[str, Any] = {
        "records": 0,
        "rejected": Counter(),
        "duration_s": 0.0,
        "latency_s": 0.0,
        "forgotten": 0,
        "runs_by_status": Counter(),
    }
    return CommitReport(partition=partition, tally=tally or Tally(), **(figures | given))
