"""The cycle of a worker: fetch what has come for all partitions, fold it, commit it in one transaction.

    fetch together → decode together → fold by partition → let the clock do its part → encode together → commit → merge

A partition that cannot go on is left out before anything is sent, as one failed transaction sets all of them back.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from streamproc.awaiting import seen, set_within
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
"""So often the clock does its part for a partition that nothing comes for, and so long a fetch waits for something."""
SLACK_S = 0.2
"""So much too early is in time where something is done anyway: at rest all comes about together, once a second."""
SILENT_TICK_S = 2 * TICK_S
"""Where the broker has said nothing of a partition: its answer may be on the way."""
GATHER_S = 0.5
"""Of fetching and folding for one commit; where records take long, `commit.max_records` would take longer."""
LEAST_SHARE = 16
"""Records of each partition in one go, however many have something: each costs by itself."""


class Cycle:
    """One commit after another. Keeps the time in between, and nothing of any partition."""

    def __init__(self, job: Job, stages: Sequence[Stage[Any]], fetcher: Fetcher) -> None:
        self._job = job
        self._stages = stages
        self._inputs = {stage.topic for stage in stages}
        self._fetcher = fetcher
        self._interval_s = job.commit.interval_ms / 1000
        self._pace = Pace()
        self._busy, self._share = 1, LEAST_SHARE
        self._not_before = 0.0

    async def once(
        self,
        tasks: Sequence[PartitionTask],
        transactions: Transactions,
        member: Member,
        wake: asyncio.Event,
    ) -> list[Stopped]:
        """Commit what has come for these running partitions; return those that have to wait, and what for.

        Returns early, and empty-handed, when `wake` is set. Raises TaskInvalid, Refused, BrokerUnavailable: then
        nothing but the commit tells where the partitions stand; ConfigError where somebody has to step in.
        """
        if not await self._paced(wake):
            return []
        gathered = await self._gather(tasks, wake)
        stopped = self._stop(gathered)
        # Behind the stops: what a partition stopped at is unread, so it is neither caught up nor idle.
        self._pass_time(tasks, gathered)
        # Behind the clock, which changes runs that nothing came for: their payloads are what has to be recalled.
        lost = await self._recall(gathered)
        stopped = [each for each in stopped if each.task not in {one.task for one in lost}] + lost
        full = {task: batch for task, batch in gathered.batches.items() if not batch.is_empty}
        for task, batch in gathered.batches.items():
            if task not in full:
                batch.settle()
        if full:
            await self._commit(full, gathered, transactions, member)
        # Behind the commit: one that fails says nothing of what these were waiting for.
        for task, batch in gathered.batches.items():
            if task not in gathered.stops and (batch.records or gathered.answered.get(task, False)):
                task.pauses.go_on()  # Also where another partition has learned what this one was waiting for.
        return stopped

    async def _paced(self, wake: asyncio.Event) -> bool:
        """Wait until the next fetch may be sent: what comes meanwhile comes with it. False where that was cut short."""
        left_s = self._not_before - time.monotonic()
        return left_s <= 0 or not await set_within(wake, left_s)

    async def _gather(self, tasks: Sequence[PartitionTask], wake: asyncio.Event) -> Gathered:
        """Fetch and fold until nothing more is at hand, or as much as one commit may hold."""
        now = time.monotonic()
        asked = {task.source: task for task in tasks if task.asks_at <= now + SLACK_S}
        fetched = await self._first(asked, self._wait_s(tasks, now), wake)
        it = Gathered(self._job.now_ms())
        for source, each in fetched.items():
            asked[source].asked_at = it.began
            it.answered[asked[source]] = each.caught_up
        if any(each.records for each in fetched.values()):
            # Counted from what it brought: an event on a quiet stream is committed at once.
            self._not_before = it.began + self._interval_s
        while self._absorb({asked[source]: each for source, each in fetched.items()}, it):
            if it.load >= 1 or time.monotonic() - it.began >= GATHER_S:
                self._not_before = 0.0  # There is more, and it waits for nothing but this commit.
                break
            await asyncio.sleep(0)  # Heartbeats come in between.
            left = [source for source in fetched if asked[source] not in it.stops]
            fetched = await self._poll(left, 0.0, self._busy, self._job.commit.max_records - it.records)
        return it

    def _wait_s(self, tasks: Sequence[PartitionTask], now: float) -> float:
        """Return how long nothing need come: until the clock is to do its part, or others are to be fetched as well."""
        due = [task.ticked_at + TICK_S for task in tasks]
        due += [task.asks_at for task in tasks if task.stage.every_s]
        return min(TICK_S, min((at - now for at in due if at > now + SLACK_S), default=TICK_S))

    async def _first(
        self, asked: Mapping[TopicPartition, PartitionTask], wait_s: float, wake: asyncio.Event
    ) -> Mapping[TopicPartition, Fetched]:
        """Return what the first fetch brings, nothing where something else is to be seen to first."""
        if not asked:
            await set_within(wake, wait_s)
            return {}
        polling = asyncio.ensure_future(self._poll(asked, wait_s, len(asked), self._job.commit.max_records))
        waking = asyncio.ensure_future(wake.wait())
        try:
            await asyncio.wait((polling, waking), return_when=asyncio.FIRST_COMPLETED)
            return polling.result() if polling.done() else {}
        finally:
            waking.cancel()
            polling.cancel()
            polling.add_done_callback(seen)

    async def _poll(
        self, sources: Collection[TopicPartition], wait_s: float, among: int, room: int
    ) -> Mapping[TopicPartition, Fetched]:
        """Fetch as much as is decoded in one go, and as there is room for, shared among so many partitions."""
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
        self._busy = max(1, full)  # Of all that were asked for any may have much, of these it is known.
        return full > 0

    def _stop(self, it: Gathered) -> list[Stopped]:
        """Read partitions that have to wait anew from where they stopped.

        Before anybody asks what is unread: all from there on is, so they are neither idle nor caught up.
        """
        stopped = [Stopped(task, why, it.batch(task).next_offset) for task, why in it.stops.items()]
        for task, _, offset in stopped:
            self._fetcher.seek(task.source, offset)
        return stopped

    async def _recall(self, it: Gathered) -> list[Stopped]:
        """Have at hand what batches need of what is on disk; those that cannot are as if they had not begun."""
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
        """Let the clock do its part for every partition that something came for, and now and then for the others."""
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
        if heard:  # Else what was read last still is.
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
            # Before the commit: where nobody hears of its outcome, `keeps` takes it over if it did happen.
            task.pending = each
            offsets[task.source] = each.position.to_committed()
        self._job.observer.transacting()
        # So far no state has changed (rules.md 9): a commit that is refused leaves it as of the one before, and what it
        # was made of is folded again. Offsets and outputs are one transaction, or records would be lost or doubled.
        try:
            await transactions.commit(outputs, offsets, member)
        except (OutputRefused, Denied) as error:
            if not error.places:
                raise
            raise OutputsRefused(error, {place: writers[place] for place in error.places}) from error
        duration_s = time.monotonic() - it.began
        self._job.observer.transacted(len(full), duration_s)
        # Nothing is awaited from here on: broken off in between, a task would not be as it is committed.
        for task, batch in full.items():
            self._confirm(task, batch, duration_s)

    def _writers(self, place: TopicPartition, batches: Sequence[Batch]) -> list[TopicPartition]:
        """Return who may have written to a partition of the outputs: its own number, or anybody to another input."""
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
