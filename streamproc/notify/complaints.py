"""Log lines about receivers: the first of a kind at once, then one a minute that says how many there were."""

import time
from collections.abc import Callable
from typing import Any

import structlog

from streamproc.throttle import Throttle

INTERVAL_S = 60.0
MAX_CAUSES = 100
OUTAGE = 3
"""Failures in a row from which on it is worth a line that they are over."""

log = structlog.get_logger(__name__)


class Complaints:
    """What one receiver gives cause to say. `context` is in every line."""

    def __init__(self, context: dict[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._throttle = Throttle[tuple[str, str]](INTERVAL_S, max_keys=MAX_CAUSES, clock=clock)

    def warn(self, event: str, why: str, times: int = 1, **fields: Any) -> None:
        """Log a warning, unless the same was said within the last minute; `why` is one of a few words."""
        self._throttle.count((event, why), times)
        if count := self._throttle.due((event, why)):
            log.warning(event, why=why, times=count, **self._context, **fields)

    def recovered(self, failures: int) -> None:
        """Say that an outage is over."""
        if failures >= OUTAGE:
            log.info("the receiver answers again", failures=failures, **self._context)
