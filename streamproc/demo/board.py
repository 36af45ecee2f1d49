"""What there is to show while the demo runs, gathered in one place; rendering only reads it."""

import heapq
import json
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from streamproc.demo.figures import Figures, Speed
from streamproc.demo.topics import Change
from streamproc.observe import logs
from streamproc.observe.journal import ODD_EVENTS

CHANGES_KEPT = 20
LOG_LINES_KEPT = 20
LOG_LEVEL = "WARNING"


class Board:
    """The demo as of now. Times in seconds of `clock`, which is monotonic."""

    def __init__(self, kafka: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.kafka = kafka
        self.metrics_url = ""
        self.prometheus_url = ""
        self.phase = ""
        self.is_stopped = False
        self.sent: Counter[str] = Counter()
        self.figures = Figures()
        self.changes: Sequence[Change] = ()
        self.events_per_s = 0.0
        self.log: deque[str] = deque(maxlen=LOG_LINES_KEPT)
        self._speed = Speed(clock)
        self._clock = clock
        self._began = clock()
        self.measure()

    @property
    def elapsed_s(self) -> float:
        """Time since the beginning."""
        return self._clock() - self._began

    @property
    def behind(self) -> int:
        """Records that are in no confirmed commit yet: a task knows how far behind it is only once it has fetched."""
        return max(self.figures.behind, self.sent.total() - self.figures.events)

    def measure(self) -> None:
        """Bring the speed up to date."""
        self.events_per_s = self._speed.measure(self.figures.events)

    def saw(self, changes: Sequence[Change]) -> None:
        """Take in transitions of one partition; the latest of all partitions are kept."""
        self.changes = heapq.nlargest(CHANGES_KEPT, (*self.changes, *changes), key=lambda change: change.at)

    def write(self, text: str) -> None:
        """Take in log lines: the board stands in for the stream that they would go to."""
        self.log.extend(map(_log_line, text.splitlines()))

    def flush(self) -> None:
        """Nothing is held back."""

    def capture_log(self) -> None:
        """Let warnings and errors come here instead of into the picture."""
        quiet_logs("json")
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(self)


def quiet_logs(fmt: logs.Format) -> None:
    """Log what needs somebody's attention only.

    aiokafka also warns of what it is about to try again, many times a second on a Kafka 4 (aiokafka#1172). What fails
    for good reaches the service, which says so. Of the simulated events some are odd on purpose.
    """
    logs.configure(LOG_LEVEL, fmt)
    for name in ("aiokafka", ODD_EVENTS):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _log_line(line: str) -> str:
    """Return a line of JSON as text: level, event, and the last line of whatever else there is."""
    entry = json.loads(line)
    entry.pop("timestamp", None)
    head = f"{entry.pop('level', '')} {entry.pop('event', '')}"
    return " ".join((head, *(f"{name}={str(value).split(chr(10))[-1].strip()}" for name, value in entry.items())))
