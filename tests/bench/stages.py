"""Where the CPU time goes: each stage of a commit by itself, without a broker."""

import time
from collections import Counter
from collections.abc import Callable, Sized
from typing import Any

from msgspec.structs import replace

from streamproc.app import spare_the_collector
from streamproc.codec.alerts import AlertEncoder
from streamproc.codec.arrival import Arrival
from streamproc.codec.decode import decode
from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.codec.measurements import Folded, MeasurementEncoder
from streamproc.codec.message import Message, Messages
from streamproc.core.deadlines import Deadlines
from streamproc.core.fold import opened
from streamproc.core.model import Moment, RunEvent
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.core.state import State
from streamproc.core.step import begin, pass_time, step
from streamproc.local.simulate import simulate
from streamproc.runtime.aio.batches import Batches
from streamproc.runtime.aio.partitioner import partition_of
from tests.bench.overdue import overdue as overdue_
from tests.support.books import bundled_book
from tests.support.fake_kafka import Entry

CHUNK = 2_000
LIMITS = {status: seconds * 1000 for status, seconds in ASSISTANTS.limits_s.items()}
ALLOWANCE_MS = 30_000
QUIET_CYCLES = 1_000
SOURCE = OutputSource("bench", "run-events", 0)


def measure(events: int, *, overdue: bool, open_runs: int) -> None:
    """Print microseconds per event for each stage.

    `overdue`: of a stream in which nearly every run is; `open_runs`: that many others are open all the while.
    """
    spare_the_collector()
    records = _records(events, overdue=overdue)
    at = Moment(records[-1].timestamp, caught_up=False)
    deadlines = Deadlines(allowance_ms=0 if overdue else ALLOWANCE_MS, limits=LIMITS)
    state = State(Rules(ASSISTANTS, Retention(10**12, 10**12), deadlines))
    _open(state, decode(records[:CHUNK], bundled_book()).events[0], open_runs, at)
    outputs, alerts, measurements = (
        OutputEncoder(SOURCE),
        AlertEncoder("bench"),
        MeasurementEncoder("bench", SOURCE.topic, 1, partition_of),
    )
    batches = {codec: Batches(codec, (1, 0)) for codec in ("none", "lz4")}
    timer = _Timer()
    for start in range(0, events, CHUNK):
        # One commit after another, as in the service: what was made last is at hand for what comes next.
        found = timer("decode", decode, records[start : start + CHUNK], bundled_book())
        out = timer("fold", lambda events: pass_time(state, at, step(state, events, at, begin(state))), found.events)
        runs = [run for run in out.runs.values() if run is not None]
        said = [
            timer("encode transitions", outputs.transitions, out.transitions, at.wall_ms),
            timer("encode states", outputs.states, runs, at.wall_ms, out.causes, 1),
            timer("encode alerts", alerts.messages, out.alerts, at.wall_ms, SOURCE),
            timer("encode measurements", lambda out: _spread(measurements, out, at), out),
        ]
        for codec, batcher in batches.items():
            timer(f"build batches, {codec}", lambda said, to: [_build(each, to) for each in said], said, batcher)
        timer("merge", state.merge, out)
        timer.count(transitions=out.transitions, states=runs, alerts=out.alerts)
    timer.tell(events)
    _quiet(state, at)


def _spread(encoder: MeasurementEncoder, out: Any, at: Moment) -> list[Message]:
    return encoder.messages([Folded(0, 1, out.tally.cells, None)], at.wall_ms).get(0, [])


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


def _build(messages: Messages, batches: Batches) -> list[bytes]:
    return list(batches.of("", messages))


class _Timer:
    """Sums up what each stage takes, and what comes of it."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def __call__(self, name: str, stage: Callable[..., Any], *arguments: Any) -> Any:
        began = time.process_time()
        result = stage(*arguments)
        self._seconds[name] += time.process_time() - began
        return result

    def count(self, **found: Sized) -> None:
        """Count what there was of each kind."""
        self._counts.update({name: len(each) for name, each in found.items()})

    def tell(self, events: int) -> None:
        """Print a line for each stage, and their sum."""
        print("stages, in microseconds of CPU per event (fetching, transactions and the event loop come on top):")
        for name, seconds in [*self._seconds.items(), ("all of these", self._seconds.total())]:
            print(f"  {seconds / events * 1e6:>10.2f}  {name}")
        said = ", ".join(f"{count / events:.2f} {name}" for name, count in self._counts.items())
        print(f"  of each event come {said}")
