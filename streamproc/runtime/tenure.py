"""The work on one assignment: takes its partitions over, commits, and gives them up when the next one comes."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from streamproc.awaiting import set_within
from streamproc.backoff import Backoff
from streamproc.errors import BrokerUnavailable, StreamprocError, TaskInvalid, name_of_cause
from streamproc.interrupts import cancelled
from streamproc.runtime.cycle import Cycle
from streamproc.runtime.denied import Denied
from streamproc.runtime.errands import Errands
from streamproc.runtime.gathered import OutputsRefused, Stopped
from streamproc.runtime.granting import granted, is_granted, patience
from streamproc.runtime.job import Job
from streamproc.runtime.observer import Pause
from streamproc.runtime.pausing import DecidedElsewhere
from streamproc.runtime.ports import Fetcher, Transactions, Unreadable
from streamproc.runtime.refusals import Refusals
from streamproc.runtime.stage import MissingSchemas, TooMany
from streamproc.runtime.takeover import Assignment, TakeOver
from streamproc.runtime.task import PartitionTask
from streamproc.runtime.taskstates import TaskState
from streamproc.store.checked import StoreDamaged
from streamproc.store.disk import DiskFails


class Tenure:
    """Works on the tasks of an assignment until the next one."""

    def __init__(
        self, job: Job, fetcher: Fetcher, cycle: Cycle, assignment: Assignment, takeover: TakeOver, errands: Errands
    ) -> None:
        self._job = job
        self._fetcher = fetcher
        self._cycle = cycle
        self._tasks, self._member, self._still_ours = assignment
        self._takeover = takeover
        self._errands = errands
        self._wake = errands.wake
        self._refusals = Refusals(job.kafka, takeover.ending, self._wake)
        self._backoff = Backoff()
        self._denied: Denied | None = None
        self._denials = patience()

    async def run(self) -> None:
        """Work until the assignment is over; raises ConfigError where an operator has to act."""
        for task in self._tasks.values():
            # Another worker may have had it since: a commit at our pending position may not be ours.
            task.pending = None
        try:
            while self._still_ours() and self._tasks:
                wait_s = await self._attempt()
                await self._rest(wait_s)
                await self._granted()
        finally:
            await self._refusals.end()
            # End the errands before the tasks are suspended: a restore that ended later would let its task run.
            await self._errands.end()
            for task in self._tasks.values():
                self._fetcher.drop(task.source)
                task.become(TaskState.SUSPENDED)

    async def _attempt(self) -> float:
        """Take over and work until a transaction fails; return how long to wait before the next attempt, in seconds."""
        transactions: Transactions | None = None
        try:
            # The heartbeat comes before the fence: this worker may have stalled, and another one may be the owner.
            if await self._takeover.membership():
                transactions = await self._takeover.producer()
                await self._takeover.run()
                await self._work(transactions)
        except OutputsRefused as refused:
            self._refusals.add(refused.error, refused.writers, self._takeover.own)
            return self._failed(refused.error)
        except Denied as denied:
            self._denied = denied
            self._failed(denied)
        except (TaskInvalid, BrokerUnavailable) as error:
            return self._failed(error)
        finally:
            if transactions is not None:
                await transactions.close()
        return 0.0

    async def _granted(self) -> None:
        """After an attempt that lacked a right: wait, longer each time, until the right is granted."""
        while self._denied is not None and self._still_ours():
            await self._rest(self._denials.failed())
            if await self._is_granted(self._denied):
                self._denied = None

    async def _is_granted(self, denied: Denied) -> bool:
        """Ask the broker, but only until the assignment is over: a silent broker must not delay the next one."""
        asking = asyncio.create_task(is_granted(self._job.kafka, denied))
        asking.add_done_callback(lambda _: self._wake.set())
        try:
            while self._still_ours() and not asking.done():
                self._wake.clear()
                await self._wake.wait()
            return asking.done() and asking.result()
        finally:
            await cancelled(asking)

    async def _work(self, transactions: Transactions) -> None:
        """Run the commit cycle for the partitions that run and wait for nothing."""
        while self._still_ours():
            self._wake.clear()
            self._errands.look()
            for source in self._refusals.release():
                self._tasks[source].pauses.go_on()
            running = [task for task in self._tasks.values() if self._takes_part(task)]
            commits = self._cycle.commits
            for each in await self._cycle.once(running, transactions, self._member, self._wake):
                self._errands.send(each.task, self._wait(each))
            if self._cycle.commits > commits:
                self._backoff.succeeded()

    def _takes_part(self, task: PartitionTask) -> bool:
        """Return whether a task takes part in the next commit; a task that has to wait begins to wait here."""
        if task.lifecycle is not TaskState.RUNNING or task in self._errands:
            return False
        if pause := self._refusals.pause_of(task.source):
            task.pauses.refused(*pause)
            return False
        if task.keeper is not None:
            if task.keeper.damage is not None:
                self._errands.send(task, self._anew(task))
                return False
            if task.keeper.is_over:
                task.pauses.full(task.keeper.trouble)
        if task.pauses.is_closed():
            self._errands.send(task, self._guarded(task, task.pauses.at_gate()))
            return False
        return True

    async def _wait(self, stopped: Stopped) -> None:
        """Wait until the reason is gone for which a partition stopped."""
        task, why, offset = stopped
        match why:
            case MissingSchemas(headers):
                await self._guarded(task, task.pauses.learn(headers, offset))
            case TooMany(reason):
                task.pauses.exceeded(reason)
            case Unreadable():
                await self._guarded(task, task.pauses.at_unreadable(why))
            case Denied():
                task.pauses.refused(Pause.DENIED, str(why))
                await granted(self._job.kafka, why, patience())
            case DiskFails():
                await self._guarded(task, task.pauses.at_disk(str(why)))
            case StoreDamaged():
                await self._anew(task)

    async def _anew(self, task: PartitionTask) -> None:
        """Restore a state that has lost payloads."""
        task.drop(is_damaged=True)
        await self._takeover.anew(task)

    async def _guarded(self, task: PartitionTask, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait; where another process committed meanwhile, start over from its commit."""
        try:
            await waiting
        except DecidedElsewhere:
            await self._takeover.anew(task)

    def _failed(self, error: StreamprocError) -> float:
        """Suspend the tasks that ran; return how long to wait, in seconds. Restores go on."""
        running = [task for task in self._tasks.values() if task.lifecycle is TaskState.RUNNING]
        for task in running:
            self._fetcher.drop(task.source)
        if not self._still_ours():
            return 0.0  # Expected: a commit is refused once the partitions are revoked.
        sources = sorted(task.source for task in running) or sorted(self._tasks)
        why = str(error) if isinstance(error, Denied) else ""
        self._job.observer.transaction_failed(sources, name_of_cause(error), why)
        for task in running:
            task.become(TaskState.SUSPENDED)
        return self._backoff.failed()

    async def _rest(self, seconds: float) -> None:
        """Wait for so long, or until the assignment is over."""
        until = time.monotonic() + seconds
        while self._still_ours() and (left_s := until - time.monotonic()) > 0:
            self._wake.clear()
            await set_within(self._wake, left_s)
