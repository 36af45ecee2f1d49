"""The life of one input partition's task: fence, restore, then commit after commit, and again after any failure.

Owns the partition's state. Knows neither aiokafka nor rebalances: it is told whether the partition is still ours.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from random import uniform

from msgspec import Struct, field

from streamproc.codec.encode import OutputEncoder, Source
from streamproc.codec.schemas import SchemaBook
from streamproc.core.lifecycle import Profile
from streamproc.core.model import Moment, Retention
from streamproc.core.state import State
from streamproc.errors import BrokerUnavailable, ConfigError, TaskInvalid
from streamproc.runtime.batch import Batch, Fold, Pending
from streamproc.runtime.config import CommitSettings, TopicSettings
from streamproc.runtime.observer import CommitReport, Observer, TaskState
from streamproc.runtime.ports import Committed, Group, Kafka, Reader, Transactions
from streamproc.runtime.position import Position
from streamproc.runtime.restore import Found, prove, refuse_orphans, restore

CHUNK_RECORDS = 2_000
"""Decoded and folded in one go: well under 50 ms of CPU, so that heartbeats are never late."""
IDLE_FETCH_S = 0.5
MEMBERSHIP_POLL_S = 0.1
MIN_BACKOFF_S, MAX_BACKOFF_S = 0.1, 5.0

StillOurs = Callable[[], bool]


class Job(Struct, frozen=True):
    """What the tasks of one worker have in common. `topics` with their prefix; `clock` gives wall time in seconds."""

    kafka: Kafka
    application_id: str
    topics: TopicSettings
    profile: Profile
    retention: Retention
    commit: CommitSettings
    max_record_bytes: int
    book: SchemaBook
    observer: Observer
    clock: Callable[[], float] = time.time
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held for one stretch of CPU time, so that heartbeats come in between however many partitions have work."""


class PartitionTask:
    """The task of one input partition. `run` may be called again after it returned: the state is kept in between."""

    def __init__(
        self,
        job: Job,
        group: Group,
        partition: int,
        partitions: int,
        count_elsewhere: Callable[[Sequence[str]], int] = lambda _: 0,
    ) -> None:
        source = Source(job.application_id, job.topics.events, partition)
        encoder = OutputEncoder(source)
        self.partition = partition
        self.lifecycle = TaskState.CREATED
        self.state: State | None = None
        self._job = job
        self._group = group
        self._fold = Fold(source, job.topics, job.profile, job.book, encoder, job.max_record_bytes, partitions)
        self._count_elsewhere = count_elsewhere
        self._position: Position | None = None
        self._pending: Pending | None = None
        self._failures = 0

    async def run(self, still_ours: StillOurs) -> None:
        """Process the partition for as long as it is ours; raises ConfigError where somebody has to step in."""
        while still_ours():
            transactions: Transactions | None = None
            reader: Reader | None = None
            try:
                await self._membership(still_ours)
                if not still_ours():
                    break
                transactions = await self._fence()
                reader = await self._recover()
                while still_ours():
                    await self._cycle(reader, transactions, still_ours)
            except (TaskInvalid, BrokerUnavailable) as error:
                if still_ours():  # Else it was to be expected: a commit is aborted when the partition goes.
                    self._job.observer.transaction_failed(self.partition, type(error.__cause__ or error).__name__)
                    self._failures += 1
            finally:
                self._become(TaskState.SUSPENDED)
                await _close(reader, transactions)
            if self._failures and still_ours():
                await asyncio.sleep(self._backoff_s())
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
        transactions = self._job.kafka.transactions(self.partition)
        try:
            await transactions.fence()
        except BaseException:
            await transactions.close()
            raise
        self._become(TaskState.FENCED)
        return transactions

    async def _recover(self) -> Reader:
        """Bring the state to the last commit; the offset is read after fencing, or it would prove nothing."""
        committed = await self._job.kafka.committed(self.partition)
        self._become(TaskState.RESTORING)
        if committed is None:
            position = await self._start_empty()
        else:
            position = await self._return_to(committed)
        self._position, self._pending = position, None
        reader = await self._job.kafka.reader(self._fold.source.topic, self.partition)
        await reader.seek(position.offset)
        self._job.observer.restoring(self.partition, 0)
        self._become(TaskState.RUNNING)
        if self.state is not None:
            self._job.observer.restored(self.partition, self.state.by_status.copy())
        return reader

    async def _start_empty(self) -> Position:
        self.state, found = await self._restored(0)
        refuse_orphans(found, self._where(self._fold.topics.state))
        first, _ = await self._job.kafka.bounds(self._fold.source.topic, self.partition)
        return Position(first, 0, 0, 0, self._fold.partitions, self._fold.profile.name)

    async def _return_to(self, committed: Committed) -> Position:
        position = Position.of(committed, self._where(self._fold.source.topic))
        self._refuse_another_setup(position)
        if self.state is None or position != self._position:
            if self.state is not None and self._pending is not None and position == self._pending.position:
                # The commit whose outcome was unknown did happen (rules.md 7).
                self._merge(self._pending)
            else:
                state, found = await self._restored(position.stream_time)
                prove(state, found, position, self._where(self._fold.topics.state))
                self.state = state
        return position

    async def _restored(self, stream_time: int) -> tuple[State, Found]:
        """Return the state as run-state has it, kept out of the task until it is proven, and what it was made of."""
        state = State(self._job.retention, self._fold.profile.outcomes)
        state.stream_time = stream_time
        self.state = None

        def on_progress(remaining: int) -> None:
            self._job.observer.restoring(self.partition, remaining)

        found = await restore(self._job.kafka, self._fold.topics.state, self.partition, state, on_progress)
        return state, found

    async def _cycle(self, reader: Reader, transactions: Transactions, still_ours: StillOurs) -> None:
        """Fetch until nothing more is at hand or the commit interval is over; then commit."""
        assert self.state is not None and self._position is not None  # noqa: PT018, S101  RUNNING implies both
        commit, observer = self._job.commit, self._job.observer
        chunk = min(CHUNK_RECORDS, commit.max_records)
        fetched = await reader.fetch(chunk, IDLE_FETCH_S)
        began = time.monotonic()
        batch = Batch(self._fold, self.state, self._position)
        at = self._moment(caught_up=fetched.caught_up)
        while fetched.records:
            async with self._job.turn:
                batch.absorb(fetched.records, at)
            if batch.records >= commit.max_records or time.monotonic() - began >= commit.interval_ms / 1000:
                break
            await asyncio.sleep(0)
            if not still_ours():
                return
            fetched = await reader.fetch(chunk, 0)
        batch.pass_time(at)
        self._report_reading(reader, batch, at)
        if fetched.caught_up:
            observer.caught_up(self.partition)
        if batch.is_empty:
            batch.settle()
        else:
            await self._commit(batch, at, transactions, still_ours, began)

    async def _commit(
        self, batch: Batch, at: Moment, transactions: Transactions, still_ours: StillOurs, began: float
    ) -> None:
        async with self._job.turn:
            pending = batch.close(at, self._count_elsewhere)
        self._pending = pending
        await transactions.commit(pending.outputs, pending.position.to_committed(), still_ours)
        self._merge(pending)
        self._position, self._pending, self._failures = pending.position, None, 0
        self._job.observer.committed(self._report(batch, pending, began))

    def _merge(self, pending: Pending) -> None:
        assert self.state is not None  # noqa: S101  nothing is pending without a state
        outcome = pending.outcome
        self.state.merge(outcome.runs, outcome.stream_time, outcome.horizon)

    def _report(self, batch: Batch, pending: Pending, began: float) -> CommitReport:
        assert self.state is not None  # noqa: S101
        return CommitReport(
            partition=self.partition,
            records=batch.records,
            tally=pending.outcome.tally,
            rejected=batch.rejected,
            duration_s=time.monotonic() - began,
            latency_s=max(0.0, self._job.clock() - batch.first_timestamp / 1000) if batch.records else 0.0,
            forgotten=len(pending.outcome.forgotten),
            runs_by_status=self.state.by_status.copy(),
        )

    def _report_reading(self, reader: Reader, batch: Batch, at: Moment) -> None:
        lag = reader.lag()
        age_s = max(0.0, (at.wall_ms - batch.last_timestamp) / 1000) if lag and batch.records else 0.0
        self._job.observer.lag(self.partition, lag, age_s)

    def _refuse_another_setup(self, position: Position) -> None:
        fold = self._fold
        if position.partitions != fold.partitions:
            raise ConfigError(partition_count_changed(fold.source.topic, position.partitions, fold.partitions))
        if position.profile != fold.profile.name:
            message = (
                f"{self._where(fold.source.topic)} was processed with profile {position.profile}, now it is "
                f"{fold.profile.name}: set STREAMPROC_PROFILE back, or start with a new application_id and new topics"
            )
            raise ConfigError(message)

    def _become(self, successor: TaskState) -> None:
        if successor is self.lifecycle:
            return
        if not self.lifecycle.may_become(successor):
            message = f"a task may not go from {self.lifecycle.value} to {successor.value}"
            raise RuntimeError(message)
        self.lifecycle = successor
        self._job.observer.task_state(self.partition, successor)

    def _moment(self, *, caught_up: bool) -> Moment:
        return Moment(int(self._job.clock() * 1000), caught_up)

    def _backoff_s(self) -> float:
        return uniform(0.5, 1.0) * min(MAX_BACKOFF_S, MIN_BACKOFF_S * 2.0 ** min(self._failures, 10))  # noqa: S311

    def _where(self, topic: str) -> str:
        return f"{topic} partition {self.partition}"


def partition_count_changed(topic: str, before: int, now: int) -> str:
    """Return the message for rules.md 4."""
    return (
        f"{topic} had {before} partitions and has {now} now: keys moved to other partitions, so the states no longer "
        "fit. Migrate: set a new STREAMPROC_APPLICATION_ID and a new STREAMPROC_TOPICS__PREFIX, run `streamproc topics "
        "create`, and start: the input is replayed from its beginning"
    )


async def _close(reader: Reader | None, transactions: Transactions | None) -> None:
    for part in (reader, transactions):
        if part is not None:
            await part.close()
