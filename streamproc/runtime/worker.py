"""The worker: takes part in the consumer group, and works on what each of its assignments brings.

The group's callbacks only take note and signal (rules.md 8); the worker's own loops do the work.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from streamproc.awaiting import done_before, raise_failed, seen
from streamproc.backoff import Backoff
from streamproc.errors import BrokerUnavailable, ConfigError
from streamproc.runtime.cycle import Cycle
from streamproc.runtime.errands import Errands
from streamproc.runtime.job import Job
from streamproc.runtime.ports import Fetcher, Group, Member, TopicPartition
from streamproc.runtime.stage import SizeLimits, Stage
from streamproc.runtime.stages import Stages
from streamproc.runtime.takeover import Assignment, TakeOver
from streamproc.runtime.task import PartitionTask
from streamproc.runtime.tenure import Tenure
from streamproc.runtime.topics import admitted_bytes, check_topics, partition_count_changed
from streamproc.store.store import Host

POLL_S = 0.5
PROGRESS_PER_POLL = 4
"""aiokafka's consumer looks at each of its partitions when it is polled: that is what an idle worker would do most."""
FINISH_S = 4.0
"""How long a stop waits for the commit in hand; what is not committed by then is processed again later."""


class Worker:
    """Runs the stages on its share of the partitions until it is stopped, or until somebody has to step in."""

    def __init__(self, job: Job, stages: Stages) -> None:
        self._job = job
        self._make_stages = stages
        self._inputs = (job.topics.events, job.topics.measurements)
        self._group: Group = job.kafka.group(self._inputs)
        self._partitions = 0
        self._generation = 0
        self._denied = ""
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._member: Member | None = None
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._tasks: dict[TopicPartition, PartitionTask] = {}

    async def run(self) -> None:
        """Work until `stop`; raises ConfigError, or whatever ended the work for good."""
        job = self._job
        self._partitions = await check_topics(job.kafka, job.topics, job.max_record_bytes)
        limits = SizeLimits(job.max_record_bytes, await admitted_bytes(job.kafka, job.topics.dead_letters))
        loops: list[asyncio.Task[None]] = []
        try:
            await self._group.join(self)
            stages = self._make_stages(self._partitions, limits, Host(self._wake.set, job.observer.has_no_snapshots))
            loops = [asyncio.create_task(it) for it in (self._stay(), self._work(stages))]
            await done_before(self._stopping.wait(), *loops)
            for loop in loops:
                if loop.done():
                    raise_failed(loop)
        finally:
            await self._finish(loops)

    def stop(self) -> None:
        """Ask the worker to come to an end; `run` then returns within a few seconds."""
        self._stopping.set()
        self._wake.set()

    def revoked(self) -> None:
        """Group callback: a rebalance began. Nothing is dropped before the next assignment brings most of it back."""
        self._generation += 1
        self._member = None
        self._wake.set()
        self._job.observer.revoked()

    def assigned(self, sources: frozenset[TopicPartition], member: Member) -> None:
        """Group callback: the partitions of the new generation."""
        self._generation += 1
        self._assigned, self._member = sources, member
        self._wake.set()
        self._job.observer.rebalanced(sources)

    async def _stay(self) -> None:
        """Stay in the group, whether or not the broker answers: nothing in here waits for it."""
        while True:
            await self._group.poll()
            self._refuse_other_count()
            self._tell_denied()
            for _ in range(PROGRESS_PER_POLL):
                self._job.observer.progress()
                await asyncio.sleep(POLL_S)

    def _tell_denied(self) -> None:
        trouble = self._group.trouble()
        message = "" if trouble is None else str(trouble)
        if message != self._denied:
            self._denied = message
            self._job.observer.denied(message)

    async def _work(self, stages: Sequence[Stage[Any]]) -> None:
        """Work on one assignment after another."""
        fetcher = await self._fetcher()
        cycle = Cycle(self._job, stages, fetcher)
        try:
            while not self._stopping.is_set():
                if self._member is None:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                self._deal(stages, fetcher)
                await self._tenure(cycle, fetcher, self._member).run()
                await self._next_assignment()
        finally:
            await fetcher.close()

    async def _fetcher(self) -> Fetcher:
        backoff = Backoff()
        while True:
            try:
                return await self._job.kafka.fetcher()
            except BrokerUnavailable:
                await asyncio.sleep(backoff.failed())

    def _deal(self, stages: Sequence[Stage[Any]], fetcher: Fetcher) -> None:
        """Have a task for each partition of the assignment, and for no other."""
        # One that is new has no state; `_refuse_other_count` is about to say so.
        sources = {source for source in self._assigned if source.partition < self._partitions}
        for source in self._tasks.keys() - sources:
            self._tasks.pop(source).close()
        by_topic = {stage.topic: stage for stage in stages}
        for source in sorted(sources - self._tasks.keys()):
            self._tasks[source] = self._task(by_topic[source.topic], source, fetcher)

    def _task(self, stage: Stage[Any], source: TopicPartition, fetcher: Fetcher) -> PartitionTask:
        async def look() -> None:
            await fetcher.look(source)
            task.report_lag(fetcher.lag(source))

        task = PartitionTask(self._job, stage, source.partition, look)
        return task

    def _tenure(self, cycle: Cycle, fetcher: Fetcher, member: Member) -> Tenure:
        generation = self._generation

        def still_ours() -> bool:
            return generation == self._generation and not self._stopping.is_set()

        assignment, errands = Assignment(dict(self._tasks), member, still_ours), Errands(self._wake)
        takeover = TakeOver(self._job, self._group, fetcher, assignment, errands)
        return Tenure(self._job, fetcher, cycle, assignment, takeover, errands)

    async def _next_assignment(self) -> None:
        """Wait where this one is over, or has nothing for us."""
        generation = self._generation
        while generation == self._generation and not self._tasks and not self._stopping.is_set():
            self._wake.clear()
            await self._wake.wait()

    def _refuse_other_count(self) -> None:
        """Raise ConfigError when the input's partition count changes (rules.md 4)."""
        for topic in self._inputs:
            count = self._group.partitions(topic)
            if count is not None and count != self._partitions:
                raise ConfigError(partition_count_changed(topic, self._partitions, count))

    async def _finish(self, loops: Sequence[asyncio.Task[None]]) -> None:
        """Let the commit in hand come to its end, for so long; then leave the group."""
        self.stop()
        if loops:
            *others, work = loops
            for loop in others:
                loop.cancel()
            if not (await asyncio.wait({work}, timeout=FINISH_S))[0]:
                work.cancel()
                await asyncio.wait({work}, timeout=FINISH_S / 2)
            for loop in loops:
                if loop.done():
                    seen(loop)  # The first one to fail is what `run` raises.
        await self._group.leave()
