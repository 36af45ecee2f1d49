"""The service as a child process, its topics, and what is in them."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from streamproc.codec.arrival import Arrival
from streamproc.codec.book import SchemaBook
from streamproc.local.simulate import SimulatedEvent
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.aio.producer import AioProducer
from streamproc.runtime.config import KafkaSettings, TopicSettings
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.topics import create_topics
from tests.support.oracle import replay, written
from tests.support.waiting import DEADLINE_S, eventually

MAX_RECORD_BYTES = 1_048_576
NATIVE = "STREAMPROC_NATIVE"
"""The setting that a worker has as the tests have it."""

Record = tuple[bytes | None, bytes | None, int, Sequence[tuple[str, bytes]]]
"""Key, value, timestamp in milliseconds, headers."""


class Fleet:
    """One application on a real broker: its topics, its source, and the workers started for it."""

    def __init__(self, bootstrap: str, name: str, logs: Path, partitions: int = 4) -> None:
        self.name = name
        self.logs = logs
        self.partitions = partitions
        self.settings = KafkaSettings(bootstrap_servers=bootstrap)
        self.topics = TopicSettings(prefix=f"{name}-").named()
        self.kafka = AioKafka(self.settings, name)
        self.workers: list[Worker] = []

    def environment(self, **settings: object) -> dict[str, str]:
        """Return the environment of a worker; keyword names as in STREAMPROC_KEY."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("STREAMPROC_") or key == NATIVE},
            "STREAMPROC_KAFKA__BOOTSTRAP_SERVERS": self.settings.bootstrap_servers,
            "STREAMPROC_TOPICS__PREFIX": f"{self.name}-",
            "STREAMPROC_APPLICATION_ID": self.name,
            "STREAMPROC_HTTP__PORT": "0",
            "PYTHONUNBUFFERED": "1",
            **{f"STREAMPROC_{key}": str(value) for key, value in settings.items()},
        }

    def start(self, **settings: object) -> "Worker":
        """Start a worker."""
        worker = Worker(self.environment(**settings), self.logs / f"worker-{len(self.workers)}.log")
        self.workers.append(worker)
        return worker

    async def send(self, events: Iterable[SimulatedEvent], per_second: int | None = None) -> None:
        """Write events to the input, at most so many a second."""
        async with AioProducer(self.settings, self.topics.events) as producer:
            began = time.monotonic()
            for number, event in enumerate(events):
                await producer.send(event.key, event.value, event.timestamp_ms)
                if per_second and number % 500 == 499:
                    await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))

    async def send_records(self, *records: Record) -> None:
        """Write records of any kind to partition 0 of the input."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.settings.bootstrap_servers,
            enable_idempotence=True,
            max_request_size=2 * MAX_RECORD_BYTES,
        ) as producer:
            for key, value, timestamp_ms, headers in records:
                await producer.send_and_wait(
                    self.topics.events, value, key, 0, timestamp_ms=timestamp_ms, headers=list(headers)
                )

    async def administer(self, work: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
        """Do something to the topics that the service would never do."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.bootstrap_servers)
        await admin.start()
        try:
            return await work(admin)
        finally:
            await admin.close()

    async def read(self, topic: str, partition: int) -> list[Arrival]:
        """Return every committed record of a partition."""
        reader = await self.kafka.reader(topic, partition)
        try:
            first, last = await self.kafka.bounds(topic, partition)
            await reader.seek(first)
            records: list[Arrival] = []
            while await reader.position() < last:
                records += (await reader.fetch(10_000, 2.0)).records
            return records
        finally:
            await reader.close()

    def source(self, partition: int) -> TopicPartition:
        """Return a partition of the input."""
        return TopicPartition(self.topics.events, partition)

    async def progress(self) -> int:
        """Return the sum of the committed offsets."""
        committed = [await self.kafka.committed(self.source(partition)) for partition in range(self.partitions)]
        return sum(each.offset for each in committed if each is not None)

    async def moved(self, before: int = 0) -> bool:
        """Whether something was committed since the progress was `before`."""
        return await self.progress() > before

    async def is_done(self) -> bool:
        """Whether the whole input is committed."""
        _, behind = await self._behind(self.topics.events)
        return not behind

    async def drained(self) -> None:
        """Wait until the whole input is committed, and then until the windows have taken what came of it."""
        await eventually(self.is_done)
        ends, _ = await self._behind(self.topics.measurements)

        async def passed() -> bool:
            # Marks go on for ever, so the windows come past every offset; "all of it" would hardly ever be true.
            found = [await self.kafka.committed(TopicPartition(self.topics.measurements, n)) for n in range(len(ends))]
            return all(each is not None and each.offset >= end for each, end in zip(found, ends, strict=True))

        await eventually(passed)

    async def _behind(self, topic: str) -> tuple[list[int], list[int]]:
        """Return the end of each partition, and the numbers of those that are not committed up to there."""
        ends, behind = [], []
        for partition in range(self.partitions):
            _, end = await self.kafka.bounds(topic, partition)
            committed = await self.kafka.committed(TopicPartition(topic, partition))
            ends.append(end)
            if (committed.offset if committed else 0) < end:
                behind.append(partition)
        return ends, behind

    async def check(self, book: SchemaBook | None = None) -> int:
        """Hold all outputs against a plain replay of the input; return the number of input records.

        `book`: of the schemas that the input was written with, where they are not those that ship.
        """
        total = 0
        for partition in range(self.partitions):
            source = await self.read(self.topics.events, partition)
            total += len(source)
            names = (self.topics.transitions, self.topics.verdicts, self.topics.state, self.topics.dead_letters)
            await eventually(lambda at=partition, topics=names: self._are_settled(topics, at))
            found = written(*[await self.read(name, partition) for name in names])
            expected = replay(source, int(time.time() * 1000), book)
            assert found.transitions == expected.transitions, f"transitions of partition {partition}"
            assert found.verdicts == expected.verdicts, f"verdicts of partition {partition}"
            assert found.dead_letters == expected.dead_letters, f"dead letters of partition {partition}"
            assert found.states == expected.states, f"states of partition {partition}"
        return total

    async def _are_settled(self, topics: Sequence[str], partition: int) -> bool:
        """Whether no transaction is open: a commit is confirmed, and its offsets are there, before all its markers."""
        for topic in topics:
            _, stable = await self.kafka.bounds(topic, partition)
            if stable < await self.kafka.high_watermark(topic, partition):
                return False
        return True


class Worker:
    """One service process; its log goes to a file."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamproc", "run"], env=dict(environment), stdout=stream, stderr=stream
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and take the process off the table."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self.process.terminate()
        return self.process.wait(timeout=DEADLINE_S)

    async def end(self) -> int:
        """Wait until it ends by itself; return the exit code."""
        return await asyncio.to_thread(self.process.wait, DEADLINE_S)

    async def get(self, path: str) -> tuple[int, str]:
        """Ask its HTTP server; return status and body."""
        (started,) = self.events("started")
        return await asyncio.to_thread(_get, started["http"] + path)

    async def is_ready(self) -> bool:
        """Whether it is up and its readiness probe passes."""
        return bool(self.events("started")) and (await self.get("/readyz"))[0] == 200

    def running(self) -> set[tuple[str, int]]:
        """Return the partitions whose tasks ran at some time, by topic."""
        return {(line["topic"], line["partition"]) for line in self.events("task") if line["state"] == "running"}

    def output(self) -> str:
        """Return all that it wrote to its streams."""
        return self.log.read_text()

    def peak_bytes(self) -> int:
        """Return the largest resident set size so far; 0 where it ended."""
        with suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
            return int(found[1]) * 1024 if found else 0
        return 0

    def lines(self) -> list[dict[str, Any]]:
        """Return the log."""
        found = []
        for line in self.log.read_text().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        return [line for line in self.lines() if line.get("event") == name]


def _get(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=DEADLINE_S) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@asynccontextmanager
async def fleet(bootstrap: str, name: str, logs: Path, partitions: int = 4) -> AsyncIterator[Fleet]:
    """Create the topics; end every process afterwards. Shows the workers' last words where a test fails."""
    it = Fleet(bootstrap, name, logs, partitions)
    await create_topics(it.kafka, it.topics, partitions, MAX_RECORD_BYTES)
    try:
        yield it
    except BaseException:
        for worker in it.workers[-3:]:
            print(f"--- {worker.log.name}", *worker.log.read_text().splitlines()[-25:], sep="\n")
        raise
    finally:
        for worker in it.workers:
            if worker.process.poll() is None:
                worker.signal(signal.SIGCONT)
                worker.kill()
        await it.kafka.close()
