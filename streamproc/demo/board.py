"""All data that the demo shows while it runs; rendering only reads it."""

import heapq
import json
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence

from streamproc.core.alerts import Alert
from streamproc.demo.figures import Figures, Growth, OpenRuns
from streamproc.demo.topics import ShownTransition
from streamproc.observe import logs
from streamproc.observe.journal import ODD_EVENTS

SHOWN_AT_MOST = 50
"""Transitions, alerts, open runs: no terminal has more room."""
SPEED_OVER_S, FAILURES_OVER_S = 5.0, 60.0
LOG_LINES_KEPT = 20
LOG_LEVEL = "WARNING"


class Board:
    """The present figures of the demo. `clock` (monotonic) and `wall_clock` in seconds; `failures`: failed outcomes.

    `failure_rate`: of the runs that ended in the last minute, None where none did.
    """

    def __init__(
        self,
        kafka: str,
        failures: Collection[str] = ("failed",),
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.kafka = kafka
        self.console_url = ""
        self.metrics_url = ""
        self.prometheus_url = ""
        self.phase = ""
        self.is_stopped = False
        self.sent: Counter[str] = Counter()
        self.figures = Figures()
        self.changes: Sequence[ShownTransition] = ()
        self.alerts: Sequence[Alert] = ()
        self.open_runs = OpenRuns()
        self.events_per_s = self.tokens_per_s = 0.0
        self.failure_rate: float | None = None
        self.log: deque[str] = deque(maxlen=LOG_LINES_KEPT)
        self._failures = failures
        self._events, self._tokens = Growth(SPEED_OVER_S, clock), Growth(SPEED_OVER_S, clock)
        self._failed, self._ended = Growth(FAILURES_OVER_S, clock), Growth(FAILURES_OVER_S, clock)
        self._wall_clock = wall_clock
        self._clock = clock
        self._began = clock()
        self.measure()

    @property
    def elapsed_s(self) -> float:
        """Time since the beginning."""
        return self._clock() - self._began

    @property
    def behind(self) -> int:
        """Records without a confirmed commit, as counted by the source: a task knows its lag only after a fetch."""
        return max(self.figures.behind, self.sent.total() - self.figures.events)

    def measure(self) -> None:
        """Update the figures that depend on the time."""
        figures = self.figures
        self.events_per_s = self._events.per_s(figures.events)
        self.tokens_per_s = self._tokens.per_s(figures.tokens.total())
        failed = self._failed.measure(sum(figures.ended[outcome] for outcome in self._failures))
        ended = self._ended.measure(figures.ended.total())
        self.failure_rate = failed / ended if ended else None
        self.open_runs = figures.open_runs(int(self._wall_clock() * 1000), SHOWN_AT_MOST)

    def saw(self, changes: Sequence[ShownTransition]) -> None:
        """Add transitions of one partition; the latest of all partitions are kept."""
        self.changes = heapq.nlargest(SHOWN_AT_MOST, (*self.changes, *changes), key=lambda change: change.at)

    def heard(self, alerts: Sequence[Alert]) -> None:
        """Add alerts of one partition; the latest of all partitions are kept."""
        self.alerts = heapq.nlargest(SHOWN_AT_MOST, (*self.alerts, *alerts), key=lambda alert: alert.decided_at)

    def write(self, text: str) -> None:
        """Add log lines: the board replaces the stream that they would go to."""
        self.log.extend(map(_log_line, text.splitlines()))

    def lost_console(self, why: str) -> None:
        """Note that the console has ended; the demo goes on without it."""
        self.console_url = ""
        self.log.append(f"warning the console has ended: {why}")

    def flush(self) -> None:
        """Do nothing: there is no buffer."""

    def capture_log(self) -> None:
        """Redirect warnings and errors to the board, so that they do not disturb the picture."""
        quiet_logs("json")
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(self)


def quiet_logs(fmt: logs.Format) -> None:
    """Log only what needs attention.

    aiokafka also warns about what it retries, on Kafka 4 many times a second (aiokafka#1172); the service itself
    reports final failures. And some of the simulated events are odd on purpose.
    """
    logs.configure(LOG_LEVEL, fmt)
    for name in ("aiokafka", ODD_EVENTS):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _log_line(line: str) -> str:
    """Return a log line in JSON as text: level, event, and the last line of the other values."""
    entry = json.loads(line)
    entry.pop("timestamp", None)
    head = f"{entry.pop('level', '')} {entry.pop('event', '')}"
    return " ".join((head, *(f"{name}={str(value).split(chr(10))[-1].strip()}" for name, value in entry.items())))
