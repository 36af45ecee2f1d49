"""When the state in memory is good, when it is read back, and when nothing may start at all."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from streamproc.errors import ConfigError, TaskInvalid
from streamproc.runtime.ports import Committed, TopicPartition
from streamproc.runtime.position import Position
from streamproc.runtime.takeover import MAX_DOUBTS
from streamproc.runtime.taskstates import TaskState
from tests.support.application import Application, application
from tests.support.fake_kafka import FakeGroup, Log
from tests.support.waiting import eventually

WAYS_OUT = "Ways out: .*`streamproc offsets reset --to earliest`.* from one backup; or start with a new application_id"


async def _ran(*statuses: str, partitions: int = 1) -> Application:
    """Return an application that processed a run and stopped."""
    app = await application(partitions)
    for status in statuses or ("queued", "in_progress"):
        app.send(status)
    async with app.working():
        await app.drained()
    app.kafka.restored.clear()
    return app


async def test_state_kept_across_a_rebalance_is_reused() -> None:
    """rules.md 5: offset and sequence match, nothing is read back."""
    app = await application()
    app.send("queued")
    async with app.working():
        await app.drained()
        for rebalances in (1, 2):
            app.kafka.rebalance()
            await eventually(lambda count=rebalances: app.told.states.count((0, TaskState.RUNNING)) == 1 + count)
        app.send("in_progress")
        await app.drained()
    assert app.kafka.restored == [0]
    assert app.ids("transitions") == ["run-events:0:0", "run-events:0:1"]


async def test_a_commit_of_another_owner_is_not_taken_for_our_own_that_failed() -> None:
    """Offset and sequence may be the same, where the clock alone moved: only what was read back is known to be true."""
    app = await application()
    app.send("queued")
    async with app.working():
        await app.drained()
        found = app.kafka.offsets[app.source()]
        metadata = {**json.loads(found.metadata), "sequence": json.loads(found.metadata)["sequence"] + 1}

        def fail_and_rebalance(point: str) -> None:
            if point == "before the end" and app.kafka.open[app.source()]:
                app.kafka.fault = lambda _: None
                app.kafka.rebalance()
                # The other one was not there to hear of the event: its commit is by the clock.
                app.kafka.offsets[app.source()] = Committed(found.offset + 1, json.dumps(metadata))
                raise TaskInvalid("no answer")

        app.kafka.fault = fail_and_rebalance
        app.send("in_progress")
        await eventually(lambda: app.kafka.restored == [0, 0])
        await app.drained()
    assert app.ids("transitions") == ["run-events:0:0"]


@pytest.mark.parametrize(("offset", "sequence"), [(0, 1), (1, 0)], ids=["another sequence", "another offset"])
async def test_state_is_read_back_unless_offset_and_sequence_match(offset: int, sequence: int) -> None:
    """rules.md 5: another owner may have committed by the clock alone, or read records that change nothing."""
    app = await application()
    app.send("queued")
    async with app.working():
        await app.drained()
        found = app.kafka.offsets[app.source()]
        metadata = json.loads(found.metadata)
        metadata["sequence"] += sequence
        app.kafka.rebalance()  # What follows happens before the worker's task comes back.
        app.send_bytes(None)
        app.kafka.offsets[app.source()] = Committed(found.offset + offset, json.dumps(metadata))
        await eventually(lambda: app.kafka.restored == [0, 0])
        app.send("in_progress")
        await app.drained()
    assert [entry.key for entry in app.output("state")] == [b"run_1", b"run_1"]


async def test_state_of_a_partition_that_went_elsewhere_is_dropped() -> None:
    """And read back when it returns."""
    app = await application(partitions=2)
    app.send("queued", partition=1)
    async with app.working():
        await eventually(lambda: app.told.records == 1)
        async with app.working():
            await eventually(lambda: (1, TaskState.CLOSED) in app.told.states)
            await eventually(lambda: app.told.states.count((1, TaskState.RUNNING)) == 2)  # Of the other worker.
        await eventually(lambda: app.told.states.count((1, TaskState.RUNNING)) == 3)
        app.send("in_progress", partition=1)
        await app.drained()
    assert app.kafka.restored.count(1) == 3
    assert app.ids("transitions", 1) == ["run-events:1:0", "run-events:1:1"]


async def test_a_restart_repeats_nothing() -> None:
    """The state is what run-state says, and the input goes on at the committed offset."""
    app = await _ran("queued", "in_progress")
    app.send("in_progress")
    app.send("completed")
    async with app.working():
        await app.drained()
    assert app.kafka.restored == [0]
    assert app.ids("transitions") == ["run-events:0:0", "run-events:0:1", "run-events:0:3"]


async def _refused(app: Application, message: str) -> None:
    before = [entry.value for entry in app.output("transitions")]
    with pytest.raises(ConfigError, match=message):
        await app.run_to_its_end()
    assert [entry.value for entry in app.output("transitions")] == before


async def test_events_that_retention_removed_unread_stop_the_service_with_the_ways_out() -> None:
    """Never a silent reset; what a person can do is said by who has an application, not by every reader."""
    app = await _ran()
    log = app.kafka.logs["run-events"][0]
    for _ in range(3):
        app.send("in_progress")
    log.first = log.end - 1
    del log.entries[:-1]
    await _refused(app, rf"(?s)is no longer there.*{WAYS_OUT}")


async def test_a_state_that_cannot_be_read_names_what_works() -> None:
    """A reset reads it, too: that is no way out."""
    app = await _ran()
    app.kafka.logs["run-state"][0].damage()
    with pytest.raises(ConfigError, match=r"run-state partition 0 cannot be read.* Ways out: restore both") as error:
        await app.run_to_its_end()
    assert "offsets reset" not in str(error.value)


async def test_a_state_without_a_committed_offset_is_refused() -> None:
    """rules.md 6: offsets expire in groups that are left empty for days."""
    app = await _ran()
    app.kafka.offsets.clear()
    await _refused(
        app, rf"(?s)run-(state|windows) partition 0 holds [12] records, but .* no committed offset.*{WAYS_OUT}"
    )


async def test_tombstones_without_a_committed_offset_are_refused() -> None:
    """rules.md 6: all runs were forgotten; replaying the input in silence would repeat all of their transitions."""
    app = await application()
    app.send("queued")
    app.kafka.logs[app.topics.state][0].append((b"run_1", None, 0, ()), "committed")
    await _refused(app, "no committed offset")


async def test_what_a_failed_first_commit_left_is_no_state() -> None:
    """Nothing of an aborted transaction is read: a start from nothing stays possible."""
    app = await application()
    log = app.kafka.logs[app.topics.state][0]
    log.append((b"run_1", b"never committed", 0, ()), "aborted")
    log.mark()
    app.send("queued")
    async with app.working():
        await app.drained()
    assert app.ids("transitions") == ["run-events:0:0"]


def _truncate(app: Application) -> None:
    app.kafka.logs[app.topics.state][0].entries.clear()


def _recreate(app: Application) -> None:
    app.kafka.logs[app.topics.state] = [Log()]


def _add_a_key(app: Application) -> None:
    log = app.kafka.logs[app.topics.state][0]
    known = log.stable(0)[-1]
    log.append((b"run_2", _renamed(known.value), known.timestamp, known.headers), "committed")


def _renamed(value: bytes | None) -> bytes:
    return (value or b"").replace(b"run_1", b"run_2")


@pytest.mark.parametrize("damage", [_truncate, _recreate, _add_a_key], ids=["truncated", "recreated", "one too many"])
async def test_a_state_that_does_not_hold_the_live_keys_is_refused(damage: Callable[[Application], None]) -> None:
    """rules.md 6: never a partial or empty state in silence."""
    app = await _ran()
    damage(app)
    await _refused(
        app, rf"(?s)holds \d keys, but 1 were committed with offset 2: .* recreated or truncated. {WAYS_OUT}"
    )


async def test_a_commit_of_long_ago_that_a_coordinator_tells_for_a_moment_is_asked_for_again() -> None:
    """Seen when all brokers had been away: the state was right, and a moment later the commit that was told."""
    app = await _ran()
    told, stable = [app.kafka.offsets[app.source()]._replace(offset=1)] * MAX_DOUBTS, app.kafka.stable

    async def of_long_ago(sources: Sequence[TopicPartition]) -> Mapping[TopicPartition, Committed | None]:
        answer = dict(await stable(sources))
        if app.source() in answer and told:
            answer[app.source()] = told.pop()
        return answer

    app.kafka.stable = of_long_ago  # type: ignore[method-assign]
    app.send("completed")
    async with app.working():
        await app.drained()
    assert told == []
    assert app.ids("transitions") == ["run-events:0:0", "run-events:0:1", "run-events:0:2"]


async def test_a_state_ahead_of_the_committed_offset_is_refused() -> None:
    """rules.md 6: the offsets were set back, the state was not."""
    app = await _ran()
    found = app.kafka.offsets[app.source()]
    app.kafka.offsets[app.source()] = found._replace(offset=1)
    await _refused(app, rf"(?s)run-state partition 0 is ahead of the committed offset 1: it holds offset 1. {WAYS_OUT}")


def _committed(**changes: Any) -> Committed:
    return Position(2, 1, 1, 0, 1, "assistants")._replace(**changes).to_committed()


@pytest.mark.parametrize(
    ("committed", "message"),
    [
        (
            _committed(profile="langgraph"),
            "processed with profile langgraph, now it is assistants: set STREAMPROC_PROFILE",
        ),
        (
            _committed(partitions=3),
            "run-events had 3 partitions and has 1 now: .* Migrate: set a new STREAMPROC_APPLIC",
        ),
        (Committed(2, ""), "offset 2 of run-events partition 0 was set by something other than this version"),
        (Committed(2, '{"format":2}'), "offsets reset --to 2"),
        (Committed(2, "[1]"), "offsets reset --to 2"),
        (Committed(2, '{"format":1,"profile":"assistants"}'), "offsets reset --to 2"),
    ],
    ids=["profile", "partition count", "no metadata", "a later format", "not ours", "incomplete"],
)
async def test_an_offset_of_another_setup_is_refused(committed: Committed, message: str) -> None:
    """rules.md 4 and 5: the states would not fit."""
    app = await _ran()
    app.kafka.offsets[app.source()] = committed
    await _refused(app, message)


async def test_nobody_is_fenced_before_a_heartbeat_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """rules.md 7: a stalled worker that wakes up must not fence the owner."""
    app = await _ran()
    owner = dict(app.kafka.epochs)
    refusals = [False] * 10

    async def confirmed(_: FakeGroup) -> bool:
        if not refusals:
            return True
        assert app.kafka.epochs == owner
        return refusals.pop()

    monkeypatch.setattr(FakeGroup, "confirmed", confirmed)
    async with app.working():
        await eventually(lambda: app.kafka.epochs != owner)
    assert refusals == []


async def test_a_take_over_reads_offsets_behind_all_fences_and_restores_behind_the_offsets() -> None:
    """rules.md 7: an offset that was read before proves nothing, as the owner before may commit once more."""
    app = await _ran()
    points: list[str] = []
    app.kafka.fault = points.append
    async with app.working():
        await eventually(lambda: app.told.states[-1:] == [(0, TaskState.RUNNING)])
    steps = [point for point in points if point in {"heartbeat", "fence", "stable", "reader"}]
    assert steps[:5] == ["heartbeat", "fence", "fence", "stable", "reader"]


async def test_a_confirmation_that_comes_with_a_rebalance_is_worth_nothing() -> None:
    """rules.md 7: in the current generation, or not at all."""
    app = await _ran()
    owner = dict(app.kafka.epochs)

    def revoke(point: str) -> None:
        if point == "heartbeat":
            app.kafka.members[0].revoke()

    app.kafka.fault = revoke
    async with app.working():
        await eventually(lambda: (0, TaskState.SUSPENDED) in app.told.states[-1:])
        assert app.kafka.epochs == owner
