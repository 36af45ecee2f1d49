"""The worker: takes part in the consumer group and keeps one running task for each partition that it owns.

The group's callbacks only take note and signal (rules.md 8); the worker's own loop starts and drops tasks.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec import structs

from streamproc.codec.encode import Source
from streamproc.core.state import State
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.fold import FoldSettings, FoldStage
from streamproc.runtime.job import Job
from streamproc.runtime.ports import Group, Member, TopicPartition
from streamproc.runtime.stage import Limits, Stage
from streamproc.runtime.task import PartitionTask
from streamproc.runtime.topics import admitted_bytes, check_topics, partition_count_changed
from streamproc.runtime.windowing import WindowStage

POLL_S = 0.5
PARTITION_CHECK_S = 5.0
FINISH_S = 4.0
"""How long a stop waits for commits in hand; what is not committed by then is processed again later."""


class Worker:
    """Runs partition tasks until it is stopped, or until somebody has to step in."""

    def __init__(self, job: Job) -> None:
        self.topic = job.topics.events
        self._inputs = (job.topics.events, job.topics.measurements)
        self._job = job
        self._group: Group = job.kafka.group(self._inputs)
        self._partitions = 0
        self._limits = Limits(job.max_record_bytes)
        self._generation = 0
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._rebalanced = False
        self._wake = asyncio.Event()
        self._recount = asyncio.Event()
        self._stopping = False
        self._tasks: dict[TopicPartition, PartitionTask] = {}
        self._runs: dict[TopicPartition, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Work until `stop`; raises ConfigError, or whatever ended a task for good."""
        job = self._job
        self._partitions = await check_topics(job.kafka, job.topics, job.max_record_bytes)
        self._limits = Limits(job.max_record_bytes, await admitted_bytes(job.kafka, job.topics.dead_letters))
        try:
            await self._group.join(self)
            self._watch = self._spawn(self._watch_partitions())
            await self._loop()
        finally:
            await self._finish()

    def stop(self) -> None:
        """Ask the worker to come to an end; `run` then returns within a few seconds."""
        self._stopping = True
        self._wake.set()

    def revoked(self) -> None:
        """Group callback: a rebalance began."""
        self._generation += 1
        self._assigned = frozenset()
        # Nothing is dropped until the new generation's assignment is known: most partitions come back.
        self._rebalanced = False
        self._job.observer.revoked()

    def assigned(self, sources: frozenset[TopicPartition], member: Member) -> None:  # noqa: ARG002
        """Group callback: the partitions of the new generation."""
        self._generation += 1
        self._assigned = sources
        self._rebalanced = True
        self._job.observer.rebalanced(sources)
        self._recount.set()
        self._wake.set()

    async def _loop(self) -> None:
        """Go round whether or not the broker answers: nothing in here waits for it."""
        while not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_S)
            self._wake.clear()
            self._job.observer.progress()
            await self._group.poll()
            self._raise_failed()
            if self._rebalanced:
                self._rebalanced = False
                self._reconcile()

    def _reconcile(self) -> None:
        """Start the tasks of the new generation; drop those whose partition went elsewhere."""
        generation = self._generation
        for source in [known for known in self._tasks if known not in self._assigned]:
            self._runs[source] = self._spawn(self._drop(self._tasks.pop(source), self._runs.get(source)))
        # One that is new has no state; `_watch_partitions` is about to say so.
        for source in sorted(source for source in self._assigned if source.partition < self._partitions):
            task = self._tasks.get(source)
            if task is None:
                task = self._tasks[source] = PartitionTask(self._job, self._group, self._stage(source))
            self._runs[source] = self._spawn(self._resume(task, generation, self._runs.get(source)))

    def _stage(self, source: TopicPartition) -> Stage[Any]:
        """Return what is to be done with a partition: the one place where a topic gets its stage."""
        job, place = self._job, Source(self._job.application_id, *source)
        if source.topic == job.topics.measurements:
            rules = structs.replace(job.windows, sources=self._partitions)
            return WindowStage(rules, job.topics, job.rules.profile.name, place, job.frames, self._limits)
        limit, letter_bytes = self._limits
        settings = FoldSettings(
            job.topics, job.rules, job.book, job.commit, limit, job.kafka.partition_of, job.frames, letter_bytes
        )
        return FoldStage(settings, place, self._partitions, _Elsewhere(self._tasks, source))

    async def _resume(self, task: PartitionTask, generation: int, before: asyncio.Task[None] | None) -> None:
        await _settled(before)
        await task.run(lambda: self._owns(task.source, generation))

    async def _drop(self, task: PartitionTask, before: asyncio.Task[None] | None) -> None:
        await _settled(before)
        task.close()

    def _owns(self, source: TopicPartition, generation: int) -> bool:
        return generation == self._generation and source in self._assigned and not self._stopping

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        run = asyncio.create_task(coroutine)
        run.add_done_callback(lambda _: self._wake.set())
        return run

    def _raise_failed(self) -> None:
        for run in (*self._runs.values(), self._watch):
            if run is not None and run.done():
                if run.cancelled():
                    # Not by us. A partition that nobody works on any more must not go unnoticed.
                    raise RuntimeError("a task was cancelled from within")
                run.result()

    async def _watch_partitions(self) -> None:
        """Raise ConfigError when the input's partition count changes (rules.md 4).

        Looks every few seconds and after each rebalance; apart from the loop, because a broker that is away may take a
        minute not to answer.
        """
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._recount.wait(), PARTITION_CHECK_S)
            self._recount.clear()
            with suppress(BrokerUnavailable):
                for topic in self._inputs:
                    count = await self._job.kafka.partition_count(topic)
                    if count and count != self._partitions:
                        raise ConfigError(partition_count_changed(topic, self._partitions, count))

    async def _finish(self) -> None:
        self._stopping = True
        if self._watch is not None:
            self._watch.cancel()
        runs = set(self._runs.values())
        if runs:
            _, late = await asyncio.wait(runs, timeout=FINISH_S)
            for run in late:
                run.cancel()
            await asyncio.wait(runs, timeout=FINISH_S / 2)
            for run in runs:
                if run.done() and not run.cancelled():
                    run.exception()  # Seen: the first one to fail is what `run` raises.
        await self._group.leave()


class _Elsewhere:
    """Counts runs that live on another partition of this worker too (rules.md 1)."""

    def __init__(self, tasks: Mapping[TopicPartition, PartitionTask], source: TopicPartition) -> None:
        self._tasks = tasks
        self._source = source

    def __call__(self, run_ids: Sequence[str]) -> int:
        """Return how many of `run_ids` another partition's state knows."""
        states = (task.state for source, task in self._tasks.items() if source != self._source)
        return sum(len(state.runs.keys() & run_ids) for state in states if isinstance(state, State))


async def _settled(run: asyncio.Task[None] | None) -> None:
    """Wait for an earlier run of the same partition; whatever it ended with was its own matter."""
    if run is not None:
        await asyncio.wait({run})
