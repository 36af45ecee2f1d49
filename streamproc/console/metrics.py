"""Prometheus metrics of the console, and where each figure comes from. They are collected at each scrape.

To add a metric, add a line here and one in `_families`. No label has a value that a producer or a user chose.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from typing import NamedTuple

from streamproc.console.intake import Intake
from streamproc.console.model.database import Database, RebuildCause
from streamproc.console.queries.runs import counts
from streamproc.console.reads import Busy
from streamproc.console.replays import ReplayOutcome
from streamproc.console.status import FollowerStatus, Halt
from streamproc.observe.exposition import Family, Process
from streamproc.observe.names import Metric
from streamproc.observe.scrapes import Scrapes
from streamproc.observe.series import CounterSeries, HistogramSeries, LabelValues, gauge

COMPLETE = Metric(
    "streamproc_console_complete", "1: the read model has had all that there was; 0: it is still being built."
)
BEHIND = Metric(
    "streamproc_console_behind_seconds", "How long ago the read model last had all that there was; 0: it has."
)
LAG = Metric("streamproc_console_lag_records", "Offsets that are not read yet.", ("topic",))
HALTED = Metric("streamproc_console_halted", "1: reading waits, by what for; it goes on by itself.", ("cause",))
RECORDS_READ = Metric("streamproc_console_records_read_total", "Records that were taken into the read model.")
RECORDS_UNREADABLE = Metric(
    "streamproc_console_records_unreadable_total", "Records that the read model leaves out.", ("topic",)
)
REBUILDS = Metric("streamproc_console_rebuilds_total", "How often the read model was begun anew.", ("cause",))
READ_MODEL = Metric("streamproc_console_read_model_bytes", "Of the read model's file and its log.")
RUNS = Metric("streamproc_console_runs", "Runs in the read model.")
REQUESTS = Metric(
    "streamproc_console_requests_total",
    "Requests but those of probes and scrapes, by their route's template; none: refused, or there is no such path.",
    ("route", "status"),
)
REQUEST_DURATION = Metric(
    "streamproc_console_request_duration_seconds", "From a request until its answer begins.", ("route",)
)
INTERRUPTED = Metric("streamproc_console_queries_interrupted_total", "Queries that took too long and were given up.")
LISTENERS = Metric("streamproc_console_stream_listeners", "Open event streams.")
REPLAYS = Metric(
    "streamproc_console_replays_total",
    "Replays of dead letters, dry runs left out; changed: there were others by then than were confirmed.",
    ("outcome",),
)

DURATION_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class MeasuredParts(NamedTuple):
    """The parts that are measured. `pool`: its threads read the database; `replays`: counts by outcome."""

    standing: FollowerStatus
    database: Database
    pool: Executor
    intake: Intake
    listeners: Callable[[], int]
    replays: Mapping[ReplayOutcome, int]


class _DatabaseFigures(NamedTuple):
    """Figures of the database; `runs` None: not available at the moment."""

    bytes: int
    runs: int | None


class Metrics:
    """Exports the figures of the parts, and those of the requests counted here."""

    def __init__(self, watched: MeasuredParts, profile: str) -> None:
        self._watched = watched
        self._process = Process(profile)
        self._scrapes = Scrapes(self._everything)
        self._requests = CounterSeries(REQUESTS)
        self._durations = HistogramSeries(REQUEST_DURATION, DURATION_BOUNDS_S)

    def requested(self, route: str, status: int, seconds: float) -> None:
        """Count a request. `route`: a template, of which there are few."""
        self._requests.add(1, route, f"{status // 100}xx")
        self._durations.add(seconds, route)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics and their content type, text or OpenMetrics, as the HTTP Accept header `accept` asks."""
        return await self._scrapes.exposition(accept)

    async def _everything(self) -> list[Family]:
        # The database is read in a thread; the rest is small (some hundred lines), and done on the loop.
        stored = await asyncio.get_running_loop().run_in_executor(self._watched.pool, _stored, self._watched.database)
        return [*self._process.families(), *self._families(stored)]

    def _families(self, stored: _DatabaseFigures) -> Iterator[Family]:
        standing, database, intake = self._watched.standing, self._watched.database, self._watched.intake
        yield gauge(COMPLETE, {(): standing.was_complete})
        yield gauge(BEHIND, {(): standing.as_of().behind_s})
        yield gauge(LAG, {(topic,): lag for topic, lag in standing.lag_by_topic().items()})
        yield gauge(HALTED, {(halt.value,): standing.halt is halt for halt in Halt})
        yield _counter(RECORDS_READ, {(): standing.records_read})
        unreadable = Counter(intake.unreadable) + standing.skipped
        yield _counter(RECORDS_UNREADABLE, {(topic,): unreadable[topic] for topic in intake.topics})
        yield _counter(REBUILDS, {(cause.value,): database.rebuilds[cause] for cause in RebuildCause})
        yield gauge(READ_MODEL, {(): stored.bytes})
        yield gauge(RUNS, {} if stored.runs is None else {(): stored.runs})
        yield self._requests.family()
        yield self._durations.family()
        yield _counter(INTERRUPTED, {(): database.interrupted})
        yield gauge(LISTENERS, {(): self._watched.listeners()})
        yield _counter(REPLAYS, {(outcome.value,): self._watched.replays.get(outcome, 0) for outcome in ReplayOutcome})


def _stored(database: Database) -> _DatabaseFigures:
    try:
        runs = sum(database.read(lambda db: counts(db, "status")).values())
    except (Busy, sqlite3.Error):
        return _DatabaseFigures(database.bytes(), None)
    return _DatabaseFigures(database.bytes(), runs)


def _counter(metric: Metric, values: Mapping[LabelValues, int]) -> Family:
    series = CounterSeries(metric, values)
    for labels, value in values.items():
        series.add(value, *labels)
    return series.family()
