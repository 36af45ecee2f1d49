"""What other people's loggers may say: the same thing once in a while, and nothing that looks worse than it is.

While a broker is away each client of aiokafka says so many times a second, and the service's own lines are lost in it.
"""

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from streamproc.throttle import Throttle

OURS = "streamproc"
EVERY_S = 30.0
MAX_KINDS = 1_000
"""Kinds of lines that are remembered; a library that formats its own messages makes kinds without end."""


class Harmless(NamedTuple):
    """A line of which nothing follows, by the beginning of its message, and why that is so."""

    logger: str
    beginning: str
    reason: str


SAID_WITH_REMEDY = "the client says it as well, with the setting to look at (runtime/aio/contacts.py)"
HARMLESS = (
    Harmless("aiokafka", "Unable connect to ", SAID_WITH_REMEDY),
    Harmless(
        "asyncio",
        "Future exception was never retrieved\nfuture: <Future finished exception=ProducerFenced(",
        "aiokafka sets a fencing on futures that nobody awaits, too; the task has heard of it, and the journal says so",
    ),
    Harmless(
        "aiokafka.consumer.group_coordinator",
        "Group Coordinator Request failed: [Error 15]",
        "a new broker is about to make __consumer_offsets; aiokafka asks again, and /readyz says what is waited for",
    ),
)

_Kind = tuple[str, str, type[BaseException] | None]


class Noise(logging.Filter):
    """Lets a line of another library through at most once in `every_s`, told apart by logger, template and exception.

    The next one of its kind has `repeated`: how many were left out. Ours always pass. `clock` is monotonic.
    """

    def __init__(
        self, threshold: int, *, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._threshold = threshold
        self._throttle = Throttle[_Kind](every_s, max_keys=MAX_KINDS, clock=clock)

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the line is written; it may become a quieter one."""
        if record.name.partition(".")[0] == OURS:
            return True
        if _is_harmless(record):
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return record.levelno >= self._threshold and self._is_due(record)

    def _is_due(self, record: logging.LogRecord) -> bool:
        kind = _kind(record)
        self._throttle.count(kind)
        times = self._throttle.due(kind)
        if times > 1:
            record.repeated = times - 1
        return times > 0


def _kind(record: logging.LogRecord) -> _Kind:
    """Return what makes a line the same: asyncio's messages go on with an object's address, in further lines."""
    beginning, *_ = str(record.msg).splitlines() or [""]
    return record.name, beginning, record.exc_info[0] if record.exc_info else None


def _is_harmless(record: logging.LogRecord) -> bool:
    return any(record.name == known.logger and record.getMessage().startswith(known.beginning) for known in HARMLESS)
