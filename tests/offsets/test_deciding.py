"""Passing over records and going on: what is committed, what is refused, and that a running service follows."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from streamproc.errors import BrokerUnavailable, ConfigError, TaskInvalid
from streamproc.interrupts import cancelled
from streamproc.offsets.command import resume_partitions, skip_records
from streamproc.offsets.deciding import ChangeRefused, skip
from streamproc.offsets.places import WrongPlace, passage
from streamproc.runtime.config import DeadLetterSettings
from streamproc.runtime.ports import Committed, TopicPartition
from streamproc.runtime.position import Position
from tests.offsets.conftest import desk_of
from tests.support.application import always, application, once
from tests.support.fake_kafka import no_fault
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def _never_again(monkeypatch):
    monkeypatch.setattr("streamproc.runtime.pausing.TRY_AGAIN_S", 3_600.0)


async def _damaged(partitions=1):
    """An application that stopped in front of offsets 1 to 3, behind which there is an event."""
    it = await application(partitions)
    it.send("queued")
    it.kafka.logs[it.topics.events][0].damage(3)
    it.send("completed")
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
    return it


def _position(it, source):
    return Position.of(it.kafka.offsets[source], source)


async def test_a_passage_is_a_dead_letter_and_the_offset_behind_it(screen):
    """With the state's position as it was, and the next sequence."""
    it = await _damaged()
    before = _position(it, it.source())
    assert await skip_records(desk_of(it), passage("run-events:0:1", 3, "disk\x1b[2J failed"), screen.consoles) == 0
    after = _position(it, it.source())
    assert after == before._replace(offset=4, sequence=before.sequence + 1)
    (letter,) = it.output("dead_letters")
    said = dict(letter.headers)
    assert (letter.key, letter.value) == (None, None)
    assert said["streamproc.error.reason"] == b"skipped"
    assert said["streamproc.error.message"] == b"disk\x1b[2J failed"
    assert (said["streamproc.source.topic"], said["streamproc.source.partition"]) == (b"run-events", b"0")
    assert (said["streamproc.source.offset"], said["streamproc.skipped.through"]) == (b"1", b"3")
    assert r"skipped offsets 1 to 3 of run-events partition 0 (disk\x1b[2J failed): it continues at 4" in screen.out
    async with it.working():
        await it.drained()
    assert it.ids("transitions") == ["run-events:0:0", "run-events:0:4"]


async def test_a_service_that_runs_goes_on_behind_it(screen):
    it = await application()
    it.send("queued")
    it.kafka.logs[it.topics.events][0].damage()
    it.send("completed")
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
        await skip_records(desk_of(it), passage("run-events:0:1", None, "why"), screen.consoles)
        await it.drained()
        await eventually(lambda: not it.told.pauses)
    assert it.ids("transitions") == ["run-events:0:0", "run-events:0:2"]


async def test_measurements_can_be_passed_over_too(screen):
    it = await application()
    it.kafka.logs[it.topics.measurements][0].damage()
    async with it.working():
        await eventually(lambda: it.measured() in it.told.pauses)
        await skip_records(desk_of(it), passage("run-measurements:0:0", None, "why"), screen.consoles)
        await eventually(lambda: not it.told.pauses)
        it.send("queued")
        await it.summed()


async def test_nothing_is_passed_over_in_front_of_which_something_is_unread():
    """Readable or not; control markers and what compaction removed are nothing."""
    it = await application()
    log = it.kafka.logs[it.topics.events][0]
    it.send("queued")
    async with it.working():
        await it.drained()
    log.mark()
    log.damage(2)
    log.mark()
    it.send("completed")
    for place, words in (
        ("run-events:0:0", "offset 0 of run-events partition 0 is already committed; the next offset to process is 1"),
        ("run-events:0:5", "offset 2 of run-events partition 0 comes before 5 and is unread: process or skip it first"),
        ("run-events:0:6", "offset 6 of run-events partition 0 does not exist yet; the last one is 5"),
    ):
        with pytest.raises(ChangeRefused, match=words):
            await skip(desk_of(it), passage(place, None, "why"))
    with pytest.raises(ChangeRefused, match="offset 6 of run-events partition 0 does not exist yet"):
        await skip(desk_of(it), passage("run-events:0:2", 6, "why"))
    assert not it.output("dead_letters")
    await skip(desk_of(it), passage("run-events:0:2", 3, "why"))
    await skip(desk_of(it), passage("run-events:0:5", None, "why"))
    assert _position(it, it.source()).offset == 6


async def test_the_first_record_there_is_can_be_passed_over_before_anything_is_committed():
    it = await application()
    it.kafka.logs[it.topics.events][0].damage()
    it.send("queued")
    await skip(desk_of(it), passage("run-events:0:0", None, "why"))
    async with it.working():
        await it.drained()
    assert it.ids("transitions") == ["run-events:0:1"]


@pytest.mark.parametrize("committed", [Committed(1, ""), None])
async def test_what_the_service_would_refuse_is_refused(committed):
    """A state that belongs to no offset: only a reset mends that."""
    it = await _damaged()
    it.kafka.offsets.pop(it.source())
    if committed is not None:
        it.kafka.offsets[it.source()] = committed
    for work in (
        skip(desk_of(it), passage("run-events:0:1", None, "why")),
        resume_partitions(desk_of(it), it.source(), None),
    ):
        with pytest.raises(ConfigError, match="streamproc offsets reset --to"):
            await work
    assert it.kafka.offsets.get(it.source()) == committed


@pytest.mark.parametrize("place", ["run-state:0:1", "run-events:7:1"])
async def test_only_partitions_of_the_inputs_can_be_named(place):
    it = await _damaged()
    with pytest.raises(WrongPlace, match="run-events"):
        await skip(desk_of(it), passage(place, None, "why"))


@pytest.mark.parametrize("point", ["send", "before the end"])
async def test_a_transaction_that_fails_changes_nothing(point):
    """Neither the letter nor the offset is there alone."""
    it = await _damaged()
    before = it.kafka.offsets[it.source()]
    it.kafka.fault = always(point, lambda: TaskInvalid("fenced"))
    with pytest.raises(ConfigError, match="the change was not confirmed"):
        await skip(desk_of(it), passage("run-events:0:1", None, "why"))
    assert it.kafka.offsets[it.source()] == before
    it.kafka.fault = no_fault
    await skip(desk_of(it), passage("run-events:0:1", None, "why"))
    assert len(it.output("dead_letters")) == 1


@pytest.mark.parametrize("point", ["send", "before the end", "after the end"])
async def test_a_worker_that_takes_over_just_then_is_no_failure(point):
    """It is tried again, and done once, whatever became of the first try."""
    it = await _damaged()
    before = _position(it, it.source())
    it.kafka.fault = once(point, TaskInvalid("fenced"))
    await skip(desk_of(it), passage("run-events:0:1", None, "why"))
    assert len(it.output("dead_letters")) == 1
    assert _position(it, it.source()).sequence == before.sequence + 1


async def _stopped(partitions=1):
    it = await application(partitions)
    it.dead_letters = DeadLetterSettings(stop_percent=50, stop_min_records=10)
    for _ in range(20):
        it.send_bytes(b"rubbish")
    return it


@asynccontextmanager
async def _ticking(it):
    """The clock goes on, so that partitions with nothing to do commit their marks."""

    async def tick():
        while True:
            it.now_ms += 1_000
            await asyncio.sleep(0.002)

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        await cancelled(ticking)


def _fences(it):
    return dict(it.kafka.epochs)


async def test_resume_lets_a_stopped_partition_go_on_though_nothing_is_unread_there(screen):
    """All of the rubbish went into one commit: there is no lag, and the partition stands still for ever."""
    it = await _stopped()
    async with it.working(), _ticking(it):
        await eventually(lambda: it.source() in it.told.pauses)
        assert it.is_drained()
        assert await resume_partitions(desk_of(it), None, screen.consoles) == 0
        await eventually(lambda: not it.told.pauses)
        it.send("queued")
        await it.drained()
    assert "run-events partition 0 goes on at offset 20" in screen.out


async def test_what_was_done_is_one_object_for_programs(screen):
    """Of `skip` and of `resume`."""
    it = await _damaged()
    await skip_records(desk_of(it), passage("run-events:0:1", 3, "disk"), screen.consoles, as_json=True)
    assert json.loads(screen.out) == {
        "topic": "run-events",
        "partition": 0,
        "first": 1,
        "through": 3,
        "why": "disk",
        "dead_letters": "run-events-dlq",
    }
    it = await _stopped()
    async with it.working(), _ticking(it):
        await eventually(lambda: it.source() in it.told.pauses)
        await resume_partitions(desk_of(it), None, screen.consoles, as_json=True)
    assert json.loads(screen.out.splitlines()[1]) == {
        "resumed": [{"topic": "run-events", "partition": 0, "offset": 20}],
        "go_on_by_themselves": [{"topic": "run-measurements", "partition": 0}],
        "refused": [],
    }


async def test_resume_touches_only_what_stands_still(screen):
    """All are fenced for a moment, as a worker commits by any of their ids: what goes on does so where it was."""
    it = await _stopped(3)
    async with it.working(), _ticking(it):
        await eventually(lambda: it.source() in it.told.pauses)
        await eventually(
            lambda: {it.source(n) for n in (1, 2)} | {it.measured(n) for n in range(3)} <= set(_fences(it))
        )
        before = _fences(it)
        busy = asyncio.create_task(_keep_busy(it, partition=1))
        assert await resume_partitions(desk_of(it), None, screen.consoles) == 0
        await cancelled(busy)
        await eventually(lambda: not it.told.pauses)
        changed = {source for source, epoch in _fences(it).items() if before[source] != epoch}
        await it.drained()
    assert changed == before.keys()
    assert it.kafka.restored.count(1) == 1
    assert len(it.output("transitions", 1)) == 1, "the busy run's, once"
    assert "5 of 6 partitions go on by themselves" in screen.out
    assert screen.out.count("goes on at offset") == 1


async def _keep_busy(it, partition):
    while True:
        it.send("queued", run="run_busy", partition=partition)
        await asyncio.sleep(0.01)


async def test_resume_finds_stopped_measurements(screen):
    """The events go on; their marks are what is unread behind the rubbish."""
    it = await application()
    it.dead_letters = DeadLetterSettings(stop_percent=50, stop_min_records=10)
    for _ in range(20):
        it.kafka.logs[it.topics.measurements][0].append((b"k", b"rubbish", it.now_ms, ()), "committed")
    async with it.working(), _ticking(it):
        await eventually(lambda: it.measured() in it.told.pauses)
        assert await resume_partitions(desk_of(it), None, screen.consoles) == 0
        await eventually(lambda: not it.told.pauses)
    assert "run-measurements partition 0 goes on at offset" in screen.out
    assert "run-events partition 0" not in screen.out


async def test_resume_says_what_cannot_go_on_and_tells_the_others(screen):
    """In front of what cannot be read it would stop again: the command that passes over it is named."""
    it = await _stopped(2)
    it.kafka.logs[it.topics.events][1].damage(3)
    async with it.working(), _ticking(it):
        await eventually(lambda: {it.source(0), it.source(1)} <= set(it.told.pauses))
        before = it.kafka.offsets[it.source(1)]
        assert await resume_partitions(desk_of(it), None, screen.consoles) == 1
        await eventually(lambda: it.source(0) not in it.told.pauses)
        assert it.kafka.offsets[it.source(1)] == before
    assert "run-events partition 0 goes on at offset 20" in screen.out
    assert "`streamproc offsets skip run-events:1:0 --through 2 --why" in screen.err


async def test_resume_of_a_partition_that_cannot_be_read_is_refused(screen):
    it = await _damaged()
    before = it.kafka.offsets[it.source()]
    with pytest.raises(ChangeRefused, match="`streamproc offsets skip run-events:0:1 --through 3 --why"):
        await resume_partitions(desk_of(it), it.source(), screen.consoles)
    assert it.kafka.offsets[it.source()] == before


async def test_resume_leaves_a_partition_alone_that_goes_on_by_itself(screen):
    """To commit in its stead would cost it a transaction."""
    it = await application()
    it.send("queued")
    async with it.working(), _ticking(it):
        await it.drained()
        before = _fences(it)
        assert await resume_partitions(desk_of(it), it.source(), screen.consoles) == 0
        assert _fences(it) == before
    assert "run-events partition 0 goes on by itself" in screen.out


async def test_resume_of_one_partition_that_stands_still(screen):
    it = await _stopped()
    async with it.working(), _ticking(it):
        await eventually(lambda: it.source() in it.told.pauses)
        assert await resume_partitions(desk_of(it), it.source(), screen.consoles) == 0
        await eventually(lambda: not it.told.pauses)
    assert "run-events partition 0 goes on at offset 20" in screen.out


async def test_resume_says_that_no_service_runs(screen):
    """Its counts are gone: only what is named is committed once more."""
    it = await _stopped()
    async with it.working():
        await eventually(lambda: it.source() in it.told.pauses)
    before = dict(it.kafka.offsets)
    assert await resume_partitions(desk_of(it), None, screen.consoles) == 0
    assert it.kafka.offsets == before
    assert "the service is not running (group app has no members)" in screen.out
    await resume_partitions(desk_of(it), TopicPartition("run-events", 0), screen.consoles)
    assert "run-events partition 0 goes on at offset 20" in screen.out
    assert _position(it, it.source()).sequence == Position.of(before[it.source()], it.source()).sequence + 1


async def test_a_broker_that_is_away_is_said(screen):
    it = await _damaged()
    it.kafka.fault = always("stable", lambda: BrokerUnavailable("no"))
    with pytest.raises(BrokerUnavailable):
        await skip(desk_of(it), passage("run-events:0:1", None, "why"))
