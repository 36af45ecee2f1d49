"""The life of one input partition's task: fence, restore, then commit after commit, and again after any failure.

The same for every stage. Owns the partition's state. Knows neither aiokafka nor rebalances: it is told whether the
partition is still ours.
"""

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from streamproc.codec.arrival import Arrival
from streamproc.core.model import Moment
from streamproc.errors import BrokerUnavailable, ConfigError, TaskInvalid
from streamproc.runtime.backoff import Backoff
from streamproc.runtime.job import Job
from streamproc.runtime.observer import TaskState
from streamproc.runtime.pace import Pace
from streamproc.runtime.pausing import DecidedElsewhere, Pauses, StillOurs
from streamproc.runtime.ports import (
    Committed,
    Fetched,
    Gone,
    Group,
    Reader,
    TopicPartition,
    Transactions,
    Unreadable,
)
from streamproc.runtime.position import Position, read
from streamproc.runtime.restore import WAYS_OUT, Found, prove, refuse_orphans, restore
from streamproc.runtime.stage import Batch, Pending, Stage
from streamproc.runtime.topics import partition_count_changed

IDLE_FETCH_S = 0.5
MEMBERSHIP_POLL_S = 0.1
MIN_BACKOFF_S, MAX_BACKOFF_S = 0.2, 5.0
NOTHING = Fetched((), caught_up=False)


class PartitionTask:
    """The task of one input partition. `run` may be called again after it returned: the state is kept in between."""

    def __init__(self, job: Job, group: Group, stage: Stage[Any]) -> None:
        self.source = TopicPartition(stage.source.topic, stage.source.partition)
        self.lifecycle = TaskState.CREATED
        self.state: Any = None
        self._job = job
        self._group = group
        self._stage = stage
        self._position: Position | None = None
        self._pending: Pending | None = None
        self._backoff = Backoff(MIN_BACKOFF_S, MAX_BACKOFF_S)
        self._pace = Pace()
        self._pauses = Pauses(self.source, job.registry, job.dead_letters, job.observer, self._now_ms, self._moved)
        self._read_to_ms = 0

    async def run(self, still_ours: StillOurs) -> None:
        """Process the partition for as long as it is ours; raises ConfigError where somebody has to step in."""
        # Somebody else may have had it: what equals the position of a commit of ours may be another commit.
        self._pending = None
        while still_ours():
            transactions: Transactions | None = None
            reader: Reader | None = None
            wait_s: float | None = None
            try:
                await self._membership(still_ours)
                if not still_ours():
                    break
                transactions = await self._fence()
                reader = await self._recover()
                while still_ours():
                    await self._cycle(reader, transactions, still_ours)
            except Gone as error:
                raise ConfigError(f"{error}. {WAYS_OUT}") from error
            except DecidedElsewhere:
                pass  # At once, and no failure: the next round fences anew and goes by what was committed.
            except (TaskInvalid, BrokerUnavailable) as error:
                if still_ours():  # Else it was to be expected: a commit is aborted when the partition goes.
                    self._job.observer.transaction_failed(self.source, type(error.__cause__ or error).__name__)
                    wait_s = self._backoff.failed()
            finally:
                self._become(TaskState.SUSPENDED)
                await _close(reader, transactions)
            if wait_s is not None and still_ours():
                await asyncio.sleep(wait_s)
        self._become(TaskState.SUSPENDED)

    def close(self) -> None:
        """Drop the state: the partition went to somebody else."""
        self._become(TaskState.CLOSED)
        self.state = self._position = self._pending = None

    async def _membership(self, still_ours: StillOurs) -> None:
        """Wait until the coordinator acknowledges us: a stalled worker must not fence the owner (rules.md 7)."""
        while still_ours() and not await self._group.confirmed():  # noqa: ASYNC110  asking is how one finds out
            await asyncio.sleep(MEMBERSHIP_POLL_S)

    async def _fence(self) -> Transactions:
        transactions = self._job.kafka.transactions(self.source)
        try:
            await transactions.fence()
        except BaseException:
            await transactions.close()
            raise
        self._become(TaskState.FENCED)
        return transactions

    async def _recover(self) -> Reader:
        """Bring the state to the last commit; the offset is read after fencing, or it would prove nothing."""
        committed = await self._job.kafka.committed(self.source)
        self._become(TaskState.RESTORING)
        if committed is None:
            position = await self._start_empty()
        else:
            position = await self._return_to(committed)
        self._position, self._pending = position, None
        reader = await self._job.kafka.reader(*self.source)
        await reader.seek(position.offset)
        self._job.observer.restoring(self.source, 0)
        self._become(TaskState.RUNNING)
        self._job.observer.running(self.source, self.state)
        return reader

    async def _start_empty(self) -> Position:
        self.state, found = await self._restored(0, 0)
        refuse_orphans(found, self._where(self._stage.state_topic))
        first, _ = await self._job.kafka.bounds(*self.source)
        return Position(first, 0, 0, 0, self._stage.partitions, self._stage.profile)

    async def _return_to(self, committed: Committed) -> Position:
        position = Position.of(committed, self.source, is_input=self.source.topic == self._job.topics.events)
        self._refuse_another_setup(position)
        if self.state is None or position != self._position:
            if self.state is not None and self._pending is not None and position == self._pending.position:
                # The commit whose outcome was unknown did happen (rules.md 7).
                self._pending.apply()
            else:
                if self._position not in (None, position):
                    # Not by this task: another owner, or an operator, has decided since how it goes on.
                    self._pauses.start_over()
                state, found = await self._restored(position.offset, position.stream_time)
                prove(state.live_keys, found, position, self._where(self._stage.state_topic))
                state.arm()
                self.state = state
        return position

    async def _restored(self, committed: int, stream_time: int) -> tuple[Any, Found]:
        """Return the state as its topic has it, kept out of the task until it is proven, and what it was made of."""
        state = self._stage.fresh(stream_time)
        self.state = None

        def on_progress(remaining: int) -> None:
            self._job.observer.restoring(self.source, remaining)

        topic = TopicPartition(self._stage.state_topic, self.source.partition)
        load = partial(self._stage.load, state)
        return state, await restore(self._job.kafka, topic, committed, load, on_progress)

    async def _cycle(self, reader: Reader, transactions: Transactions, still_ours: StillOurs) -> None:
        """Commit what is at hand, up to a record that has to wait; what it waits for is no transaction's business."""
        await self._pauses.at_gate(still_ours, reader, partial(self._report_lag, reader))
        if not still_ours():
            return
        gathered = await self._gather(reader, still_ours)
        if gathered is None:
            return
        batch, at, began = gathered
        if batch.missing or batch.held or batch.unreadable:
            # Before anybody asks what is unread: all from here on is, so the partition is neither idle nor caught up.
            await reader.seek(batch.next_offset)
        batch.pass_time(at, read_all=reader.read_all())
        if batch.heard(at):  # Else what was read last still is.
            self._read_to_ms = batch.last_timestamp
        self._report_lag(reader)
        if at.caught_up:
            self._job.observer.caught_up(self.source)
        if batch.is_empty:
            batch.settle()
        else:
            await self._commit(batch, at, transactions, still_ours, began)
        if batch.missing:
            await self._pauses.learn(batch.missing, batch.next_offset, still_ours, reader)
        elif batch.held:
            self._pauses.hold(batch.held)
        elif batch.unreadable:
            await self._pauses.at_unreadable(batch.unreadable, still_ours, reader, partial(self._report_lag, reader))
        else:
            # Also where another partition has learned what this one was waiting for.
            self._pauses.go_on()

    async def _gather(self, reader: Reader, still_ours: StillOurs) -> tuple[Batch, Moment, float] | None:
        """Fetch until nothing more is at hand or the commit interval is over.

        Returns the batch and the time of its first fetch, by the job's clock and by the monotonic one; None where the
        partition went meanwhile.
        """
        assert self.state is not None and self._position is not None  # noqa: PT018, S101  RUNNING implies both
        stage, most = self._stage, self._job.commit.max_records
        batch = stage.begin(self.state, self._position)
        batch.allows = self._pauses.allows()
        fetched = await _fetched(reader, batch, min(self._pace.records, most), IDLE_FETCH_S)
        began = time.monotonic()
        at = self._moment(caught_up=fetched.caught_up)
        while fetched.records:
            async with self._job.turn:
                self._absorb(batch, fetched.records, at)
            left_s = began + stage.interval_s - time.monotonic()
            if batch.missing or batch.held or batch.is_full or left_s <= 0:
                break
            await asyncio.sleep(0)
            if not still_ours():
                return None
            fetched = await _fetched(reader, batch, min(self._pace.records, most), min(stage.linger_s, left_s))
        return batch, at, began

    def _absorb(self, batch: Batch, records: Sequence[Arrival], at: Moment) -> None:
        began = time.monotonic()
        batch.absorb(records, at)
        self._pace.took(len(records), time.monotonic() - began)

    async def _commit(
        self, batch: Batch, at: Moment, transactions: Transactions, still_ours: StillOurs, began: float
    ) -> None:
        async with self._job.turn:
            pending = batch.close(at)
        self._pending = pending
        if not still_ours():
            raise TaskInvalid(f"{self.source} was revoked before its commit")
        await transactions.commit(pending.outputs, {self.source: pending.position.to_committed()})
        pending.apply()
        self._position, self._pending = pending.position, None
        self._backoff.succeeded()
        latency_s = max(0.0, self._job.clock() - batch.first_timestamp / 1000) if batch.records else 0.0
        report = pending.report(time.monotonic() - began, latency_s)
        self._pauses.committed(report)
        self._job.observer.committed(report)

    async def _moved(self) -> bool:
        """Tell whether somebody else has committed since; an earlier commit of ours may still be what is seen."""
        committed = await self._job.kafka.committed(self.source)
        said = None if committed is None else read(committed)
        sequence = -1 if self._position is None else self._position.sequence
        return committed is not None and not (isinstance(said, Position) and said.sequence <= sequence)

    def _report_lag(self, reader: Reader) -> None:
        lag = reader.lag()
        if lag is None:
            return
        age_s = max(0.0, (self._now_ms() - self._read_to_ms) / 1000) if lag and self._read_to_ms else 0.0
        self._job.observer.lag(self.source, lag, age_s)

    def _refuse_another_setup(self, position: Position) -> None:
        stage = self._stage
        if position.partitions != stage.partitions:
            raise ConfigError(partition_count_changed(self.source.topic, position.partitions, stage.partitions))
        if position.profile != stage.profile:
            message = (
                f"{self.source} was processed with profile {position.profile}, now it is "
                f"{stage.profile}: set STREAMPROC_PROFILE back, or start with a new application_id and new topics"
            )
            raise ConfigError(message)

    def _become(self, successor: TaskState) -> None:
        if successor is self.lifecycle:
            return
        if not self.lifecycle.may_become(successor):
            message = f"a task may not go from {self.lifecycle.value} to {successor.value}"
            raise RuntimeError(message)
        self.lifecycle = successor
        self._pauses.reset()
        self._job.observer.task_state(self.source, successor)

    def _moment(self, *, caught_up: bool) -> Moment:
        return Moment(self._now_ms(), caught_up)

    def _now_ms(self) -> int:
        return int(self._job.clock() * 1000)

    def _where(self, topic: str) -> str:
        return str(TopicPartition(topic, self.source.partition))


async def _fetched(reader: Reader, batch: Batch, max_records: int, timeout_s: float) -> Fetched:
    """Return what is at hand: nothing where the batch has come to what is `unreadable`."""
    try:
        return await reader.fetch(max_records, timeout_s)
    except Unreadable as error:
        batch.unreadable = error
        return NOTHING


async def _close(reader: Reader | None, transactions: Transactions | None) -> None:
    for part in (reader, transactions):
        if part is not None:
            await part.close()
