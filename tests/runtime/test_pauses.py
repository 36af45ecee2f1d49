"""Partitions that wait: for a registry that is away, or because too much is rejected. Nothing is lost meanwhile."""

import asyncio

import pytest

from streamproc.codec.framing import confluent
from streamproc.core.deadlines import Deadlines
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import BrokerUnavailable, RegistryUnavailable, TaskInvalid
from streamproc.runtime.config import DeadLetterSettings
from streamproc.runtime.observer import Pause
from streamproc.runtime.taskstates import TaskState
from streamproc.settings.profiles import book_of
from tests.support.application import always, application, once
from tests.support.fake_kafka import no_fault
from tests.support.fake_registry import FakeRegistry
from tests.support.runobjects import SCHEMAS, encode, run_object
from tests.support.waiting import eventually

V2_1 = SCHEMAS["v2_1"]
SEVEN, EIGHT = confluent(7), confluent(8)


@pytest.fixture
def long_waits(monkeypatch):
    """Nobody asks a second time by himself."""
    monkeypatch.setattr("streamproc.backoff.FIRST_WAIT_S", 3_600.0)
    monkeypatch.setattr("streamproc.backoff.LONGEST_WAIT_S", 3_600.0)


async def _application(partitions=1, max_learned=1_000, **settings):
    it = await application(partitions, **settings)
    it.book = book_of(ASSISTANTS, registered=True, max_learned=max_learned)
    it.registry = FakeRegistry(it.book)
    return it


async def _spoilt():
    """An application whose partition stops as soon as it is read: there is nothing but rubbish."""
    it = await _application()
    it.dead_letters = DeadLetterSettings(stop_percent=50, stop_min_records=10)
    for _ in range(20):
        it.send_bytes(b"rubbish")
    return it


def _registered(it, header, status, run="run_1", partition=0):
    """Send an event in the Confluent wire format."""
    return it.send_bytes(header + encode(V2_1, run_object(id=run, status=status, thread_id="thread_1")), partition)


def _committed(it, partition=0):
    found = it.kafka.offsets.get(it.source(partition))
    return 0 if found is None else found.offset


async def test_a_schema_that_is_asked_for_lets_its_events_through_in_their_order():
    it = await _application()
    it.send("queued")
    _registered(it, SEVEN, "in_progress")
    it.send("completed")
    async with it.working():
        await it.drained()
    assert [each.key for each in it.output("transitions")] == [b"run_1"] * 3
    assert not it.output("dead_letters")
    assert it.registry.asked == [(SEVEN,)]


async def test_a_registry_that_is_away_pauses_only_the_partition_that_needs_it():
    """What comes before the unknown id is committed; other partitions and known ids go on; all goes on by itself."""
    it = await _application(2)
    it.registry.is_away = True
    it.send("queued")
    offset = _registered(it, SEVEN, "in_progress")
    it.send("completed")
    async with it.working():
        await eventually(lambda: it.source(0) in it.told.pauses)
        it.send("queued", run="run_2", partition=1)
        await eventually(lambda: _committed(it, 1) == 1)
        assert _committed(it) == offset
        assert it.told.pauses[it.source(0)][0] is Pause.REGISTRY
        assert "id:7" in it.told.pauses[it.source(0)][1]
        assert it.source(1) not in it.told.pauses
        it.registry.is_away = False
        await it.drained()
        await eventually(lambda: not it.told.pauses)
    assert len(it.output("transitions")) == 3
    assert not it.output("dead_letters")
    assert not it.told.failures


async def test_an_id_that_a_healthy_registry_does_not_know_is_a_dead_letter_once():
    it = await _application()
    for _ in range(3):
        _registered(it, confluent(5_000), "queued")
    it.send("queued")
    async with it.working():
        await it.drained()
    reasons = [dict(letter.headers)["streamproc.error.reason"] for letter in it.output("dead_letters")]
    assert reasons == [b"unknown_schema"] * 3
    assert len(it.registry.asked) == 1


async def test_a_flood_of_made_up_ids_is_dead_letters_and_the_good_events_between_them_go_on():
    it = await _application()
    for number in range(300):
        _registered(it, confluent(2_000 + number), "queued")
    it.send("queued")
    async with it.working():
        await it.drained()
    assert len(it.output("dead_letters")) == 300
    assert len(it.output("transitions")) == 1
    assert len(it.registry.asked) < 20, "many at a time"


async def test_a_pause_fires_no_deadline_and_lets_no_window_close():
    """rules.md 16: the terminal event may be there, unread; a mark of idleness would say that it is not."""
    it = await _application(deadlines=Deadlines(allowance_ms=0, limits={"queued": 1_000}))
    it.registry.is_away = True
    it.send("queued")
    _registered(it, SEVEN, "completed")
    async with it.working():
        await eventually(lambda: it.source(0) in it.told.pauses)
        idle_before = sum(mark.idle for mark in it.marks())
        it.now_ms += 3_600_000
        asked = len(it.registry.asked)
        await eventually(lambda: len(it.registry.asked) > asked + 2)
        assert not it.alerts()
        assert sum(mark.idle for mark in it.marks()) == idle_before
        it.registry.is_away = False
        await it.drained()
    assert not it.alerts()


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_stop_while_the_registry_is_away_or_hangs_is_quick(hangs, long_waits, monkeypatch):
    """It does not use up the time that a commit in hand has for its end."""
    monkeypatch.setattr("streamproc.runtime.worker.FINISH_S", 3_600)
    it = await _application()
    it.registry.is_away, it.registry.hangs = not hangs, hangs
    _registered(it, SEVEN, "queued")
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses or (hangs and it.registry.asking))
    assert _committed(it) == 0
    await eventually(lambda: not it.registry.asking)


async def test_a_registry_that_asks_to_be_left_alone_is(monkeypatch):
    """The wait is the longer one of that and our own."""
    monkeypatch.setattr("streamproc.backoff.LONGEST_WAIT_S", 0.001)
    it = await _application()
    asked = []

    def fault():
        asked.append(asyncio.get_running_loop().time())
        if len(asked) == 1:
            raise RegistryUnavailable("busy", retry_after_s=0.5)

    it.registry.fault = fault
    _registered(it, SEVEN, "queued")
    async with it.working():
        await it.drained()
    assert asked[1] - asked[0] >= 0.5


async def test_a_rebalance_while_the_registry_hangs_is_quick_and_the_partition_is_asked_for_again():
    it = await _application(2)
    it.registry.hangs = True
    _registered(it, SEVEN, "queued")
    async with it.working():
        await eventually(lambda: bool(it.registry.asked))
        async with it.working():
            await eventually(lambda: len(it.registry.asked) > 1)
            it.registry.hangs = False
        await it.drained()
    assert len(it.output("transitions")) == 1


async def test_a_partition_that_waits_is_revoked_at_once_and_waits_again_where_it_goes(long_waits):
    it = await _application(2)
    it.registry.is_away = True
    _registered(it, SEVEN, "queued")
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        it.told.pauses.clear()
        it.kafka.rebalance()
        await eventually(lambda: it.source() in it.told.pauses)
        assert (0, TaskState.SUSPENDED) in it.told.states
        assert len(it.registry.asked) == 2


async def test_who_waits_goes_on_with_what_another_partition_learned():
    """And is said to."""
    it = await _application()
    it.registry.is_away = True
    _registered(it, SEVEN, "queued")
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        other = FakeRegistry(it.book)
        await other.learn([SEVEN])
        await it.drained()
        await eventually(lambda: not it.told.pauses)


async def test_a_registry_that_takes_its_time_is_said_to(monkeypatch):
    monkeypatch.setattr("streamproc.runtime.pausing.QUIET_S", 0.01)
    it = await _application()
    it.registry.hangs = True
    _registered(it, SEVEN, "queued")
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        assert it.told.pauses[it.source()] == (Pause.REGISTRY, "id:7: the registry has not answered yet")
        it.registry.hangs = False
        await it.drained()
        await eventually(lambda: not it.told.pauses)


async def test_a_registry_that_answers_at_once_pauses_nobody():
    it = await _application()
    _registered(it, SEVEN, "queued")
    async with it.working():
        await it.drained()
    assert it.told.paused_times == 0


@pytest.mark.parametrize(("schemas", "most_bytes"), [(2, 2**22), (1_000, 1)])
async def test_more_schemas_than_the_book_has_room_for_hold_nobody_up_for_ever(schemas, most_bytes, monkeypatch):
    """64 are asked for at a time; the first, which is needed first, is the first to be forgotten."""
    monkeypatch.setattr("streamproc.codec.book.MAX_LEARNED_BYTES", most_bytes)
    it = await _application(max_learned=schemas)
    for number in range(12):
        _registered(it, confluent(1 + number % 3), "queued", run=f"run_{number}")
    async with it.working():
        await it.drained()
    assert len(it.output("transitions")) == 12
    assert not it.output("dead_letters")


async def test_no_transaction_is_open_while_the_registry_is_asked():
    it = await _application()
    open_ones = []
    it.registry.fault = lambda: open_ones.append(dict(it.kafka.open))
    it.send("queued")
    _registered(it, SEVEN, "in_progress")
    async with it.working():
        await it.drained()
    assert open_ones == [{}]


async def test_a_partition_that_waits_is_behind_and_never_caught_up():
    """rules.md 16; its lag has the age of the record that it waits in front of."""
    it = await _application()
    it.registry.is_away = True
    it.send("queued", at_ms=it.now_ms - 9_000)
    _registered(it, SEVEN, "in_progress")
    it.send("completed")
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        it.now_ms += 60_000
        await eventually(lambda: it.told.lags.get(it.source()) == (2, 60.0))
        assert it.source() not in it.told.were_caught_up
        it.registry.is_away = False
        await it.drained()
        await eventually(lambda: it.told.lags[it.source()] == (0, 0.0))


async def test_no_window_closes_over_events_that_wait():
    """rules.md 18: the watermark is the minimum over the sources, and one that is paused is not idle."""
    it = await _application(2)
    it.registry.is_away = True
    it.send("queued")
    _registered(it, SEVEN, "completed")
    it.send("queued", "run_2", partition=1)
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses and _committed(it, 1) == 1)
        it.now_ms += 3_600_000
        it.send("queued", "run_3", partition=1)
        await eventually(lambda: _committed(it, 1) == 2)
        marks = len(it.marks(1))
        it.now_ms += 60_000
        await eventually(lambda: len(it.marks(1)) > marks)
        assert not it.revisions()
        it.registry.is_away = False
        await it.summed()
        it.now_ms += 3_600_000
        await eventually(lambda: bool(it.revisions()))
    assert {revision.number for each in it.revisions().values() for revision in each} == {0}


async def test_too_many_rejections_stop_their_partition_and_no_other():
    it = await _application(2)
    it.dead_letters = DeadLetterSettings(stop_percent=50, stop_min_records=10)
    for _ in range(20):
        it.send_bytes(b"rubbish")
    async with it.working():
        await eventually(lambda: it.source(0) in it.told.pauses)
        later = it.send("queued")
        it.send("queued", run="run_2", partition=1)
        await eventually(lambda: _committed(it, 1) == 1)
        assert it.told.pauses[it.source(0)][0] is Pause.REJECTIONS
        assert _committed(it) == later
    assert len(it.output("dead_letters")) == 20
    async with it.working():
        await it.drained()
    assert len(it.output("transitions")) == 1, "a restart goes on where it stopped"


async def test_a_rebalance_does_not_let_a_partition_go_on_that_stopped():
    """As long as it stays with this process; that it stopped is said again of the new generation."""
    it = await _spoilt()
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        later = it.send("queued")
        it.told.pauses.clear()
        it.kafka.rebalance()
        await eventually(lambda: it.source() in it.told.pauses)
        it.now_ms += 3_600_000
        assert _committed(it) == later
    assert it.told.pauses[it.source()][0] is Pause.REJECTIONS


async def test_a_stop_fires_no_deadline_and_its_lag_grows_older():
    it = await _application(deadlines=Deadlines(allowance_ms=0, limits={"queued": 1_000}))
    it.dead_letters = DeadLetterSettings(stop_percent=50, stop_min_records=10)
    it.send("queued")
    for _ in range(20):
        it.send_bytes(b"rubbish")
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        it.send("completed")
        it.now_ms += 3_600_000
        await eventually(lambda: it.told.lags[it.source()] == (1, 3_600.0))
    assert not it.alerts()


async def test_commits_that_did_not_happen_do_not_count():
    it = await _application(max_records=10)
    it.dead_letters = DeadLetterSettings(stop_percent=99, stop_min_records=15)
    it.kafka.fault = once("send", TaskInvalid("no"))
    for _ in range(10):
        it.send_bytes(b"rubbish")
    async with it.working():
        await it.drained()
        await eventually(lambda: it.told.records == 10)
        it.send("queued")
        await it.drained()
    assert it.told.failures == ["TaskInvalid"]
    assert not it.told.paused_times


async def test_a_cause_over_its_limit_waits_and_nothing_is_lost():
    it = await _application(max_records=10)
    it.dead_letters = DeadLetterSettings(max_per_minute=30)
    for _ in range(60):
        it.send_bytes(b"rubbish")
    it.send("queued")
    async with it.working():
        await eventually(lambda: it.source(0) in it.told.pauses)
        assert it.told.pauses[it.source(0)][0] is Pause.RATE
        assert len(it.output("dead_letters")) == 30

        def go_on():
            it.now_ms += 5_000
            return it.is_drained()

        await eventually(go_on)
    assert len(it.output("dead_letters")) == 60
    assert len(it.output("transitions")) == 1


async def test_a_limit_holds_within_one_commit_and_all_that_is_good_goes_on():
    """What one commit could hold is many times the limit: it ends before the record that would be over it."""
    it = await _application(max_records=10_000)
    it.dead_letters = DeadLetterSettings(max_per_minute=60)
    for number in range(2_000):
        it.send("queued", run=f"run_{number}")
        it.send_bytes(b"rubbish")
    async with it.working():
        for minute in range(1, 4):
            await eventually(lambda: it.source(0) in it.told.pauses)
            assert len(it.output("dead_letters")) == minute * 60
            assert len(it.output("transitions")) == minute * 60 + 1
            assert "dead_letters.max_per_minute: 60" in it.told.pauses[it.source(0)][1]
            assert not it.alerts(), "it has not read all"
            it.now_ms += 62_000
            await eventually(lambda so_far=minute * 60: len(it.output("dead_letters")) > so_far)


async def test_a_limit_that_is_just_reached_holds_up_nothing_good():
    """Nothing waits, so nobody is told that it does."""
    it = await _application(max_records=10)
    it.dead_letters = DeadLetterSettings(max_per_minute=5)
    for _ in range(5):
        it.send_bytes(b"rubbish")
    for number in range(40):
        it.send("queued", run=f"run_{number}")
    async with it.working():
        await it.drained()
    assert not it.told.paused_times


async def test_without_a_limit_one_commit_takes_what_is_there(monkeypatch):
    monkeypatch.setattr("streamproc.runtime.cycle.GATHER_S", 60)
    it = await _application(max_records=10_000)
    for _ in range(2_000):
        it.send_bytes(b"rubbish")
    async with it.working():
        await it.drained()
    assert len(it.told.reports) < 5


async def test_the_lag_of_a_partition_that_waits_grows_and_a_broker_that_is_away_ends_nothing():
    """It fetches nothing, so it asks."""
    it = await _spoilt()
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        for _ in range(500):
            it.send("queued")
        await eventually(lambda: it.told.lags[it.source()][0] == 500)
        it.kafka.fault = always("look", lambda: BrokerUnavailable("away"))
        it.send("queued")
        await asyncio.sleep(0.05)
        assert it.told.lags[it.source()][0] == 500
        it.kafka.fault = no_fault
        await eventually(lambda: it.told.lags[it.source()][0] == 501)
    assert not it.told.failures


async def test_a_partition_that_waits_for_the_registry_is_said_to_wait_all_the_while():
    """Also between two questions, when it is read anew: else a probe finds it ready."""
    it = await _application(2)
    it.registry.is_away = True
    _registered(it, SEVEN, "queued")
    gone_on: list[object] = []
    resumed = it.told.resumed
    it.told.resumed = lambda source: (gone_on.append(source), resumed(source))
    async with it.working():
        await eventually(lambda: it.source(0) in it.told.pauses)
        asked = len(it.registry.asked)
        for number in range(20):
            it.send("queued", run=f"run_{number}", partition=1)
            await eventually(lambda n=number: _committed(it, 1) > n)
        await eventually(lambda: len(it.registry.asked) > asked + 5)
        assert gone_on == []
        it.registry.is_away = False
        await it.drained()
        await eventually(lambda: not it.told.pauses)
