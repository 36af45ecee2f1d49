"""One input partition of a worker: its state, its committed position, and its place in the task life cycle.

It is passive: `takeover` brings it to the state RUNNING, `cycle` includes it in commits.
"""

import asyncio
import math
from contextlib import suppress
from functools import partial
from typing import Any

from streamproc.errors import ConfigError
from streamproc.runtime.heap import trim
from streamproc.runtime.job import Job
from streamproc.runtime.observer import CommitReport
from streamproc.runtime.pausing import Look, Pauses
from streamproc.runtime.ports import Committed, TopicPartition
from streamproc.runtime.position import Position, read
from streamproc.runtime.restore import NotAsCommitted, prove, refuse_orphans, restore
from streamproc.runtime.snapshots import Snapshots
from streamproc.runtime.stage import Batch, PartitionMemory, Pending, Stage
from streamproc.runtime.taskstates import TaskState
from streamproc.runtime.topics import partition_count_changed
from streamproc.store.checked import StoreDamaged
from streamproc.store.disk import DiskFails
from streamproc.store.keeper import PayloadKeeper


class PartitionTask:
    """The task of one input partition. It keeps its state across assignments, until it is closed.

    `memory` and `position` belong together: the state is that of this commit. `pending`: the commit on its way.
    """

    def __init__(self, job: Job, stage: Stage[Any], partition: int, look: Look) -> None:
        self.source = TopicPartition(stage.topic, partition)
        self.stage = stage
        self.lifecycle = TaskState.CREATED
        self.memory: PartitionMemory[Any] | None = None
        self.position: Position | None = None
        self.pending: Pending | None = None
        self.asked_at = self.ticked_at = 0.0
        """The last fetch, and the last clock tick, of the partition; by the monotonic clock."""
        self.pauses = Pauses(self.source, job.registry, job.dead_letters, job.observer, job.now_ms, self._moved, look)
        self.snapshots = Snapshots(job, self.source, TopicPartition(stage.state_topic, partition))
        self._job = job
        self._read_to_ms = 0

    @property
    def asks_at(self) -> float:
        """When to fetch the partition next, by the monotonic clock; never while there is no room for its payloads."""
        return math.inf if self.has_no_room else self.asked_at + self.stage.every_s

    @property
    def has_no_room(self) -> bool:
        """Whether payloads must be moved to disk before anything more may be read."""
        return self.keeper is not None and self.keeper.is_over

    @property
    def keeper(self) -> PayloadKeeper | None:
        """The keeper of the payloads, None where there are none."""
        return None if self.memory is None else self.memory.keeper

    def begin(self) -> Batch:
        """Return a new batch on top of the state."""
        assert self.memory is not None and self.position is not None  # noqa: PT018, S101  RUNNING implies both
        batch: Batch = self.memory.begin(self.position, self.pauses.allows())
        return batch

    def keeps(self, committed: Committed | None) -> bool:
        """Return whether the state is that of this commit, so that no restore is needed (rules.md 5).

        If this shows that a pending commit of unknown outcome did happen, the state takes it over (rules.md 7). Raises
        ConfigError for a commit from which this service cannot go on.
        """
        pending, self.pending = self.pending, None
        if committed is None:
            return False
        position = self._read(committed)
        if self.memory is None:
            return False
        if pending is not None and position == pending.position:
            self.position = position
            pending.apply()
        return position == self.position

    async def restore(self, committed: Committed | None) -> None:
        """Read the state back from its topic and prove it (rules.md 6); raises ConfigError, BrokerUnavailable."""
        before = self.position
        self.drop()
        position = await self._first() if committed is None else self._read(committed)
        if before is not None and before != position:
            # Another owner, or an operator, has committed since, and so decided how the partition goes on.
            self.pauses.start_over()
        self.memory, self.position = await self._restored(committed, position), position

    async def _restored(self, committed: Committed | None, position: Position) -> PartitionMemory[Any]:
        """Restore the state: from a snapshot and the records after it, or completely from its topic."""
        if committed is not None and self.snapshots.are_taken:
            with suppress(DiskFails, StoreDamaged):
                return await self._filled(committed, position, from_snapshot=True)
        return await self._filled(committed, position, from_snapshot=False)

    async def _filled(
        self, committed: Committed | None, position: Position, *, from_snapshot: bool
    ) -> PartitionMemory[Any]:
        memory = self.stage.fresh(self.source.partition, position.stream_time)
        try:
            since = await self.snapshots.load(memory.keeper, position if from_snapshot else None)
            await self._read_back(memory, committed, position, since)
            memory.state.arm()
            await asyncio.to_thread(trim)
        except BaseException as error:  # Also where a rebalance cancels it: an open keeper takes a share of the limits.
            if memory.keeper is not None:
                memory.keeper.close(is_damaged=isinstance(error, StoreDamaged))
            raise
        return memory

    async def _read_back(
        self, memory: PartitionMemory[Any], committed: Committed | None, position: Position, since: int | None
    ) -> None:
        where = self.snapshots.where
        try:
            progress = partial(self._on_progress, memory)
            restored = await restore(self._job.kafka, where, position.offset, memory.load, progress, since)
            if committed is None:
                refuse_orphans(restored, str(where))
            else:
                prove(memory.state.live_keys, restored, position, str(where))
        except NotAsCommitted as error:
            if since is None:
                raise
            raise StoreDamaged(f"a snapshot is not of this state: {error}") from error

    def run(self) -> None:
        """Join the cycle."""
        assert self.memory is not None  # noqa: S101  it was brought back
        self._job.observer.restoring(self.source, 0)
        self.become(TaskState.RUNNING)
        self._job.observer.running(self.source, self.memory.state)

    def take_snapshot(self) -> None:
        """Take a snapshot of the state if one is due."""
        self.snapshots.take(self.keeper, lambda: None if self.pending else self.position)

    def confirmed(self, report: CommitReport) -> None:
        """Take note of a confirmed commit."""
        self.pauses.committed(report)
        self._job.observer.committed(report)

    def read_to(self, timestamp_ms: int) -> None:
        """Note the timestamp of the last record read."""
        self._read_to_ms = timestamp_ms

    def report_lag(self, lag: int | None) -> None:
        """Report how many records are unread; None: that is not known."""
        if lag is not None:
            age_s = max(0.0, (self._job.now_ms() - self._read_to_ms) / 1000) if lag and self._read_to_ms else 0.0
            self._job.observer.lag(self.source, lag, age_s)

    def become(self, successor: TaskState) -> None:
        """Enter the next state of the life cycle; raises RuntimeError for a step that the life cycle does not have."""
        if successor is self.lifecycle:
            return
        if not self.lifecycle.may_become(successor):
            message = f"a task may not go from {self.lifecycle.value} to {successor.value}"
            raise RuntimeError(message)
        self.lifecycle = successor
        self.pauses.reset()
        self._job.observer.task_state(self.source, successor)

    def close(self) -> None:
        """Drop the state: another worker owns the partition."""
        self.become(TaskState.CLOSED)
        self.drop()
        self.position = None

    def drop(self, *, is_damaged: bool = False) -> None:
        """Drop the state; it must be restored. `is_damaged`: its file on disk does not have what was written."""
        if self.keeper is not None:
            self.keeper.close(is_damaged=is_damaged)
        self.memory = self.pending = None

    async def _first(self) -> Position:
        """Return the position of a partition without a committed offset: its first offset."""
        first, _ = await self._job.kafka.bounds(*self.source)
        return Position(first, 0, 0, 0, self.stage.partitions, self.stage.profile)

    def _read(self, committed: Committed) -> Position:
        """Return the committed position; raises ConfigError if another program or configuration committed it."""
        position = Position.of(committed, self.source, is_input=self.source.topic == self._job.topics.events)
        stage = self.stage
        if position.partitions != stage.partitions:
            raise ConfigError(partition_count_changed(self.source.topic, position.partitions, stage.partitions))
        if position.profile != stage.profile:
            message = (
                f"{self.source} was processed with profile {position.profile}, now it is "
                f"{stage.profile}: set STREAMPROC_PROFILE back, or start with a new application_id and new topics"
            )
            raise ConfigError(message)
        return position

    async def _moved(self) -> bool:
        """Tell whether somebody else has committed since; an earlier commit of ours may still be the visible one."""
        committed = await self._job.kafka.committed(self.source)
        position = None if committed is None else read(committed)
        sequence = -1 if self.position is None else self.position.sequence
        return committed is not None and not (isinstance(position, Position) and position.sequence <= sequence)

    async def _on_progress(self, memory: PartitionMemory[Any], remaining: int) -> None:
        self._job.observer.restoring(self.source, remaining)
        while memory.keeper is not None and not await memory.keeper.room():
            if memory.keeper.damage is not None:
                raise memory.keeper.damage
            memory.keeper.tend(self._job.now_ms(), anew=True)
            self.pauses.full(memory.keeper.trouble)
