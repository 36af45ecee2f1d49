"""The same job on streamproc and on its peers, in turn, on a backlog and on a steady stream.

All of them decode the events, fold runs, keep each run with its last event in a changelog or recovery store, and write
a transition for each change; streamproc makes measurements, windows and alerts besides. Outputs are counted: as many
transitions as a plain fold of the same events makes, and none twice.
"""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition

from streamproc.local.kafka import LocalKafka, local_kafka
from streamproc.local.simulate import SimulatedEvent
from tests.bench.floor import floor_cpu_seconds
from tests.bench.peers.lifecycle import decode, fold
from tests.bench.peers.setup import PEERS, Start, Work
from tests.bench.process import MIB, cpu_seconds_with_children, peak_bytes
from tests.bench.steady import Place, Steady, steady
from tests.bench.tables import table
from tests.bench.writing import backlog, write
from tests.support.service import Fleet, fleet

SHORT = 2
"""The short backlog is a part of the long one, one in so many: a JVM has compiled what it runs by its end."""
STALL_S = 90
QUIET_S = 1.0
START_S = 10.0
END_S = 30.0
OURS = "streamproc"

MODELS_EACH = 3

HEADS = (
    "peer", "guarantee", "events/s", "CPU-s per million, whole", "steady state", "of the broker", "MiB at most",
    "transitions", "p50 ms", "p99 ms", "max ms", "CPU %", "broker CPU %",
)  # fmt: skip


class Options(NamedTuple):
    """What is measured: a backlog, and `rate` events a second (0: not) for `seconds` after `warm_up`.

    `assistants`: in the backlog, each on MODELS_EACH models.
    """

    events: int
    partitions: int
    compression: str
    rate: int
    warm_up: float
    seconds: float
    assistants: int

    def backlog(self, events: int) -> Iterable[SimulatedEvent]:
        """Return so many events."""
        return backlog(events, assistants=self.assistants, models_each=MODELS_EACH)


class Drained(NamedTuple):
    """What a backlog took: seconds and CPU-seconds from the process's start until the last transition."""

    took: float
    cpu: float
    broker_cpu: float
    peak_mib: float
    transitions: int


class Failed(Exception):
    """A peer did not do it; the message is its error's last line."""


def compare(names: list[str], options: Options, rounds: int) -> str:
    """Measure in turn; return the table."""
    expected = {events: _transitions(options, events) for events in (options.events // SHORT, options.events)}
    rows = [row for _ in range(rounds) for name in names for row in [_row(name, options, expected)]]
    print(f"{options.events:,} events; a plain fold makes {expected[options.events]:,} transitions", flush=True)
    return table(HEADS, [*rows, _floor(options)])


def _row(name: str, options: Options, expected: dict[int, int]) -> list[object]:
    title = [OURS, "exactly once"] if name == OURS else [PEERS[name].name, PEERS[name].guarantee]
    try:
        ready = _service if name == OURS else _command_of(PEERS[name].ready())
        short, long = (asyncio.run(_drain(ready, options, *each)) for each in sorted(expected.items()))
        cells = _backlog_cells(options.events, short, long, expected[options.events])
        print(f"{title}: {cells}", flush=True)
        cells += _steady_cells(asyncio.run(_flow(ready, options)) if options.rate else None)
    except Exception as error:  # noqa: BLE001  a peer that fails is a result
        cells = [f"failed: {str(error).replace('|', '/')}", *[""] * (len(HEADS) - len(title) - 1)]
    return [*title, *cells]


def _backlog_cells(events: int, short: Drained, long: Drained, expected: int) -> list[object]:
    more = (events - events // SHORT) / 1e6
    agrees = "as expected" if long.transitions == expected else f"{long.transitions:,}"
    return [
        f"{more * 1e6 / (long.took - short.took):,.0f}",
        f"{long.cpu / events * 1e6:.1f}",
        f"{(long.cpu - short.cpu) / more:.1f}",
        f"{(long.broker_cpu - short.broker_cpu) / more:.1f}",
        f"{long.peak_mib:.0f}",
        agrees,
    ]


def _steady_cells(found: Steady | None) -> list[object]:
    if found is None:
        return [""] * 5
    if not found.latencies:
        return ["none came", *[""] * 4]
    times = [f"{found.quantile(share):,.0f}" for share in (0.5, 0.99, 1.0)]
    return [*times, f"{100 * found.use.cpu:.1f}", f"{100 * found.use.broker_cpu:.0f}"]


def _floor(options: Options) -> list[object]:
    async def measured() -> float:
        with tempfile.TemporaryDirectory(prefix="streamproc-bench-") as logs:
            async with local_kafka() as kafka, fleet(kafka.bootstrap_servers, "peer", Path(logs)) as it:
                count = min(options.events, 100_000)
                await asyncio.to_thread(write, kafka.bootstrap_servers, it.topics.events, options.backlog(count))
                return await floor_cpu_seconds(it, count)

    cpu = f"{asyncio.run(measured()) * 1e6:.1f}"
    return ["a loop that reads and decodes with fastavro", "writes nothing", "", cpu, cpu, *[""] * (len(HEADS) - 5)]


def _transitions(options: Options, events: int) -> int:
    """Return how many transitions a plain fold makes."""
    runs: dict[str, object] = {}
    count = 0
    for offset, each in enumerate(options.backlog(events)):
        event = decode(each.value or b"")
        run, transition = fold(runs.get(event["id"]), event, each.value or b"", each.timestamp_ms, ("", 0, offset))
        if run is not None:
            runs[event["id"]] = run
        count += transition is not None
    return count


Ready = Callable[[Fleet, Options, Path], Start]


def _command_of(start: Callable[[Work], Start]) -> Ready:
    def ready(it: Fleet, options: Options, directory: Path) -> Start:
        place = (it.settings.bootstrap_servers, it.topics.events, it.topics.transitions, options.partitions)
        return start(Work(*place, options.compression, directory))

    return ready


def _service(it: Fleet, options: Options, _directory: Path) -> Start:
    from sys import executable

    return Start([executable, "-m", "streamproc", "run"], it.environment(KAFKA__COMPRESSION=options.compression))


@asynccontextmanager
async def _place(options: Options) -> AsyncIterator[tuple[LocalKafka, Fleet, Path]]:
    with tempfile.TemporaryDirectory(prefix="streamproc-bench-") as directory:
        async with (
            local_kafka() as kafka,
            fleet(kafka.bootstrap_servers, "peer", Path(directory), options.partitions) as it,
        ):
            yield kafka, it, Path(directory)


@asynccontextmanager
async def _running(
    ready: Ready, it: Fleet, options: Options, directory: Path
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run the process; where it ends by itself, or the block fails, Failed has its last words."""
    start, log = ready(it, options, directory), directory / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            start.command, env=start.environment, stdout=stream, stderr=stream, cwd=directory, stdin=subprocess.DEVNULL
        )
    try:
        yield process
    except Exception as error:
        raise Failed(_last_words(log) or str(error)) from error
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    said = [line for line in lines if "Error" in line or "Exception" in line]
    return (said or lines or [""])[-1][:200]


async def _drain(ready: Ready, options: Options, events: int, expected: int) -> Drained:
    async with _place(options) as (kafka, it, directory):
        await asyncio.to_thread(write, kafka.bootstrap_servers, it.topics.events, options.backlog(events))
        broker_cpu = cpu_seconds_with_children(kafka.nodes[0].pid)
        async with _running(ready, it, options, directory) as process:
            counting = _Counting(Place(kafka.bootstrap_servers, "", it.topics.transitions, options.partitions))
            found = await asyncio.to_thread(counting.until, expected, process, kafka.nodes[0].pid)
            if ready is _service:
                # The windows have their share in the CPU time, and come a second behind.
                await it.drained()
                found = found._replace(cpu=cpu_seconds_with_children(process.pid))
            return found._replace(broker_cpu=found.broker_cpu - broker_cpu)


async def _flow(ready: Ready, options: Options) -> Steady:
    async with _place(options) as (kafka, it, directory), _running(ready, it, options, directory) as process:
        await asyncio.sleep(START_S)
        place = Place(kafka.bootstrap_servers, it.topics.events, it.topics.transitions, options.partitions)
        return await steady(place, options.rate, options.warm_up, options.seconds, process.pid, kafka.nodes[0].pid)


class _Counting:
    """Counts the transitions that a read_committed consumer sees, by the event that they are of."""

    def __init__(self, place: Place) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": place.bootstrap,
                "group.id": "bench-count",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 2,
            }
        )
        self._consumer.assign([TopicPartition(place.transitions, number, 0) for number in range(place.partitions)])

    def until(self, expected: int, process: subprocess.Popen[bytes], broker_pid: int) -> Drained:
        """Count until as many are there and then none for a second; Failed where they do not come."""
        began = last = time.monotonic()
        seen: set[bytes] = set()
        count, done = 0, None
        while done is None or time.monotonic() - last < QUIET_S:
            for message in self._consumer.consume(2_000, 0.1):
                if message.error() is None:
                    seen.add(next(value for name, value in message.headers() if name == "ce_id"))
                    count, last = count + 1, time.monotonic()
            if done is None and len(seen) >= expected:
                cpu, broker = (cpu_seconds_with_children(pid) for pid in (process.pid, broker_pid))
                done = Drained(last - began, cpu, broker, peak_bytes(process.pid) / MIB, 0)
            if process.poll() is not None or time.monotonic() - last > STALL_S:
                raise Failed(f"{len(seen):,} of {expected:,} transitions came, then none")
        self._consumer.close()
        return done._replace(transitions=count)
