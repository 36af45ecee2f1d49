"""What a worker does about rights that are taken away: it waits for them, and tries nothing in vain (rules.md 28)."""

import asyncio

import pytest

from streamproc.runtime import granting
from streamproc.runtime.denied import Denied
from streamproc.runtime.observer import Pause
from streamproc.runtime.rights import Operation, Resource, Right
from streamproc.runtime.taskstates import TaskState
from tests.support.application import application
from tests.support.waiting import DEADLINE_S, eventually

GROUP = Right(Operation.READ, Resource.GROUP, "application")
ASKS = 5
"""How often the broker is asked for a right that lacks, before somebody gives it."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for long."""
    monkeypatch.setattr(granting, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(granting, "LONGEST_WAIT_S", 0.02)


async def test_an_output_that_may_not_be_written_is_tried_again_once_the_right_is_back():
    """Only who writes to it waits, and says what lacks; meanwhile the broker is asked, and nothing else."""
    it = await application(partitions=3)
    right = Right(Operation.WRITE, Resource.TOPIC, it.topics.state)
    it.kafka.taken = {right}
    it.send("queued", "run_1", partition=1)
    async with it.working():
        await eventually(lambda: it.source(1) in it.told.pauses)
        why, message = it.told.pauses[it.source(1)]
        assert why is Pause.DENIED
        assert f"the user lacks the right {right}" in message
        refused, asked = it.kafka.denials, it.kafka.asked_for[right]
        await eventually(lambda: it.kafka.asked_for[right] >= asked + ASKS)
        assert it.kafka.denials == refused
        assert it.source(1) in it.told.pauses
        it.kafka.taken = set()
        await it.drained()
        await eventually(lambda: not it.told.pauses)
    assert it.ids("transitions", 1) == ["run-events:1:0"]


@pytest.mark.parametrize("point", ["fence", "before the end", "stable", "reader"])
async def test_what_all_partitions_need_is_waited_for(point):
    """Wherever it is refused: nothing is tried before the broker says that it is granted, and nothing is doubled."""
    it = await application(partitions=2)
    it.kafka.taken = {GROUP}
    tries = 0

    def deny(at: str) -> None:
        nonlocal tries
        if at == point and GROUP in it.kafka.taken:
            tries += 1
            raise Denied(GROUP)

    it.kafka.fault = deny
    for number in range(2):
        it.send("queued", f"run_{number}", partition=number)
    async with it.working():
        await eventually(lambda: it.kafka.asked_for[GROUP] >= ASKS)
        assert tries <= 4  # One for each partition at most, of both stages.
        assert "Denied" in it.told.failures
        it.kafka.taken = set()
        await it.drained()
    assert [it.ids("transitions", number) for number in range(2)] == [["run-events:0:0"], ["run-events:1:0"]]
    assert (0, TaskState.RUNNING) in it.told.states


async def test_an_input_that_may_not_be_read_holds_its_own_partitions():
    """They read nothing before the right is back; the other stage goes on."""
    it = await application(partitions=2)
    right = Right(Operation.READ, Resource.TOPIC, it.topics.measurements)
    it.kafka.taken = {right}
    it.send("queued", "run_0", partition=0)
    async with it.working():
        await it.drained()
        await eventually(lambda: {it.measured(0), it.measured(1)} == it.told.pauses.keys())
        why, message = it.told.pauses[it.measured(0)]
        assert why is Pause.DENIED
        assert f"the user lacks the right {right}" in message
        fetches, asked = it.kafka.fetches[it.topics.measurements], it.kafka.asked_for[right]
        await eventually(lambda: it.kafka.asked_for[right] >= asked + ASKS)
        assert it.kafka.fetches[it.topics.measurements] == fetches
        it.kafka.taken = set()
        await it.summed()
        await eventually(lambda: not it.told.pauses)


async def test_a_broker_that_does_not_tell_of_rights_holds_up_no_other_assignment(monkeypatch):
    """Who waits for the answer goes on with the next one, and asks nothing more for the former."""
    it = await application(partitions=1)
    it.kafka.taken, asking, given_up = {GROUP}, asyncio.Event(), asyncio.Event()

    def deny(at: str) -> None:
        if at == "fence" and GROUP in it.kafka.taken:
            raise Denied(GROUP)

    async def silent(_: object) -> list[Right]:
        asking.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            given_up.set()

    it.kafka.fault = deny
    it.send("queued", "run_0")
    async with it.working():
        with monkeypatch.context() as patch:
            patch.setattr(it.kafka, "lacking", silent)
            await asyncio.wait_for(asking.wait(), DEADLINE_S)
        it.kafka.taken = set()
        it.kafka.rebalance()
        await it.drained()
        assert given_up.is_set()
