"""What it costs to measure: from the folds of a commit to the windows, without a broker, by the number of groups.

Commits of 3,500 events over some input partitions, as the fold of a backlog makes them; the windows commit once for
every eight of these. And the marks of a stream that is idle.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from msgspec import structs

from streamproc.app import spare_the_collector
from streamproc.codec.arrival import Arrival
from streamproc.codec.decode import decode
from streamproc.codec.encode import OutputSource
from streamproc.codec.measurements import Folded, MeasurementEncoder, decode_measurements
from streamproc.codec.message import Message
from streamproc.codec.windows import WindowEncoder
from streamproc.core.deadlines import Deadlines
from streamproc.core.measure import Mark
from streamproc.core.model import Moment, RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import CommitOutcome, State
from streamproc.core.step import begin, step
from streamproc.core.windows import absorb, begin_windows, finish
from streamproc.core.windowstate import WindowOutcome, WindowRules, WindowState
from streamproc.local.simulate import DEFAULT_START_MS, simulate
from streamproc.observe.config import MetricsSettings
from streamproc.observe.runmetrics import RunCounters
from streamproc.runtime.aio.partitioner import partition_of
from streamproc.runtime.observer import FoldReport
from streamproc.runtime.ports import TopicPartition
from tests.support.books import bundled_book
from tests.support.fake_kafka import Entry
from tests.support.runobjects import Arrived

EVENTS_PER_COMMIT = 3_500
FOLDS_PER_WINDOW_COMMIT = 8
MODELS = 3
CHUNK = 2_000
RATE_PER_S = 1_000
IDLE_SOURCES = 64
IDLE_ROUNDS = 5
STREAM = "run-events"
LIMITS = {status: seconds * 1000 for status, seconds in ASSISTANTS.limits_s.items()}
Result = TypeVar("Result")


def measure(events: int, assistants: Sequence[int], partitions: int, sizes_s: Sequence[int]) -> None:
    """Print microseconds of CPU per event for each step, with so many assistants, of three models each."""
    spare_the_collector()
    stream = list(_events(events))
    timers = []
    for count in assistants:
        pipe = _Pipe(partitions, [size * 1000 for size in sizes_s])
        named = _named(stream, count)
        for start in range(0, len(named), EVENTS_PER_COMMIT):
            pipe.commit(named[start : start + EVENTS_PER_COMMIT])
        pipe.sum_up()
        timers.append(pipe.timer)
    print(
        f"measuring, in microseconds of CPU per event: {len(stream):,} events over {partitions} partitions, "
        f"{EVENTS_PER_COMMIT:,} a commit"
    )
    print("".join(f"{count:>10}" for count in assistants) + f"  assistants, {MODELS} models each")
    for name in timers[0].spent:
        print("".join(f"{timer.spent[name] / len(stream) * 1e6:>10.2f}" for timer in timers) + f"  {name}")
    print("".join(f"{sum(timer.spent.values()) / len(stream) * 1e6:>10.2f}" for timer in timers) + "  all of these")


def measure_idle() -> None:
    """Print what the marks of an idle stream cost, each time that they are sent."""
    spare_the_collector()
    pipe = _Pipe(IDLE_SOURCES, [60_000])
    for number in range(IDLE_ROUNDS + 1):
        if number == 1:
            pipe.timer.spent.clear()
        pipe.idle(DEFAULT_START_MS + 5_000 * number)
        pipe.sum_up()
    print(f"marks of {IDLE_SOURCES} idle partitions to as many, in milliseconds of CPU each time:")
    for name in ("encode measurements", "decode measurements", "absorb", "encode window states"):
        print(f"{pipe.timer.spent[name] / IDLE_ROUNDS * 1e3:>10.2f}  {name}")


class _Timer:
    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)

    def __call__(self, name: str, work: Callable[..., Result], *args: Any) -> Result:
        began = time.process_time()
        result = work(*args)
        self.spent[name] += time.process_time() - began
        return result


class _Pipe:
    """Both stages of one worker, with nothing in between."""

    def __init__(self, partitions: int, sizes_ms: Sequence[int]) -> None:
        self.timer = _Timer()
        self._states = [State(_RULES) for _ in range(partitions)]
        self._encoder = MeasurementEncoder("bench", STREAM, partitions, partition_of)
        self._counters = RunCounters(ASSISTANTS, MetricsSettings())
        rules = WindowRules(partitions, STREAM, tuple(sizes_ms))
        self._windows = [WindowState(rules) for _ in range(partitions)]
        self._outputs = [WindowEncoder(OutputSource("bench", "run-measurements", n)) for n in range(partitions)]
        self._pending: list[dict[int, list[Message]]] = []
        self._commits = 0

    def commit(self, events: Sequence[RunEvent]) -> None:
        """Fold events and send what was measured of them."""
        partitions, at = len(self._states), Moment(events[-1].timestamp, caught_up=False)
        parts: list[list[RunEvent]] = [[] for _ in range(partitions)]
        for event in events:
            parts[_number(event.run_id, 1) % partitions].append(event)
        outcomes = self.timer("fold and merge", self._fold, parts, at)
        self._commits += 1
        self._pending.append(self.timer("encode measurements", self._encode, outcomes, at.wall_ms))
        self.timer("count for Prometheus", self._count, outcomes, at.wall_ms)
        self.timer("fold and merge", outcomes.clear)
        if len(self._pending) == FOLDS_PER_WINDOW_COMMIT:
            self.sum_up()

    def idle(self, wall_ms: int) -> None:
        """Send the marks of partitions that have read everything."""
        self._commits += 1
        marks = [
            Folded(number, self._commits, {}, Mark(number, DEFAULT_START_MS, idle=True, seen_at=0, sent_at=wall_ms))
            for number in range(len(self._states))
        ]
        self._pending.append(self.timer("encode measurements", self._encoder.messages, marks, wall_ms))

    def sum_up(self) -> None:
        """Let the windows take what was sent."""
        for number, (state, outputs) in enumerate(zip(self._windows, self._outputs, strict=True)):
            records: list[Arrival] = [
                Arrived(0, value, timestamp, key, headers)
                for sent in self._pending
                for key, value, timestamp, headers in sent.get(number, ())
            ]
            measured = self.timer("decode measurements", decode_measurements, records)
            if measured.rejections:
                raise ValueError(measured.rejections[0])
            out = self.timer("absorb", _absorb, state, measured.arrivals)
            self.timer("encode window states", outputs.states, out.changed, 1, self._commits, DEFAULT_START_MS)
            self.timer("encode metrics", outputs.metrics, out.closings, DEFAULT_START_MS)
            self.timer("absorb", state.merge, out.changed, out.watermark)
        self._pending.clear()

    def _fold(self, parts: Sequence[Sequence[RunEvent]], at: Moment) -> list[CommitOutcome]:
        outcomes = []
        for state, part in zip(self._states, parts, strict=True):
            out = step(state, part, at, begin(state))
            state.merge(out.runs, out.stream_time)
            outcomes.append(out)
        return outcomes

    def _encode(self, outcomes: Sequence[CommitOutcome], wall_ms: int) -> dict[int, list[Message]]:
        folded = [
            Folded(
                number,
                self._commits,
                out.tally.cells,
                Mark(number, out.stream_time, idle=False, seen_at=wall_ms, sent_at=wall_ms),
            )
            for number, out in enumerate(outcomes)
        ]
        return self._encoder.messages(folded, wall_ms)

    def _count(self, outcomes: Sequence[CommitOutcome], wall_ms: int) -> None:
        for number, out in enumerate(outcomes):
            self._counters.add(
                FoldReport(
                    source=TopicPartition(STREAM, number),
                    records=1,
                    duration_s=0.0,
                    latency_s=0.0,
                    rejected={},
                    samples={},
                    alerts={},
                    tally=out.tally,
                    forgotten=0,
                    seen_at=wall_ms,
                )
            )


_RULES = Rules(ASSISTANTS, Retention(10**12, 10**12), Deadlines(limits=LIMITS))


def _absorb(state: WindowState, arrivals: Sequence[Any]) -> WindowOutcome:
    out = begin_windows(state)
    absorb(state, arrivals, out)
    finish(state, out, watches_silence=True)
    return out


def _events(count: int) -> Iterator[RunEvent]:
    stream = enumerate(simulate(seed=1, events=count, rate_per_s=RATE_PER_S))
    records: list[Arrival] = [
        Entry(offset, event.key, event.value, event.timestamp_ms, (), "committed") for offset, event in stream
    ]
    for start in range(0, count, CHUNK):
        yield from decode(records[start : start + CHUNK], bundled_book()).events


def _named(events: Sequence[RunEvent], assistants: int) -> list[RunEvent]:
    """Return the events as runs of so many assistants and three models, all of them equally busy."""
    groups = [(f"asst_{number // MODELS:024}", f"gpt-4o-{number % MODELS}") for number in range(assistants * MODELS)]
    found = []
    for event in events:
        assistant_id, model = groups[_number(event.run_id, 2) % len(groups)]
        found.append(structs.replace(event, assistant_id=assistant_id, model=model))
    return found


def _number(run_id: str, salt: int) -> int:
    """Return a number that depends on nothing else."""
    return int.from_bytes(run_id[-8:].encode(), "big") * (2 * salt + 1) % 1_000_003
