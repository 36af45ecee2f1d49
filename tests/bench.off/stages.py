"""Where the CPU time goes: each stage of a commit by itself, without a broker."""

import time
from collections.abc import Callable
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder

from streamproc.app import spare_the_collector
from streamproc.codec.arrival import Arrival
from streamproc.codec.decode import decode
from streamproc.codec.encode import Message, OutputEncoder, Source
from streamproc.codec.measurements import MeasurementEncoder
from streamproc.core.deadlines import Deadlines
from streamproc.core.measure import Measurement
from streamproc.core.model import Moment
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.core.step import begin, step
from streamproc.local.simulate import simulate
from tests.support.books import bundled_book
from tests.support.fake_kafka import Entry

CHUNK = 2_000
LIMITS = {status: seconds * 1000 for status, seconds in ASSISTANTS.limits_s.items()}
NO_COMPRESSION = 0


def measure(events: int) -> None:
    """Print microseconds per event for each stage."""
    spare_the_collector()
    stream = simulate(seed=1, events=events)
    records: list[Arrival] = [
        Entry(offset, event.key, event.value, event.timestamp_ms, (), "committed")
        for offset, event in enumerate(stream)
    ]
    chunks = [records[start : start + CHUNK] for start in range(0, events, CHUNK)]
    timer = _Timer(events)
    decoded = timer("decode", lambda: [decode(chunk, bundled_book()) for chunk in chunks])
    state = State(Rules(ASSISTANTS, Retention(10**12, 10**12), Deadlines(limits=LIMITS)))
    at = Moment(records[-1].timestamp, caught_up=False)

    def fold() -> list[Any]:
        outcomes = []
        for found in decoded:
            outcome = step(state, found.events, at, begin(state))
            state.merge(outcome.runs, outcome.stream_time)
            outcomes.append(outcome)
        return outcomes

    outcomes = timer("fold and merge", fold)
    encoder = OutputEncoder(Source("bench", "run-events", 0))
    changes = timer("encode transitions", lambda: [encoder.transitions(o.transitions, at.wall_ms) for o in outcomes])
    states = timer(
        "encode states",
        lambda: [encoder.states([run for run in o.runs.values() if run is not None], at.wall_ms) for o in outcomes],
    )
    measurements = MeasurementEncoder(Source("bench", "run-events", 0))
    timer(
        "encode measurements",
        lambda: [
            measurements.measurements(
                [Measurement(0, *key, cell) for key, cell in o.tally.cells.items()], 1, at.wall_ms
            )
            for o in outcomes
        ],
    )
    timer("build batches", lambda: [_build(messages) for messages in (*changes, *states)])
    timer.total()


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
