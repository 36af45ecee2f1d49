"""One assignment of the group: its partitions are taken over, worked on, and given up when the next one comes.

The take-over has an order, each step of which makes the next one mean something:

    heartbeat → own producer → fence the ids of all partitions → stable offsets → keep the state or restore it → seek
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from streamproc.errors import BrokerUnavailable, StreamprocError, TaskInvalid
from streamproc.runtime.backoff import Backoff
from streamproc.runtime.cycle import Cycle, Refused, Stopped
from streamproc.runtime.job import Job
from streamproc.runtime.observer import TaskState
from streamproc.runtime.pausing import DecidedElsewhere
from streamproc.runtime.ports import Committed, Fetcher, Group, Member, TopicPartition, Transactions, Unreadable
from streamproc.runtime.refusals import Refusals
from streamproc.runtime.stage import Missing, TooMany
from streamproc.runtime.task import PartitionTask

MEMBERSHIP_POLL_S = 0.1
STABLE_POLL_S = 0.05
MIN_BACKOFF_S, MAX_BACKOFF_S = 0.2, 5.0
MAX_RESTORES = 8
"""At a time: each reads by connections of its own."""


class Tenure:
    """Works on `tasks` for as long as `still_ours`. `wake` is set by whoever wants it to look around."""

    def __init__(
        self,
        job: Job,
        group: Group,
        fetcher: Fetcher,
        cycle: Cycle,
        tasks: Mapping[TopicPartition, PartitionTask],
        member: Member,
        still_ours: Callable[[], bool],
        wake: asyncio.Event,
    ) -> None:
        self._job = job
        self._group = group
        self._fetcher = fetcher
        self._cycle = cycle
        self._tasks = tasks
        self._member = member
        self._still_ours = still_ours
        self._wake = wake
        self._errands: dict[PartitionTask, asyncio.Task[None]] = {}
        self._restoring: dict[PartitionTask, Committed | None] = {}
        self._restores = asyncio.Semaphore(MAX_RESTORES)
        self._refusals = Refusals()
        self._backoff = Backoff(MIN_BACKOFF_S, MAX_BACKOFF_S)

    async def run(self) -> None:
        """Work until the assignment is over; raises ConfigError where somebody has to step in."""
        for task in self._tasks.values():
            # Somebody else may have had it: what equals the position of a commit of ours may be another commit.
            task.pending = None
        try:
            while self._still_ours() and self._tasks:
                await self._attempt()
        finally:
            await self._end_errands(list(self._errands))
            for task in self._tasks.values():
                self._fetcher.drop(task.source)
                task.become(TaskState.SUSPENDED)

    async def _attempt(self) -> None:
        """Take over and work until a transaction fails; then wait a little."""
        transactions: Transactions | None = None
        wait_s = 0.0
        try:
            await self._membership()
            if self._still_ours():
                transactions = self._job.kafka.transactions(min(self._tasks))
                await self._take_over(transactions)
                await self._work(transactions)
        except Refused as refused:
            self._refusals.add(refused)
            wait_s = self._failed(refused.error)
        except (TaskInvalid, BrokerUnavailable) as error:
            wait_s = self._failed(error)
        finally:
            if transactions is not None:
                await transactions.close()
        if wait_s:
            await self._rest(wait_s)

    async def _membership(self) -> None:
        """Wait until the coordinator acknowledges us: a stalled worker must not fence the owner (rules.md 7)."""
        while self._still_ours() and not await self._group.confirmed():
            await asyncio.sleep(MEMBERSHIP_POLL_S)

    async def _take_over(self, transactions: Transactions) -> None:
        """Fence whoever worked on the partitions, then bring each to its last commit.

        All ids are fenced, however long we have had the partitions: an operator may have used one since. Only then are
        offsets read, and only those that no transaction under way may still change: before that they prove nothing.
        """
        await transactions.fence()
        await self._job.kafka.fence(sorted(self._tasks)[1:])
        stable = await self._job.kafka.stable(list(self._tasks))
        for source, task in self._tasks.items():
            if task in self._restoring and source in stable and self._restoring[task] == stable[source]:
                continue  # It has been under way since before the failure, and towards the same commit.
            await self._end_errands([task])
            self._start_over(task)
            self._bring(task, stable)

    def _bring(self, task: PartitionTask, stable: Mapping[TopicPartition, Committed | None]) -> None:
        """Let a task run at once where its state is that of the commit, else see to it that it gets there."""
        if task.source in stable and task.keeps(stable[task.source]):
            task.become(TaskState.RESTORING)
            self._run(task)
        else:
            self._send(task, self._restore(task, stable))

    async def _restore(self, task: PartitionTask, stable: Mapping[TopicPartition, Committed | None]) -> None:
        """Wait for a stable offset, then restore; try again where the broker goes away."""
        backoff = Backoff(MIN_BACKOFF_S, MAX_BACKOFF_S)
        while True:
            try:
                while task.source not in stable:
                    await asyncio.sleep(STABLE_POLL_S)
                    stable = await self._job.kafka.stable([task.source])
                task.become(TaskState.RESTORING)
                committed = self._restoring[task] = stable[task.source]
                if not task.keeps(committed):
                    async with self._restores:
                        await task.restore(committed)
                break
            except BrokerUnavailable as error:
                self._job.observer.transaction_failed([task.source], _cause(error))
                await asyncio.sleep(backoff.failed())
        self._run(task)

    def _run(self, task: PartitionTask) -> None:
        assert task.position is not None  # noqa: S101  it was brought back
        self._fetcher.seek(task.source, task.position.offset)
        task.run()

    async def _work(self, transactions: Transactions) -> None:
        """Commit again and again what has come for the partitions that run and wait for nothing."""
        while self._still_ours():
            self._wake.clear()
            self._look_at_errands()
            running = [task for task in self._tasks.values() if self._takes_part(task)]
            refused = self._refusals.due(running)
            stopped = await self._cycle.once(
                [task for task in running if not self._refusals.holds(task)], transactions, self._member, self._wake
            )
            if refused is not None:
                # In a transaction of its own, behind that of the others: it may well fail again.
                stopped += await self._cycle.once([refused], transactions, self._member, self._wake, wait_s=0.0)
                for source in self._refusals.took(refused):
                    self._tasks[source].pauses.go_on()
            for each in stopped:
                self._send(each.task, self._wait(each))
            self._backoff.succeeded()

    def _takes_part(self, task: PartitionTask) -> bool:
        """Return whether a task takes part in the next commit; one that may reject no more begins to wait."""
        if task.lifecycle is not TaskState.RUNNING or task in self._errands:
            return False
        if message := self._refusals.holds(task):
            task.pauses.refused(message)
        if task.pauses.is_closed():
            self._send(task, self._guarded(task, task.pauses.at_gate()))
            return False
        return True

    async def _wait(self, stopped: Stopped) -> None:
        task, why, offset = stopped
        match why:
            case Missing(headers):
                await self._guarded(task, task.pauses.learn(headers, offset))
            case TooMany(reason):
                task.pauses.hold(reason)
            case Unreadable():
                await self._guarded(task, task.pauses.at_unreadable(why))

    async def _guarded(self, task: PartitionTask, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait; where somebody else has decided meanwhile, go by what was committed, and not by what is remembered."""
        try:
            await waiting
        except DecidedElsewhere:
            self._start_over(task)
            await self._restore(task, {})

    def _start_over(self, task: PartitionTask) -> None:
        if task.lifecycle is not TaskState.CREATED:
            task.become(TaskState.SUSPENDED)
        task.become(TaskState.FENCED)

    def _send(self, task: PartitionTask, errand: Coroutine[Any, Any, None]) -> None:
        """Let a task do something that takes time while the others go on."""
        self._errands[task] = asyncio.create_task(errand)
        self._errands[task].add_done_callback(lambda _: self._wake.set())

    def _look_at_errands(self) -> None:
        """Take note of those that are over; raises what ended one."""
        for task, errand in list(self._errands.items()):
            if errand.done():
                del self._errands[task]
                self._restoring.pop(task, None)
                if errand.cancelled():
                    # Not by us. A partition that nobody works on any more must not go unnoticed.
                    raise RuntimeError("a task was cancelled from within")
                errand.result()

    async def _end_errands(self, tasks: list[PartitionTask]) -> None:
        errands = [self._errands.pop(task) for task in tasks if task in self._errands]
        for task in tasks:
            self._restoring.pop(task, None)
        for errand in errands:
            errand.cancel()
        if errands:
            await asyncio.wait(errands)
            # All are looked at, or asyncio complains.
            for error in [errand.exception() for errand in errands if not errand.cancelled()]:
                if error is not None:
                    raise error

    def _failed(self, error: StreamprocError) -> float:
        """Set back what ran; return how long to wait. What is being restored goes on."""
        running = [task for task in self._tasks.values() if task.lifecycle is TaskState.RUNNING]
        for task in running:
            self._fetcher.drop(task.source)
        if not self._still_ours():
            return 0.0  # It was to be expected: a commit is refused when the partitions go.
        self._job.observer.transaction_failed(sorted(task.source for task in running) or sorted(self._tasks), _cause(error))
        for task in running:
            task.become(TaskState.SUSPENDED)
        return self._backoff.failed()

    async def _rest(self, seconds: float) -> None:
        """Wait for so long, or until the assignment is over."""
        until = asyncio.get_running_loop().time() + seconds
        while self._still_ours() and (left_s := until - asyncio.get_running_loop().time()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                return


def _cause(error: BaseException) -> str:
    return type(error.__cause__ or error).__name__
