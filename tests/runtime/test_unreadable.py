"""A batch that nobody can read stops its own partition, until somebody decides; and how a decision gets there."""

import pytest

from streamproc.errors import ConfigError
from streamproc.runtime.config import DeadLetterSettings
from streamproc.runtime.observer import Pause
from streamproc.runtime.ports import Committed
from streamproc.runtime.position import Position
from streamproc.runtime.taskstates import TaskState
from tests.support.application import application
from tests.support.waiting import eventually


@pytest.fixture
def never_again(monkeypatch):
    """Nothing is tried a second time by itself."""
    monkeypatch.setattr("streamproc.runtime.pausing.TRY_AGAIN_S", 3_600.0)


async def _damaged(partitions=1):
    """An application with an event, three records that cannot be read, and an event."""
    it = await application(partitions)
    it.send("queued")
    offsets = it.kafka.logs[it.topics.events][0].damage(3)
    it.send("completed")
    return it, offsets


async def _decide(it, place, offset):
    """Commit an offset as an operator's command does."""
    transactions = it.kafka.transactions(place)
    await transactions.fence()
    found = it.kafka.offsets[place]
    position = Position.of(found, place)
    decided = position._replace(offset=offset, sequence=position.sequence + 1).to_committed()
    await transactions.commit({}, {place: decided})


async def test_only_the_partition_of_what_cannot_be_read_waits_and_says_what_to_do(never_again):
    it, offsets = await _damaged(2)
    async with it.working():
        await eventually(lambda: it.source(0) in it.told.pauses)
        it.send("queued", run="run_2", partition=1)
        await eventually(lambda: it.ids("transitions", 1) == ["run-events:1:0"])
        why, message = it.told.pauses[it.source(0)]
        assert why is Pause.UNREADABLE
        assert "offsets 1 to 3 of run-events partition 0 cannot be read" in message
        assert '`streamproc offsets skip run-events:0:1 --through 3 --why "..."`' in message
        assert it.source(1) not in it.told.pauses
        assert it.kafka.offsets[it.source(0)].offset == offsets[0], "what lies in front is committed"
        await eventually(lambda: it.told.lags[it.source(0)][0] == 4)
    assert not it.told.failures


async def test_measurements_that_cannot_be_read_stop_the_windows_of_their_partition_only(never_again):
    it = await application()
    it.kafka.logs[it.topics.measurements][0].damage()
    async with it.working():
        await eventually(lambda: it.measured() in it.told.pauses)
        it.send("queued")
        await it.drained()
        assert it.told.pauses[it.measured()][0] is Pause.UNREADABLE
        assert it.source() not in it.told.pauses


async def test_it_is_tried_again_now_and_then(monkeypatch):
    """It may have been damaged on the way."""
    monkeypatch.setattr("streamproc.runtime.pausing.TRY_AGAIN_S", 0.0)
    it, offsets = await _damaged()
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        fetches = it.kafka.fetches[it.topics.events]
        await eventually(lambda: it.kafka.fetches[it.topics.events] > fetches + 3)
        assert it.told.paused_times == 1, "told once"
        for entry in it.kafka.logs[it.topics.events][0].entries:
            if entry.offset in offsets:
                entry.status, entry.value = "committed", b"rubbish"
        await it.drained()
        await eventually(lambda: not it.told.pauses)
    assert it.ids("transitions") == ["run-events:0:0", "run-events:0:4"]
    assert len(it.output("dead_letters")) == 3


async def test_a_stop_while_a_partition_waits_is_quick(never_again):
    it, _ = await _damaged()
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)


async def test_who_waits_starts_over_where_somebody_else_has_committed(never_again):
    """At once, with its state proven anew. The worker hears of it by being fenced, or when it looks."""
    it, offsets = await _damaged()
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        await _decide(it, it.source(), offsets[-1] + 1)
        await it.drained()
        await eventually(lambda: not it.told.pauses)
    assert it.ids("transitions") == ["run-events:0:0", "run-events:0:4"]
    assert it.told.states.count((0, TaskState.RESTORING)) >= 2


async def test_an_earlier_commit_that_is_still_seen_is_nobodys_decision(never_again):
    """Kafka confirms a commit before everybody sees it: who looked right then took its own for somebody else's."""
    it, _ = await _damaged()
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        latest = it.kafka.offsets[it.source()]
        position = Position.of(latest, it.source())
        for stale in (None, position._replace(offset=0, sequence=position.sequence - 1).to_committed()):
            looks = _counted(it.kafka, "committed")
            it.kafka.offsets.pop(it.source(), None)
            if stale is not None:
                it.kafka.offsets[it.source()] = stale
            await eventually(lambda looks=looks: len(looks) > 3)
        it.kafka.offsets[it.source()] = latest
        assert it.told.states.count((0, TaskState.FENCED)) == 1
        await _decide(it, it.source(), 4)
        await it.drained()
    assert it.told.states.count((0, TaskState.FENCED)) >= 2


def _counted(kafka, point):
    """Take down how often a point is passed from now on."""
    passed = []
    kafka.fault = lambda at: passed.append(at) if at == point else None
    return passed


async def test_a_decision_lets_a_partition_go_on_that_stopped_for_its_rejections():
    """The same offset with a new sequence says so; what was rejected before no longer counts."""
    it = await application()
    it.dead_letters = DeadLetterSettings(stop_percent=50, stop_min_records=10)
    for _ in range(20):
        it.send_bytes(b"rubbish")
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        assert "offsets resume" in it.told.pauses[it.source()][1]
        it.send("queued")
        await _decide(it, it.source(), 20)
        await it.drained()
        await eventually(lambda: not it.told.pauses)
    assert it.ids("transitions") == ["run-events:0:20"]


async def test_a_decision_during_a_rebalance_counts_too():
    """The task comes back to its worker, with a state of its own, and finds another commit than its last."""
    it = await application(2)
    it.dead_letters = DeadLetterSettings(stop_percent=50, stop_min_records=10)
    for _ in range(20):
        it.send_bytes(b"rubbish")
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        it.kafka.members[0].revoke()
        await eventually(lambda: it.told.states[-1][1] is TaskState.SUSPENDED)
        await _decide(it, it.source(), 20)
        it.send("queued")
        it.kafka.rebalance()
        await it.drained()
    assert it.ids("transitions") == ["run-events:0:20"]


async def test_what_was_committed_by_something_else_is_named_with_the_command_that_does_it_right():
    it = await application()
    it.kafka.offsets[it.source()] = Committed(7, "")
    words = r"offset 7 of run-events partition 0 was set by something other.*`streamproc offsets reset --to 7`"
    with pytest.raises(ConfigError, match=words):
        await it.run_to_its_end()


async def test_a_reset_that_was_interrupted_is_to_be_run_again():
    it = await application()
    it.kafka.offsets[it.source()] = Committed(7, '{"format":1,"reset":7,"sequence":3}')
    with pytest.raises(ConfigError, match=r"was interrupted: run it again"):
        await it.run_to_its_end()
