"""The console on a million runs: how long it reads, how fast its pages are while more comes, how far behind it is."""

import http.client
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.core.model import Transition
from streamproc.runtime.ports import TopicPartition
from tests.bench.process import MIB, cpu_seconds, peak_bytes, resident_bytes
from tests.bench.restoring import BATCH, write_states
from tests.support.service import Fleet
from tests.support.waiting import eventually

PATHS = {
    "overview": ["/"],
    "runs": ["/runs", "/runs?sort=since", "/runs?sort=deadline", *(f"/runs?{urlencode({'q': text})}" for text in (
        "status:in_progress", "is:open age:>1m", "assistant:asst_000000000000000000000007", "outcome:failed age:<1h",
        "-status:completed", "model:gpt-4o is:overdue", "error:server_error", "run_0001",
    ))],
    "alerts": ["/alerts"],
    "dead letters": ["/dead-letters"],
    "pipeline": ["/pipeline"],
}  # fmt: skip
PAUSE_S = 0.02
"""Between two requests: somebody who looks at pages, not a load test."""


class Console:
    """A console in a process of its own, and what is asked of it."""

    def __init__(self, fleet: Fleet, database: Path) -> None:
        self.began = time.monotonic()
        environment = fleet.environment(CONSOLE__DATABASE=database, CONSOLE__PORT=0)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamproc", "console"], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        host, port = self.process.stdout.readline().rpartition("http://")[2].strip().rstrip("/").split(":")
        self._connection = http.client.HTTPConnection(host, int(port))

    def get(self, path: str) -> tuple[float, bytes]:
        """Return the seconds that an answer took, and the answer."""
        self._connection.close()  # One that was idle for long may be closed at the other end.
        self._connection.connect()
        began = time.perf_counter()
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        body = response.read()
        assert response.status == 200, (path, response.status, body[:500])
        return time.perf_counter() - began, body

    def said(self, path: str) -> Any:
        """Return what the API says."""
        return json.loads(self.get(f"/api/v1{path}")[1])

    def is_complete(self) -> bool:
        """Whether it has read everything."""
        return bool(self.said("/health")["status"] == "ok")

    def stop(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(30)


class Sample(NamedTuple):
    """Seconds that pages took, by kind, each path's, and how far behind the read model was at each look."""

    pages: dict[str, list[float]]
    paths: dict[str, list[float]]
    behind_s: list[float]


async def measure(fleet: Fleet, runs: int, rate: int, seconds: float) -> None:
    """Print how long a rebuild takes, how fast a backlog is read, and how fast pages are on a steady stream."""
    print(f"writing the state of {runs:,} runs ...", flush=True)
    await write_states(fleet, runs)
    database = fleet.logs / "console.sqlite"
    console = Console(fleet, database)
    await eventually(console.is_complete, deadline_s=900)
    rebuilt_s, busy_s = time.monotonic() - console.began, cpu_seconds(console.process.pid)
    print(f"console: {runs:,} runs in {fleet.partitions} partitions")
    print(
        f"  {rebuilt_s:>10.1f} s to build the read model from the start of the process: {runs / rebuilt_s:,.0f} runs/s"
    )
    print(f"  {busy_s:>10.1f} s of CPU time; {peak_bytes(console.process.pid) / MIB:.0f} MiB resident at most")
    print(f"  {sum(file.stat().st_size for file in fleet.logs.glob('console.sqlite*')) / MIB:>10.0f} MiB on disk")
    await _backlog(fleet, console, runs)
    await _steady(fleet, console, rate, seconds)
    console.stop()


async def _backlog(fleet: Fleet, console: Console, runs: int) -> None:
    """Write transitions of half as many runs while the console stands still, and let it read them."""
    console.stop()
    count = await _write_transitions(fleet, runs // 2)
    again = Console(fleet, fleet.logs / "console.sqlite")
    console.process, console._connection = again.process, again._connection
    await eventually(console.is_complete, deadline_s=900)
    passed_s = time.monotonic() - again.began
    print(f"  {count / passed_s:>10,.0f} records/s of {count:,} transitions behind, from the start of the process")


async def _steady(fleet: Fleet, console: Console, rate: int, seconds: float) -> None:
    worker = fleet.start()
    await eventually(lambda: len(worker.running()) == 2 * fleet.partitions, deadline_s=600)
    written = fleet.logs / "written"
    arguments = [fleet.settings.bootstrap_servers, fleet.topics.events, str(rate), str(seconds + 8), str(written)]
    command = [sys.executable, "-m", "tests.bench.source", *arguments]
    source = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert source.stdin is not None
    assert source.stdout is not None
    source.stdout.readline()
    source.stdin.write("go\n")
    source.stdin.flush()
    time.sleep(5)
    before = cpu_seconds(console.process.pid), cpu_seconds(worker.process.pid)
    began = time.monotonic()
    found = _asked(console, began + seconds)
    passed_s = time.monotonic() - began
    after = cpu_seconds(console.process.pid), cpu_seconds(worker.process.pid)
    print(f"  on {rate:,} events a second, pages asked for one after another:")
    for kind, times in found.pages.items():
        print(f"  {_percentile(times, 50):>10.1f} ms p50 {_percentile(times, 99):>8.1f} ms p99  {kind} ({len(times)})")
    slowest = max(found.paths, key=lambda path: statistics.median(found.paths[path]))
    print(f"  {_percentile(found.paths[slowest], 50):>10.1f} ms p50, the slowest of them: {slowest}")
    everything = [each for times in found.pages.values() for each in times]
    print(f"  {_percentile(everything, 50):>10.1f} ms p50 {_percentile(everything, 99):>8.1f} ms p99  all pages")
    print(f"  {max(found.behind_s):>10.1f} s behind at most, {statistics.median(found.behind_s):.1f} s in the middle")
    shares = [100 * (now - then) / passed_s for then, now in zip(before, after, strict=True)]
    print(f"  {shares[0]:>10.0f} % of a core for the console, {shares[1]:.0f} % for the service")
    print(f"  {resident_bytes(console.process.pid) / MIB:>10.0f} MiB resident")
    source.terminate()
    source.wait(60)
    worker.stop()


def _asked(console: Console, until: float) -> Sample:
    found = Sample({kind: [] for kind in [*PATHS, "run"]}, {}, [])
    while time.monotonic() < until:
        newest = console.said("/runs?limit=20")
        found.behind_s.append(_behind_s(newest["items"]))
        for kind, path in _paths([run["run_id"] for run in newest["items"]]):
            found.pages[kind].append(console.get(path)[0])
            found.paths.setdefault("/runs/…" if kind == "run" else path, []).append(found.pages[kind][-1])
            time.sleep(PAUSE_S)
    return found


def _behind_s(newest: Sequence[dict[str, Any]]) -> float:
    """Return how old the newest change of a status is: on a steady stream something changes all the time."""
    return time.time() - max(run["status_since"] for run in newest) / 1_000


def _paths(run_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    for kind, paths in PATHS.items():
        for path in paths:
            yield kind, path
    for run_id in run_ids[:5]:
        yield "run", f"/runs/{quote(run_id, safe='')}"


def _percentile(times: Sequence[float], percent: int) -> float:
    return 1_000 * sorted(times)[min(len(times) - 1, len(times) * percent // 100)]


async def _write_transitions(fleet: Fleet, runs: int) -> int:
    """Write two transitions of so many of the runs, as the service would; return how many there are."""
    now, share = int(time.time() * 1_000), runs // fleet.partitions
    for partition in range(fleet.partitions):
        encoder = OutputEncoder(OutputSource(fleet.name, fleet.topics.events, partition))
        transactions = fleet.kafka.transactions(fleet.source(partition))
        await transactions.fence()
        for start in range(0, share, BATCH):
            numbers = range(start, min(start + BATCH, share))
            changes = [change for number in numbers for change in _changes(partition, number, now)]
            place = TopicPartition(fleet.topics.transitions, partition)
            await transactions.commit({place: encoder.transitions(changes, now)}, {})
        await transactions.close()
    return 2 * share * fleet.partitions


def _changes(partition: int, number: int, now: int) -> Iterator[Transition]:
    run_id = f"run_{partition:04x}{number:020x}"
    assistant = f"asst_{number % 20:024x}"
    for before, after, took, outcome in (
        (None, "in_progress", None, None),
        ("in_progress", "completed", 9, "succeeded"),
    ):
        yield Transition(
            run_id=run_id,
            thread_id=f"thread_{number}",
            assistant_id=assistant,
            model="gpt-4o",
            from_status=before,
            to_status=after,
            occurred_at=now - number,
            in_from_ms=took,
            expected=True,
            outcome=outcome,
            error_code=None,
            offset=number,
        )
