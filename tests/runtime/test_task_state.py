"""The life of a partition's task is a table, and a task takes no step that it does not have."""

import pytest

from streamproc.runtime.stage import SizeLimits
from streamproc.runtime.task import PartitionTask
from streamproc.runtime.taskstates import FIRST, LAST, SUCCESSORS, TaskState
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


def test_the_table_leads_from_every_state_that_is_reached_to_the_last_one() -> None:
    """Every state has its line and is reached from the first; from each of them there is a way to the end."""
    assert SUCCESSORS.keys() == set(TaskState)
    assert _reached(FIRST) == set(TaskState)
    for state in TaskState:
        assert LAST in _reached(state)
    assert [state for state in TaskState if not SUCCESSORS[state]] == [LAST]


def test_a_task_runs_only_behind_a_fence_and_a_restore() -> None:
    """Whatever way leads to RUNNING: without one of the two somebody else could still commit, or the state be old."""
    for needed in (TaskState.FENCED, TaskState.RESTORING):
        assert TaskState.RUNNING not in _reached(FIRST, but=needed)
        assert TaskState.RUNNING not in _reached(TaskState.SUSPENDED, but=needed)


def _reached(state: TaskState, but: TaskState | None = None) -> set[TaskState]:
    """Walk the table; `but`: a state that is not entered."""
    found, ahead = {state}, [state]
    while ahead:
        new = SUCCESSORS[ahead.pop()] - found - {but}
        found |= new
        ahead += new
    return found


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
    assert (task.lifecycle, task.memory) == (TaskState.CLOSED, None)
