"""The life of a partition's task is a table."""

import pytest

from streamproc.runtime.observer import TaskState
from streamproc.runtime.stage import SizeLimits
from streamproc.runtime.task import PartitionTask
from streamproc.store.store import ALONE
from tests.support.application import Application, application

LEGAL = {
    "created": "fenced suspended closed",
    "fenced": "restoring suspended closed",
    "restoring": "running suspended closed",
    "running": "suspended closed",
    "suspended": "fenced closed",
    "closed": "",
}


def _task(app: Application) -> PartitionTask:
    """Return a task of the fold stage, as a worker makes it."""
    fold, _ = app.stages()(1, SizeLimits(), ALONE)
    return PartitionTask(app.job(), fold, 0, _never)


async def _never() -> None:
    """Nobody looks how far the partition goes."""


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("successor", TaskState)
async def test_only_what_the_table_lists_can_happen(state: TaskState, successor: TaskState) -> None:
    """An illegal step raises; a task that stays what it is reports nothing."""
    app = await application()
    task = _task(app)
    task.lifecycle = state
    if state is successor:
        task.become(successor)
        assert app.told.states == []
    elif successor.value in LEGAL[state.value].split():
        task.become(successor)
        assert app.told.states == [(0, successor)]
    else:
        with pytest.raises(RuntimeError, match=f"may not go from {state.value} to {successor.value}"):
            task.become(successor)
        assert task.lifecycle is state


async def test_a_task_goes_through_its_life_in_order() -> None:
    """CREATED → FENCED → RESTORING → RUNNING → SUSPENDED."""
    app = await application()
    app.send("queued")
    async with app.working():
        await app.drained()
    assert [state.value for _, state in app.told.states] == ["fenced", "restoring", "running", "suspended"]


async def test_a_closed_task_keeps_nothing() -> None:
    """Its memory goes with its partition."""
    app = await application()
    task = _task(app)
    task.close()
    assert (task.lifecycle, task.kept) == (TaskState.CLOSED, None)
