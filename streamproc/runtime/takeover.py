"""How a worker takes partitions over, in an order in which each step makes the next one mean something.

heartbeat → own producer → fence the ids of all partitions → stable offsets → keep the state or restore it → seek
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from streamproc.backoff import Backoff
from streamproc.errors import BrokerUnavailable, name_of_cause
from streamproc.runtime.denied import Denied
from streamproc.runtime.errands import Errands
from streamproc.runtime.granting import granted, patience
from streamproc.runtime.job import Job
from streamproc.runtime.ports import (
    Committed,
    Fetcher,
    Group,
    Member,
    StillEnding,
    TopicPartition,
    Transactions,
)
from streamproc.runtime.task import PartitionTask
from streamproc.runtime.taskstates import TaskState
from streamproc.store.checked import StoreDamaged
from streamproc.store.disk import DiskFails

MEMBERSHIP_POLL_S = 0.1
STABLE_POLL_S = 0.05
MAX_RESTORES = 8
"""At a time: each reads by connections of its own."""

Stable = Mapping[TopicPartition, Committed | None]


class Assignment(NamedTuple):
    """What the group gave us: a task for each partition, and the membership; `still_ours` until the next one begins.

    `member` is that of the assignment, never a later one: with that the coordinator would take offsets of old work.
    """

    tasks: Mapping[TopicPartition, PartitionTask]
    member: Member
    still_ours: Callable[[], bool]


class TakeOver:
    """Brings the tasks of one assignment to where they may run: some at once, the others as errands."""

    def __init__(self, job: Job, group: Group, fetcher: Fetcher, assignment: Assignment, errands: Errands) -> None:
        self._job = job
        self._group = group
        self._fetcher = fetcher
        self._tasks, _, self._still_ours = assignment
        self._errands = errands
        self.own = min(assignment.tasks, default=None)
        self.ending: set[TopicPartition] = set()
        """Ids whose transaction does not come to its end: it cannot be committed, nor another one begun."""
        self._restoring: dict[PartitionTask, Committed | None] = {}
        self._restores = asyncio.Semaphore(MAX_RESTORES)

    async def membership(self) -> bool:
        """Wait until the coordinator acknowledges us: a stalled worker must not fence the owner (rules.md 7)."""
        while self._still_ours() and not await self._group.confirmed():  # noqa: ASYNC110  asking is how one finds out
            await asyncio.sleep(MEMBERSHIP_POLL_S)
        return self._still_ours()

    async def producer(self) -> Transactions:
        """Return the worker's own producer, which fences whoever had its id.

        It has the id of the lowest partition; where a transaction of that one does not come to its end, of the next.
        """
        for source in sorted(self._tasks.keys() - self.ending) or sorted(self._tasks):
            transactions = self._job.kafka.transactions(source)
            try:
                await transactions.fence()
            except StillEnding:
                self.ending.add(source)
                await transactions.close()
            except BaseException:
                await transactions.close()
                raise
            else:
                self.own = source
                return transactions
        raise StillEnding("no transactional id of this worker's is free: partitions of the outputs take no markers")

    async def run(self) -> None:
        """Fence whoever worked on the partitions, then bring each to its last commit.

        All ids are fenced, however long we have had the partitions: an operator may have used one since. Only then are
        offsets read, and only those that no transaction under way may still change: before that they prove nothing.
        """
        # Without our own id: it was fenced by the producer that has it now, which would be fenced by this.
        others = sorted(self._tasks.keys() - self.ending - {self.own})
        self.ending.update(await self._job.kafka.fence(others))
        # Behind the fence: else the owner before commits once more, and what he did is done again from this offset on.
        stable = await self._job.kafka.stable(list(self._tasks))
        for source, task in self._tasks.items():
            if task in self._errands and task in self._restoring and self._restoring[task] == stable.get(source, self):
                continue  # It has been under way since before a failure of the others, and towards the same commit.
            # First: a restore that is under way would bring the task to an older commit, and let it run from there.
            await self._errands.end([task])
            self._start_over(task)
            if source in stable and task.keeps(stable[source]):
                task.become(TaskState.RESTORING)
                self._go(task)
            else:
                self._errands.send(task, self._restore(task, stable))

    async def anew(self, task: PartitionTask) -> None:
        """Bring one task to what somebody else has committed meanwhile."""
        self._start_over(task)
        await self._restore(task, {})

    def _start_over(self, task: PartitionTask) -> None:
        if task.lifecycle is not TaskState.CREATED:
            task.become(TaskState.SUSPENDED)
        task.become(TaskState.FENCED)

    async def _restore(self, task: PartitionTask, stable: Stable) -> None:
        """Wait for a stable offset, then restore; try again where the broker goes away."""
        backoff, denials = Backoff(), patience()
        while True:
            try:
                while task.source not in stable:
                    await asyncio.sleep(STABLE_POLL_S)
                    stable = await self._job.kafka.stable([task.source])
                task.become(TaskState.RESTORING)
                # Noted before the restore: `run` asks, after a failure of the others, which commit it is towards.
                committed = self._restoring[task] = stable[task.source]
                if not task.keeps(committed):
                    async with self._restores:
                        await task.restore(committed)
                break
            except Denied as denied:
                self._job.observer.transaction_failed([task.source], name_of_cause(denied), str(denied))
                await granted(self._job.kafka, denied, denials)
            except BrokerUnavailable as error:
                self._job.observer.transaction_failed([task.source], name_of_cause(error))
                await asyncio.sleep(backoff.failed())
            except (DiskFails, StoreDamaged) as error:
                task.pauses.full(str(error))
                await asyncio.sleep(backoff.failed())
        self._go(task)

    def _go(self, task: PartitionTask) -> None:
        assert task.position is not None  # noqa: S101  it was brought back
        self._restoring.pop(task, None)
        # Before it runs: the cycle fetches what runs, from wherever the fetcher stands.
        self._fetcher.seek(task.source, task.position.offset)
        task.run()
