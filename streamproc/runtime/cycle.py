"""The cycle of a worker: fetch new records of all partitions, fold them, commit the results in one transaction.

    fetch together → decode together → fold by partition → let the clock do its part → encode together → commit → merge

A partition that cannot go on is left out before anything is sent: one failed transaction would set all of them back.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from streamproc.awaiting import done_before, seen, set_within
from streamproc.codec.message import Messages
from streamproc.core.model import Moment
from streamproc.errors import ConfigError
from streamproc.runtime.denied import Denied
from streamproc.runtime.gathered import Gathered, OutputsRefused, Stopped
from streamproc.runtime.job import Job
from streamproc.runtime.pace import Pace
from streamproc.runtime.ports import (
    Committed,
    Fetched,
    Fetcher,
    Gone,
    Member,
    OutputRefused,
    TopicPartition,
    Transactions,
    Unreadable,
)
from streamproc.runtime.restore import WAYS_OUT
from streamproc.runtime.stage import Batch, Stage
from streamproc.runtime.task import PartitionTask
from streamproc.store.checked import StoreDamaged
from streamproc.store.disk import DiskFails

TICK_S = 1.0
"""The interval of clock ticks for a partition without records, and the longest wait of a fetch."""
SLACK_S = 0.2
"""A tick may come this much early when the cycle runs anyway: at rest everything happens together, once a second."""
SILENT_TICK_S = 2 * TICK_S
"""The interval of ticks where the broker has not answered for a partition: its answer may be on the way."""
GATHER_S = 0.5
"""The longest fetching and folding for one commit; with slow records `commit.max_records` would take longer."""
LEAST_SHARE = 16
"""The fewest records fetched of a partition at once, however many partitions are busy: each fetch has fixed costs."""


class Cycle:
    """Makes one commit after another. It keeps the interval between them, and no state of a partition."""

    def __init__(self, job: Job, stages: Sequence[Stage[Any]], fetcher: Fetcher) -> None:
        self._job = job
        self._stages = stages
        self._inputs = {stage.topic for stage in stages}
        self._fetcher = fetcher
        self._interval_s = job.commit.interval_ms / 1000
        self._pace = Pace()
        self._busy, self._share = 1, LEAST_SHARE
        self._not_before = 0.0
        self.commits = 0
        """How many were confirmed."""

    async def once(
        self,
        tasks: Sequence[PartitionTask],
        transactions: Transactions,
        member: Member,
        wake: asyncio.Event,
    ) -> list[Stopped]:
        """Commit the new records of these running partitions; return the partitions that have to wait, and what for.

        Returns early, and empty-handed, when `wake` is set. Raises TaskInvalid, OutputsRefused, BrokerUnavailable: then
        nothing but the commit tells where the partitions stand; ConfigError where somebody has to step in.
        """
        if not await self._paced(wake):
            return []
        gathered = await self._gather(tasks, wake)
        stopped = self._stop(gathered)
        # After the stops: the record that a partition stopped at is unread, so it is neither caught up nor idle.
        self._pass_time(tasks, gathered)
        # After the clock, which changes runs without new events: their payloads are the ones to recall.
        lost = await self._recall(gathered)
        stopped = [each for each in stopped if each.task not in {one.task for one in lost}] + lost
        full = {task: batch for task, batch in gathered.batches.items() if not batch.is_empty}
        for task, batch in gathered.batches.items():
            if task not in full:
                batch.settle()
        if full:
            await self._commit(full, gathered, transactions, member)
        # After the commit: one that fails tells nothing about the causes of these waits.
        for task, batch in gathered.batches.items():
            if task not in gathered.stops and (batch.records or gathered.answered.get(task, False)):
                task.pauses.go_on()  # Also if another partition has learned the schema that this one waited for.
        return stopped

    async def _paced(self, wake: asyncio.Event) -> bool:
        """Wait until the next fetch may be sent: it brings all new records. False if `wake` ended the wait."""
        left_s = self._not_before - time.monotonic()
        return left_s <= 0 or not await set_within(wake, left_s)

    async def _gather(self, tasks: Sequence[PartitionTask], wake: asyncio.Event) -> Gathered:
        """Fetch and fold until no records are at hand, or the commit is full."""
        now = time.monotonic()
        asked = {task.source: task for task in tasks if task.asks_at <= now + SLACK_S}
        fetched = await self._first(asked, self._wait_s(tasks, now), wake)
        it = Gathered(self._job.now_ms())
        for source, each in fetched.items():
            asked[source].asked_at = it.began
            it.answered[asked[source]] = each.caught_up
        if any(each.records for each in fetched.values()):
            # Counted from a fetch with records: an event on a quiet stream is committed at once.
            self._not_before = it.began + self._interval_s
        while self._absorb({asked[source]: each for source, each in fetched.items()}, it):
            if it.load >= 1 or time.monotonic() - it.began >= GATHER_S:
                self._not_before = 0.0  # More records are at hand, and they wait for this commit only.
                break
            await asyncio.sleep(0)  # Heartbeats run in between.
            left = [source for source in fetched if asked[source] not in it.stops]
            fetched = await self._poll(left, 0.0, self._busy, self._job.commit.max_records - it.records)
        return it

    def _wait_s(self, tasks: Sequence[PartitionTask], now: float) -> float:
        """Return how long a fetch may wait: until a clock tick is due, or until other partitions are to be fetched."""
        due = [task.ticked_at + TICK_S for task in tasks]
        due += [task.asks_at for task in tasks if task.stage.every_s]
        return min(TICK_S, min((at - now for at in due if at > now + SLACK_S), default=TICK_S))

    async def _first(
        self, asked: Mapping[TopicPartition, PartitionTask], wait_s: float, wake: asyncio.Event
    ) -> Mapping[TopicPartition, Fetched]:
        """Return the result of the first fetch; nothing if there is none to send, or `wake` ends the wait."""
        if not asked:
            await set_within(wake, wait_s)
            return {}
        polling = asyncio.ensure_future(self._poll(asked, wait_s, len(asked), self._job.commit.max_records))
        try:
            await done_before(wake.wait(), polling)
            return polling.result() if polling.done() else {}
        finally:
            polling.cancel()
            polling.add_done_callback(seen)

    async def _poll(
        self, sources: Collection[TopicPartition], wait_s: float, among: int, room: int
    ) -> Mapping[TopicPartition, Fetched]:
        """Fetch what is decoded at once and the commit has room for, shared among so many partitions."""
        most = max(1, room // among)
        self._share = min(most, max(LEAST_SHARE, self._pace.records // among))
        return await self._fetcher.poll(dict.fromkeys(sources, self._share), wait_s)

    def _absorb(self, fetched: Mapping[PartitionTask, Fetched], it: Gathered) -> bool:
        """Decode together, fold by partition; return whether more may be at hand."""
        began = time.monotonic()
        for task, each in fetched.items():
            if each.trouble is not None:
                it.stops[task] = _unreadable(each.trouble)
        for stage in self._stages:
            brought = {task: each.records for task, each in fetched.items() if each.records and task.stage is stage}
            decoded = stage.decode({task.source.partition: records for task, records in brought.items()})
            for task, records in brought.items():
                at = Moment(it.wall_ms, caught_up=False)
                it.answered[task] = False
                absorbed = it.batch(task).absorb(records, decoded[task.source.partition], at)
                if absorbed.stop is not None:
                    it.stops[task] = absorbed.stop
        counts = [len(each.records) for each in fetched.values()]
        self._pace.took(sum(counts), time.monotonic() - began)
        full = sum(count >= self._share for count in counts)
        self._busy = max(1, full)  # Any partition that was asked may have more records; of these it is known.
        return full > 0

    def _stop(self, it: Gathered) -> list[Stopped]:
        """Seek the partitions that have to wait back to where they stopped.

        Before anything asks what is unread: all records from there on are, so they are neither idle nor caught up.
        """
        stopped = [Stopped(task, why, it.batch(task).next_offset) for task, why in it.stops.items()]
        for task, _, offset in stopped:
            self._fetcher.seek(task.source, offset)
        return stopped

    async def _recall(self, it: Gathered) -> list[Stopped]:
        """Load the payloads that batches need from disk; a batch whose payloads cannot be loaded is taken back."""
        lacking = {task: batch for task, batch in it.batches.items() if batch.lacks_payloads}
        stopped: list[Stopped] = []
        recalls = [batch.recall() for batch in lacking.values()]
        for task, failure in zip(lacking, await asyncio.gather(*recalls, return_exceptions=True), strict=True):
            if isinstance(failure, DiskFails | StoreDamaged):
                assert task.position is not None  # noqa: S101  it runs
                del it.batches[task]
                self._fetcher.seek(task.source, task.position.offset)
                stopped.append(Stopped(task, failure, task.position.offset))
            elif failure is not None:
                raise failure
        return stopped

    def _pass_time(self, tasks: Sequence[PartitionTask], it: Gathered) -> None:
        """Pass time for every partition with new records, and now and then for the others."""
        now = time.monotonic()
        for task in tasks:
            quiet_s = now - task.ticked_at
            if task in it.batches or quiet_s >= (TICK_S if task in it.answered else SILENT_TICK_S) - SLACK_S:
                task.ticked_at = now
                self._tick(task, it)

    def _tick(self, task: PartitionTask, it: Gathered) -> None:
        batch, at = it.batch(task), it.moment(task)
        heard = bool(batch.records or task in it.stops or at.caught_up)
        batch.pass_time(at, heard=heard, read_all=self._fetcher.read_all(task.source))
        if heard:  # Otherwise the last record read is still the same.
            task.read_to(batch.last_timestamp)
        task.report_lag(self._fetcher.lag(task.source))
        task.take_snapshot()
        if at.caught_up:
            self._job.observer.caught_up(task.source)

    async def _commit(
        self, full: Mapping[PartitionTask, Batch], it: Gathered, transactions: Transactions, member: Member
    ) -> None:
        at = Moment(it.wall_ms, caught_up=False)
        pending = {task: batch.close(it.moment(task)) for task, batch in full.items()}
        outputs: dict[TopicPartition, Messages] = {}
        writers: dict[TopicPartition, set[TopicPartition]] = defaultdict(set)
        for stage in self._stages:
            batches = [batch for task, batch in full.items() if task.stage is stage]
            for place, messages in stage.encode(batches, at).items() if batches else ():
                outputs[place] = [*outputs[place], *messages] if place in outputs else messages
                writers[place].update(self._writers(place, batches))
            await asyncio.sleep(0)
        offsets: dict[TopicPartition, Committed] = {}
        for task, each in pending.items():
            # Before the commit: if its outcome stays unknown, `keeps` takes it over where it did happen.
            task.pending = each
            offsets[task.source] = each.position.to_committed()
        self._job.observer.transacting()
        # So far no state has changed (rules.md 9): a refused commit leaves each state as of the commit before, and its
        # records are folded again. Offsets and outputs are one transaction, or records would be lost or doubled.
        try:
            await transactions.commit(outputs, offsets, member)
        except (OutputRefused, Denied) as error:
            if not error.places:
                raise
            raise OutputsRefused(error, {place: writers[place] for place in error.places}) from error
        duration_s = time.monotonic() - it.began
        self._job.observer.transacted(len(full), duration_s)
        self.commits += 1
        # Nothing is awaited from here on: cancelled in between, a task would not match its commit.
        for task, batch in full.items():
            self._confirm(task, batch, duration_s)

    def _writers(self, place: TopicPartition, batches: Sequence[Batch]) -> list[TopicPartition]:
        """Return the possible writers of an output partition: the source of its number; for an input, every source."""
        return [
            batch.source
            for batch in batches
            if batch.source.partition == place.partition or place.topic in self._inputs
        ]

    def _confirm(self, task: PartitionTask, batch: Batch, duration_s: float) -> None:
        pending, task.pending = task.pending, None
        assert pending is not None  # noqa: S101  it was set right before the commit
        # Both, or the state is not that of the position, by which the next owner of the task judges it (rules.md 5).
        task.position = pending.position
        pending.apply()
        latency_s = max(0.0, self._job.clock() - batch.first_timestamp / 1000) if batch.records else 0.0
        # Counters move last, and only here: what is not committed is never counted (rules.md 24).
        task.confirmed(pending.report(duration_s, latency_s))


def _unreadable(trouble: Gone | Unreadable | Denied) -> Unreadable | Denied:
    if isinstance(trouble, Gone):
        raise ConfigError(f"{trouble}. {WAYS_OUT}") from trouble
    return trouble
