"""Why partitions do not go on, as the probes tell it."""

from msgspec import Struct

from streamproc.core.instants import utc_text
from streamproc.runtime.diagnosis import Word

UNANSWERED = frozenset(
    (
        "BrokerUnavailable",
        "ConnectionError",
        "KafkaConnectionError",
        "KafkaTimeoutError",
        "NoBrokersAvailable",
        "NodeNotReadyError",
        "RequestTimedOutError",
        "TimeoutError",
        *Word,
    )
)
"""Causes, as class names or as why no connection comes about, for which nobody has to have taken the partition over:
the broker does not answer."""


class Cause(Struct, frozen=True):
    """Why a partition does not go on, as a probe shows it: in one word, and since when, in seconds of the wall clock.

    `why`: what is lacking, and what to do about it, where that is known.
    """

    reason: str
    since: float
    why: str = ""

    def shown(self) -> dict[str, str]:
        """Return it as JSON has it."""
        since = utc_text(int(self.since * 1000), "seconds")
        return {"reason": self.reason, "since": since, **({"why": self.why} if self.why else {})}
