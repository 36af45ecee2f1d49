"""The worker's loop: it outlives the broker's absence, and ends where it must."""

import asyncio

import pytest

from streamproc.core.tally import First
from streamproc.errors import ConfigError
from streamproc.runtime.ports import Member
from streamproc.runtime.taskstates import TaskState
from tests.support.application import Application, always, application
from tests.support.fake_kafka import FakeGroup, FakeTransactions, Log
from tests.support.waiting import eventually


async def test_more_partitions_while_running_stop_the_service() -> None:
    """rules.md 4: with the way to migrate."""
    app = await application(partitions=2)
    run = asyncio.create_task(app.run_to_its_end())
    await eventually(lambda: bool(app.told.states))
    app.kafka.logs[app.topics.events].append(Log())
    with pytest.raises(ConfigError, match=r"run-events had 2 partitions and has 3 now.*STREAMPROC_TOPICS__PREFIX"):
        await run


async def test_a_new_partition_is_not_worked_on() -> None:
    """rules.md 4: it has no state topic; an assignment is a reason to count at once."""
    app = await application(partitions=1)
    run = asyncio.create_task(app.run_to_its_end())
    await eventually(lambda: bool(app.told.states))
    app.kafka.logs[app.topics.events].append(Log())
    app.kafka.rebalance()
    with pytest.raises(ConfigError, match="had 1 partitions and has 2 now"):
        await run
    assert {partition for partition, _ in app.told.states} == {0}


async def test_a_partition_count_that_is_not_known_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage pauses: it is looked at again and again."""
    app = await application()
    asked: list[str] = []
    monkeypatch.setattr(FakeGroup, "partitions", lambda _, topic: asked.append(topic))
    async with app.working():
        await eventually(lambda: len(asked) > 3)
        app.send("queued")
        await app.drained()


async def test_the_loop_goes_round_while_the_broker_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Liveness asks for the loop: whatever hangs must not hold it up, nor a stop."""
    monkeypatch.setattr("streamproc.runtime.worker.FINISH_S", 0.1)
    app = await application()

    async def silent(*_: object) -> None:
        await asyncio.sleep(3_600)

    monkeypatch.setattr(FakeTransactions, "commit", silent)
    app.send("queued")
    async with app.working():
        await eventually(lambda: app.told.rounds > 20)


async def test_a_stop_does_not_wait_for_a_task_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not committed within FINISH_S is processed again later."""
    monkeypatch.setattr("streamproc.runtime.worker.FINISH_S", 0.1)
    app = await application()

    asked: list[object] = []

    async def silent(sources: object) -> None:
        asked.append(sources)
        await asyncio.sleep(3_600)

    monkeypatch.setattr(app.kafka, "stable", silent)
    async with app.working():
        await eventually(lambda: bool(asked))
    assert app.kafka.members == []


async def test_a_task_that_is_cancelled_from_within_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries let a CancelledError out now and then; a partition without a task must not go unnoticed."""
    app = await application()

    async def cancelled(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(app.kafka, "bounds", cancelled)
    with pytest.raises(RuntimeError, match="cancelled from within"):
        await app.run_to_its_end()


async def test_an_unexpected_error_ends_the_service() -> None:
    """errors.py: anything else ends it, the orchestrator starts it again; the group is left in good order."""
    app = await application(partitions=2)
    app.kafka.fault = always("bounds", lambda: ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        await app.run_to_its_end()
    assert app.kafka.members == []


async def test_group_callbacks_only_take_note() -> None:
    """rules.md 8: fencing and restore run outside them."""
    app = await application(partitions=2)
    points: list[str] = []
    app.kafka.fault = points.append
    worker = app.worker()
    worker.revoked()
    worker.assigned(frozenset({app.source(0), app.source(1)}), Member(1, "member"))
    assert points == []
    assert app.told.states == []


async def test_a_rebalance_that_does_not_end_leaves_the_loop_alive() -> None:
    """Between revocation and assignment nothing is processed, and a stop is heard."""
    app = await application()
    async with app.working():
        await eventually(lambda: (0, TaskState.RUNNING) in app.told.states)
        app.kafka.members[0].revoke()
        await eventually(lambda: app.told.states[-1] == (0, TaskState.SUSPENDED))
        app.send("queued")
        rounds = app.told.rounds
        await eventually(lambda: app.told.rounds > rounds + 5)
        assert not app.is_drained()


async def test_two_workers_share_the_partitions() -> None:
    """And each event is processed by one of them."""
    app = await application(partitions=4)
    async with app.working(), app.working():
        for number in range(40):
            app.send("queued", f"run_{number}", partition=number % 4)
        await app.drained()
        owners = [sorted(member._listener._assigned) for member in app.kafka.members]  # type: ignore[union-attr]
        assert sorted(map(len, owners)) == [4, 4]
    assert [len(app.output("transitions", partition)) for partition in range(4)] == [10] * 4
    assert app.told.records == 40


async def test_missing_topics_are_reported_before_anything_starts() -> None:
    """The check comes before the group."""
    app = Application()
    with pytest.raises(ConfigError, match="run-events does not exist: run `streamproc topics create`"):
        await app.run_to_its_end()
    assert app.kafka.members == []


async def test_a_run_on_two_partitions_is_counted() -> None:
    """rules.md 1: an anomaly, where one worker sees both."""
    app = await application(partitions=2)
    async with app.working():
        app.send("queued", partition=0)
        await app.drained()
        app.send("queued", partition=1)
        await app.drained()
        await eventually(lambda: app.told.records == 2)
    assert [report.tally.anomalies["two_partitions"] for report in app.told.reports] == [0, 1]
    assert app.told.reports[1].tally.firsts["two_partitions", "0"] == First("run_1", 0)


async def test_a_run_that_begins_on_two_partitions_at_once_is_counted_once() -> None:
    """rules.md 1: also where one commit has both."""
    app = await application(partitions=2)
    for partition in (0, 1):
        app.send("queued", partition=partition)
    async with app.working():
        await eventually(lambda: app.told.records == 2)
    assert len(app.told.reports) == 2
    assert sum(report.tally.anomalies["two_partitions"] for report in app.told.reports) == 1
