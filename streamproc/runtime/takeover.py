"""How a worker takes partitions over. The order matters: each step relies on the one before.

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
from streamproc.runtime.restore import NotAsCommitted
from streamproc.runtime.task import PartitionTask
from streamproc.runtime.taskstates import TaskState
from streamproc.store.checked import StoreDamaged
from streamproc.store.disk import DiskFails

MEMBERSHIP_POLL_S = 0.1
STABLE_POLL_S = 0.05
MAX_DOUBTS = 5
"""How often a state that is not as committed is read again, with its commit: a coordinator that has just come back may
tell an older one for a moment."""
MAX_RESTORES = 8
"""The most restores at a time: each has connections of its own."""

Stable = Mapping[TopicPartition, Committed | None]


class Assignment(NamedTuple):
    """One assignment by the group: a task for each partition, and the membership; `still_ours` until the next one.

    `member` is that of this assignment: with a later one the coordinator would accept offsets of outdated work.
    """

    tasks: Mapping[TopicPartition, PartitionTask]
    member: Member
    still_ours: Callable[[], bool]


class TakeOver:
    """Brings the tasks of one assignment to RUNNING: some at once, the others after a restore, as errands."""

    def __init__(self, job: Job, group: Group, fetcher: Fetcher, assignment: Assignment, errands: Errands) -> None:
        self._job = job
        self._group = group
        self._fetcher = fetcher
        self._tasks, _, self._still_ours = assignment
        self._errands = errands
        self.own = min(assignment.tasks, default=None)
        self.ending: set[TopicPartition] = set()
        """Partitions whose transactional id has a transaction that does not end, so that no other one can begin."""
        self._slow: set[TopicPartition] = set()
        """Those of them that did not end when they were fenced; of the others `Refusals` finds out."""
        self._restoring: dict[PartitionTask, Committed | None] = {}
        self._restores = asyncio.Semaphore(MAX_RESTORES)

    async def membership(self) -> bool:
        """Wait until the coordinator acknowledges us: a stalled worker must not fence the owner (rules.md 7)."""
        while self._still_ours() and not await self._group.confirmed():  # noqa: ASYNC110  asking is how one finds out
            await asyncio.sleep(MEMBERSHIP_POLL_S)
        return self._still_ours()

    async def producer(self) -> Transactions:
        """Return the worker's own producer, which fences any earlier producer of its id.

        It has the id of the lowest partition; where that id has a transaction that does not end, the id of the next.
        """
        for source in sorted(self._tasks.keys() - self.ending) or sorted(self._tasks):
            if not self._still_ours():
                break  # Each that does not end takes seconds, and the next assignment waits.
            transactions = self._job.kafka.transactions(source)
            try:
                await transactions.fence()
            except StillEnding:
                self.ending.add(source)
                self._slow.add(source)
                await transactions.close()
            except BaseException:
                await transactions.close()
                raise
            else:
                self.own = source
                self.ending.discard(source)
                return transactions
        raise StillEnding("no transactional id of this worker's is free: partitions of the outputs take no markers")

    async def run(self) -> None:
        """Fence the earlier owners of the partitions, then bring each task to its partition's last commit.

        All ids are fenced, even of partitions that we had before: an operator may have used one since. Offsets are read
        after that, and only those that no open transaction may still change: earlier ones prove nothing.
        """
        # Our own id is left out: its producer is started already, and would be fenced by this. Those that were slow to
        # end are fenced again: an operator may use one as soon as it has ended.
        others = (self._tasks.keys() - self.ending | self._slow) - {self.own}
        self._slow = set(await self._job.kafka.fence(sorted(others)))
        self.ending -= others
        self.ending |= self._slow
        # After the fence: otherwise the earlier owner might commit once more, and we would repeat that work.
        stable = await self._job.kafka.stable(list(self._tasks))
        for source, task in self._tasks.items():
            if task in self._errands and task in self._restoring and self._restoring[task] == stable.get(source, self):
                continue  # A restore to the same commit is still under way since before a failure of other tasks.
            # End the errand first: its restore is to an older commit, and would let the task run from there.
            await self._errands.end([task])
            self._start_over(task)
            if source in stable and task.keeps(stable[source]):
                task.become(TaskState.RESTORING)
                self._go(task)
            else:
                self._errands.send(task, self._restore(task, stable))

    async def anew(self, task: PartitionTask) -> None:
        """Bring one task to a commit that another process has made meanwhile."""
        self._start_over(task)
        await self._restore(task, {})

    def _start_over(self, task: PartitionTask) -> None:
        if task.lifecycle is not TaskState.CREATED:
            task.become(TaskState.SUSPENDED)
        task.become(TaskState.FENCED)

    async def _restore(self, task: PartitionTask, stable: Stable) -> None:
        """Wait for a stable offset, then restore; retry where the broker is unavailable."""
        backoff, denials, doubts = Backoff(), patience(), 0
        while True:
            try:
                while task.source not in stable:
                    await asyncio.sleep(STABLE_POLL_S)
                    stable = await self._job.kafka.stable([task.source])
                task.become(TaskState.RESTORING)
                # Noted before the restore: after a failure of other tasks `run` asks to which commit it leads.
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
            except NotAsCommitted:
                doubts += 1
                if doubts > MAX_DOUBTS:
                    raise
                stable = {}
                await asyncio.sleep(backoff.failed())
            except (DiskFails, StoreDamaged) as error:
                task.pauses.full(str(error))
                await asyncio.sleep(backoff.failed())
        self._go(task)

    def _go(self, task: PartitionTask) -> None:
        assert task.position is not None  # noqa: S101  it was brought back
        self._restoring.pop(task, None)
        # Seek before it runs: the cycle fetches running tasks from the fetcher's position.
        self._fetcher.seek(task.source, task.position.offset)
        task.run()
