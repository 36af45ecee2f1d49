"""What takes single partitions time while the others go on: a restore, a wait. One at a time for each of them."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

from streamproc.awaiting import raise_failed
from streamproc.runtime.task import PartitionTask


class Errands:
    """Of one worker's tasks. `wake` is set whenever one is over."""

    def __init__(self, wake: asyncio.Event) -> None:
        self.wake = wake
        self._running: dict[PartitionTask, asyncio.Task[None]] = {}

    def __contains__(self, task: PartitionTask) -> bool:
        return task in self._running

    def send(self, task: PartitionTask, errand: Coroutine[Any, Any, None]) -> None:
        """Let a task do something in the background; until `look` finds that it is over, it does nothing else."""
        self._running[task] = asyncio.create_task(errand)
        self._running[task].add_done_callback(lambda _: self.wake.set())

    def look(self) -> None:
        """Forget those that are over; raises what ended one."""
        for task, errand in list(self._running.items()):
            if errand.done():
                del self._running[task]
                raise_failed(errand)

    async def end(self, tasks: Collection[PartitionTask] | None = None) -> None:
        """Break off what these tasks do, by default all; raises what had ended one before."""
        errands = [
            self._running.pop(task) for task in (list(self._running) if tasks is None else tasks) if task in self
        ]
        for errand in errands:
            errand.cancel()
        if errands:
            await asyncio.wait(errands)
        # All are looked at, or asyncio complains.
        for error in [errand.exception() for errand in errands if not errand.cancelled()]:
            if error is not None:
                raise error
