"""Log lines about receivers: the first of a kind at once, then one a minute that says how many there were."""

import time
from collections.abc import Callable
from typing import Any

import structlog

from streamproc.throttle import Throttle

INTERVAL_S = 60.0
MAX_CAUSES = 100
OUTAGE = 3
"""After this many failures in a row, their end is logged as well."""

log = structlog.get_logger(__name__)


class Complaints:
    """The log lines about one receiver. `context` is in every line."""

    def __init__(self, context: dict[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._context = context
        self._throttle = Throttle[tuple[str, str]](INTERVAL_S, max_keys=MAX_CAUSES, clock=clock)

    def warn(self, event: str, why: str, times: int = 1, **fields: Any) -> None:
        """Log a warning, unless it was logged within the last minute; `why` is one of a few words."""
        self._throttle.count((event, why), times)
        if count := self._throttle.due((event, why)):
            log.warning(event, why=why, times=count, **self._context, **fields)

    def recovered(self, failures: int) -> None:
        """Log the end of an outage."""
        if failures >= OUTAGE:
            log.info("the receiver answers again", failures=failures, **self._context)
