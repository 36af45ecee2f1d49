"""Where the CPU time goes: each stage of a commit by itself, without a broker."""

import time
from collections.abc import Callable
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder
from msgspec.structs import replace

from streamproc.app import spare_the_collector
from streamproc.codec.alerts import AlertEncoder
from streamproc.codec.arrival import Arrival
from streamproc.codec.decode import decode
from streamproc.codec.encode import Message, OutputEncoder, Source
from streamproc.codec.measurements import Folded, MeasurementEncoder
from streamproc.core.deadlines import Deadlines
from streamproc.core.fold import opened
from streamproc.core.model import Moment, RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.core.step import begin, pass_time, step
from streamproc.local.simulate import simulate
from streamproc.runtime.aio.partitioner import partition_of
from tests.bench.overdue import overdue as overdue_
from tests.support.books import bundled_book
from tests.support.fake_kafka import Entry

CHUNK = 2_000
LIMITS = {status: seconds * 1000 for status, seconds in ASSISTANTS.limits_s.items()}
ALLOWANCE_MS = 30_000
QUIET_CYCLES = 1_000
NO_COMPRESSION = 0
SOURCE = Source("bench", "run-events", 0)


def measure(events: int, *, overdue: bool, open_runs: int) -> None:
    """Print microseconds per event for each stage.

    `overdue`: of a stream in which nearly every run is; `open_runs`: that many others are open all the while.
    """
    spare_the_collector()
    records = _records(events, overdue=overdue)
    chunks = [records[start : start + CHUNK] for start in range(0, events, CHUNK)]
    timer = _Timer(events)
    decoded = timer("decode", lambda: [decode(chunk, bundled_book()) for chunk in chunks])
    deadlines = Deadlines(allowance_ms=0 if overdue else ALLOWANCE_MS, limits=LIMITS)
    state = State(Rules(ASSISTANTS, Retention(10**12, 10**12), deadlines))
    at = Moment(records[-1].timestamp, caught_up=False)
    _open(state, decoded[0].events[0], open_runs, at)

    def fold() -> list[Any]:
        outcomes = []
        for found in decoded:
            outcome = pass_time(state, at, step(state, found.events, at, begin(state)))
            state.merge(outcome)
            outcomes.append(outcome)
        return outcomes

    outcomes = timer("fold and merge", fold)
    encoder = OutputEncoder(SOURCE)
    changes = timer("encode transitions", lambda: [encoder.transitions(o.transitions, at.wall_ms) for o in outcomes])
    states = timer(
        "encode states",
        lambda: [
            encoder.states([run for run in o.runs.values() if run is not None], at.wall_ms, o.causes, 1)
            for o in outcomes
        ],
    )
    speaker = AlertEncoder("bench")
    alerts = timer("encode alerts", lambda: [speaker.messages(o.alerts, at.wall_ms, SOURCE) for o in outcomes])
    measurements = MeasurementEncoder("bench", "run-events", 1, partition_of)
    timer(
        "encode measurements",
        lambda: [measurements.messages([Folded(0, 1, o.tally.cells, None)], at.wall_ms) for o in outcomes],
    )
    timer("build batches", lambda: [_build(messages) for messages in (*changes, *states, *alerts)])
    timer.total()
    counts = {"transitions": changes, "states": states, "alerts": alerts}
    said = ", ".join(f"{sum(map(len, found)) / events:.2f} {name}" for name, found in counts.items())
    print(f"  of each event come {said}")
    _quiet(state, at)


def _records(events: int, *, overdue: bool) -> list[Arrival]:
    stream = overdue_(simulate(seed=1, events=events, bad_ratio=0)) if overdue else simulate(seed=1, events=events)
    return [
        Entry(offset, event.key, event.value, event.timestamp_ms, (), "committed")
        for offset, event in enumerate(stream)
    ]


def _open(state: State, like: RunEvent, count: int, at: Moment) -> None:
    """Put so many open runs into the state, none of which has anything to be told."""
    fields = {"status": "in_progress", "timestamp": at.wall_ms}
    for number in range(count):
        named = {"run_id": f"run_open_{number}", "expires_at": at.wall_ms // 1000 + 600 + number % 3_600}
        state.put(opened(replace(like, **fields, **named), ASSISTANTS, at))
    state.arm()


def _quiet(state: State, at: Moment) -> None:
    """Print what a cycle costs in which nothing comes and nothing is due."""
    began = time.process_time()
    for number in range(QUIET_CYCLES):
        state.settle(pass_time(state, Moment(at.wall_ms + number, caught_up=True), begin(state)))
    micros = (time.process_time() - began) / QUIET_CYCLES * 1e6
    print(f"  {micros:>10.2f}  a quiet cycle, {len(state.runs):,} runs, {len(state.open_runs()):,} of them open")


def _build(messages: list[Message]) -> bytes:
    builder = BatchBuilder(10**8, NO_COMPRESSION, is_transactional=1)
    for key, value, timestamp, headers in messages:
        builder.append(key=key, value=value, timestamp=timestamp, headers=headers)
    built: bytes = builder._build()
    return built


class _Timer:
    """Prints a line for each stage, and their sum."""

    def __init__(self, events: int) -> None:
        self._events = events
        self._sum = 0.0
        print("stages, in microseconds of CPU per event (fetching, transactions and the event loop come on top):")

    def __call__(self, name: str, stage: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = stage()
        micros = (time.process_time() - began) / self._events * 1e6
        self._sum += micros
        print(f"  {micros:>10.2f}  {name}")
        return result

    def total(self) -> None:
        """Print the sum."""
        print(f"  {self._sum:>10.2f}  all of these")
