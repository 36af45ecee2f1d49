"""Payloads that do not fit into memory, and snapshots: what a worker does about them."""

import asyncio
import random
import threading
from math import gcd
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from streamproc.core.deadlines import Deadlines
from streamproc.core.profiles import ASSISTANTS
from streamproc.core.retention import Retention
from streamproc.core.rules import Rules
from streamproc.errors import ConfigError
from streamproc.runtime.fold import FoldSettings
from streamproc.runtime.job import Job
from streamproc.runtime.observer import Pause
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.position import Position, read
from streamproc.runtime.snapshots import Snapshots
from streamproc.runtime.stages import Stages, stages
from streamproc.runtime.taskstates import TaskState
from streamproc.runtime.topics import create_topics
from streamproc.runtime.worker import Worker
from streamproc.store.disk import Disk, DiskFails
from streamproc.store.sqlite import SqliteDisk
from streamproc.store.store import UNBOUNDED, Store, StoreSettings
from tests.support.application import MAX_RECORD_BYTES, Application
from tests.support.disks import FaultyDisk, OpenedDisk
from tests.support.events import event, fold
from tests.support.impatience import wait_for_nothing
from tests.support.oracle import PLAIN
from tests.support.runobjects import START_MS
from tests.support.waiting import DEADLINE_S, eventually

MINUTE_MS = 60_000
SHORT = Retention(MINUTE_MS, 10 * MINUTE_MS)


class Stored(Application):
    """An application that has a disk; what goes wrong with it is in `fault`."""

    def __init__(self, retention: Retention = SHORT) -> None:
        super().__init__(retention)
        self.fault: str | None = None
        self.disk = FaultyDisk(lambda _: self.fault)
        self.limits = StoreSettings(65_536, UNBOUNDED, scratch=lambda: self.disk.open(is_lasting=False))
        self.interval_s: float | None = None
        self.random = random.Random(1)

    def stages(self) -> Stages:
        rules = Rules(ASSISTANTS, self.retention, self.deadlines, gcd(*self.windows.sizes_ms))
        settings = FoldSettings(
            "app", self.topics, rules, self.book, self.job().commit, self.kafka.partition_of, store=self.limits
        )
        return stages(settings, self.windows)

    def job(self) -> Job:
        job = super().job()
        return job if self.interval_s is None else _with_interval(job, self.interval_s)

    def flood(self, count: int, prefix: str = "run") -> None:
        """Add runs that end, of 8 kB an event."""
        for number in range(count):
            noise = {f"k{each}": self.random.randbytes(200).hex() for each in range(15)}
            self.send("queued", f"{prefix}_{number}", metadata=noise)
            self.send("completed", f"{prefix}_{number}", metadata=noise, completed_at=START_MS // 1000)


def _with_interval(job: Job, interval_s: float) -> Job:
    return structs.replace(job, snapshot_interval_s=interval_s)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_for_nothing(monkeypatch)
    monkeypatch.setattr("streamproc.store.keeper.SLACK_BYTES", 65_536)
    monkeypatch.setattr("streamproc.store.keeper.TRY_AGAIN_S", 0.01)
    monkeypatch.setattr("streamproc.runtime.pausing.QUIET_S", 0.0)
    monkeypatch.setattr("streamproc.runtime.pausing.LOOK_S", 0.01)


@pytest.fixture
async def it() -> Stored:
    application = Stored()
    await create_topics(application.kafka, application.topics, 1, MAX_RECORD_BYTES)
    return application


def is_full(it: Stored) -> bool:
    return it.told.pauses.get(it.source(), (None, ""))[0] is Pause.STATE_FULL


async def test_payloads_beyond_memory_are_on_disk(it: Stored) -> None:
    it.flood(200)
    async with it.working():
        await it.drained()
        await eventually(lambda: len(it.disk.blocks) > 0)
    assert len(it.output("state")) >= 200


@pytest.mark.parametrize("cause", ["limit", "refuses"])
async def test_a_partition_whose_payloads_have_no_room_waits_and_goes_on_when_retention_makes_some(
    it: Stored, cause: str
) -> None:
    """Of runs that ended so long ago that the clock would have forgotten them; they are not forgotten for it."""
    if cause == "limit":
        it.limits = StoreSettings(65_536, 150_000, scratch=it.limits.scratch)
    else:
        it.fault = "refuses"
    async with it.working():
        it.flood(300)
        await eventually(lambda: is_full(it))
        why = it.told.pauses[it.source()][1]
        assert "max_disk_bytes" in why if cause == "limit" else "No space left" in why
        it.flood(20, "late")
        await eventually(lambda: it.told.lags[it.source()][0] >= 40)
        before = it.kafka.offsets[it.source()].offset
        it.now_ms += 2 * MINUTE_MS
        await eventually(lambda: it.kafka.offsets[it.source()].offset > before)
        if cause == "limit":
            assert sum(report.forgotten for report in it.told.reports) == 0, "no stream time has come so far"
        it.fault = None
        it.limits = StoreSettings(65_536, UNBOUNDED, scratch=it.limits.scratch)
        while not it.is_drained():
            at = it.kafka.offsets[it.source()].offset
            it.now_ms += 2 * MINUTE_MS
            await eventually(lambda at=at: it.kafka.offsets[it.source()].offset > at)
        await eventually(lambda: it.source() not in it.told.pauses)
    assert len(it.output("transitions")) == 640, "each run began and ended, once"


@pytest.fixture
async def lasting(it: Stored) -> Stored:
    """An application that takes a snapshot whenever the clock lets it."""
    it.limits = StoreSettings(65_536, UNBOUNDED, lasting=lambda _: it.disk.open())
    it.interval_s = 0.001
    return it


async def _worked(it: Stored) -> int:
    """Let a worker do everything, and take a snapshot of that; return from where on it has read run-state."""
    async with it.working():
        await it.drained()
        before = it.disk.kept_label
        it.send("queued", f"run_{random.random()}")
        await it.drained()
        await eventually(lambda: it.disk.kept_label not in {None, before})
    return it.kafka.sought[it.topics.state][-1]


def _runs(it: Stored) -> set[tuple[str, int]]:
    """Return what run-transitions tells: which event changed a run. Each is to be there once."""
    ids = it.ids("transitions")
    assert len(set(ids)) == len(ids)
    return set(ids)


async def test_a_start_reads_what_follows_the_snapshot(lasting: Stored) -> None:
    """And what others have committed since (rules.md 6)."""
    it = lasting
    it.flood(50)
    assert await _worked(it) == 0
    first = await _worked(it)
    assert first > 50
    disk, it.disk = it.disk, FaultyDisk(lambda _: it.fault)
    it.flood(10, "elsewhere")
    assert await _worked(it) == 0, "another instance, with a disk of its own"
    it.disk = disk
    again = it.kafka.logs[it.topics.events][0].end
    it.flood(10, "elsewhere")
    assert first <= await _worked(it) < it.kafka.logs[it.topics.state][0].end
    assert not [each for each in _runs(it) if int(each.split(":")[2]) in range(again, again + 20)], "all are known"


@pytest.mark.parametrize("harm", ["tear", "label", "lose"])
async def test_a_snapshot_that_is_damaged_is_as_none(lasting: Stored, harm: str) -> None:
    it = lasting
    it.flood(20)
    await _worked(it)
    if harm == "tear":
        it.disk.tear()
    elif harm == "label":
        it.disk.kept_label = b"none"
    else:
        it.disk.blocks.clear()
    it.flood(20)
    assert await _worked(it) == 0
    assert len(_runs(it)) == 42, "nothing of the flood counted twice"


async def test_a_snapshot_of_a_topic_that_was_made_anew_is_as_none(lasting: Stored) -> None:
    """Though the new one may have come as far by now."""
    it = lasting
    it.flood(20)
    it.kafka.ids[it.topics.state] = "first"
    await _worked(it)
    assert await _worked(it) > 0
    it.kafka.ids[it.topics.state] = "second"
    assert await _worked(it) == 0


async def test_a_snapshot_of_a_topic_that_is_shorter_by_now_is_as_none(lasting: Stored) -> None:
    """It is of another topic of that name; then the topic itself is proven, and refused (rules.md 6)."""
    it = lasting
    it.flood(20)
    await _worked(it)
    for log in it.kafka.logs[it.topics.state]:
        log.entries.clear()
    run = it.worker()
    with pytest.raises(ConfigError, match="were committed with offset"):
        await run.run()


async def test_a_snapshot_that_is_ahead_of_the_commit_is_as_none(lasting: Stored) -> None:
    """An operator has reset the offsets since (rules.md 5)."""
    it = lasting
    it.flood(5)
    async with it.working():
        await it.drained()
        await eventually(lambda: it.disk.kept_label is not None)
        early = it.kafka.offsets[it.source()]
    snapshots = it.disk
    it.disk = FaultyDisk(lambda _: None)
    it.flood(5, "more")
    await _worked(it)
    ahead, it.disk = it.disk, snapshots
    assert await _worked(it) > 0
    assert ahead.kept_label != snapshots.kept_label
    assert early.offset < it.kafka.offsets[it.source()].offset


async def test_a_disk_that_another_process_has_costs_the_snapshots_alone(lasting: Stored) -> None:
    it = lasting

    def locked(_: int) -> Disk:
        raise DiskFails("run-events-0.db: database is locked")

    it.limits = structs.replace(it.limits, lasting=locked)
    it.flood(200)
    async with it.working():
        await it.drained()
    assert it.told.without_snapshots == ["run-events-0.db: database is locked"]


async def test_a_state_whose_payloads_are_lost_is_restored_from_its_topic(it: Stored) -> None:
    """As it becomes known when one of them is to be written again: here by an event that is illegal."""
    it.flood(200)
    async with it.working():
        await it.drained()
        await eventually(lambda: len(it.disk.blocks) > 5)
        it.disk.tear()
        it.send("failed", "run_0")
        await it.drained()
    assert len(it.kafka.restored) == 2
    [alert] = it.alerts()
    assert alert.kind == "illegal"
    assert len(_runs(it)) == 400


async def test_a_run_that_only_the_clock_changes_has_its_payload_read_back(it: Stored) -> None:
    """No event came for it in that commit: which payloads are needed is known only once the clock has done its part."""
    it.deadlines = Deadlines(0, limits={"queued": MINUTE_MS // 2})
    it.send("queued", "run_waits")
    it.flood(200)
    async with it.working():
        await it.drained()
        await eventually(lambda: len(it.disk.blocks) > 5)
        it.now_ms += MINUTE_MS // 2
        await eventually(it.alerts)
    [alert] = it.alerts()
    assert (alert.kind, alert.subject[0]) == ("stuck_queued", "run_waits")
    assert len(it.kafka.restored) == 1


async def test_a_disk_that_gives_nothing_back_for_a_while_is_waited_for(it: Stored) -> None:
    it.flood(200)
    async with it.working():
        await it.drained()
        await eventually(lambda: len(it.disk.blocks) > 5)
        it.fault = "refuses"
        it.send("failed", "run_0")
        await eventually(lambda: is_full(it))
        it.fault = None
        await it.drained()
        await eventually(lambda: not is_full(it))
    assert len(it.kafka.restored) == 1
    assert len(it.alerts()) == 1


async def test_a_restore_waits_for_room(it: Stored) -> None:
    """Else a state of large events would fill the memory before it runs."""
    small, it.limits = it.limits, StoreSettings()
    it.flood(300)
    async with it.working():
        await it.drained()
    it.limits, it.fault = small, "refuses"
    async with it.working() as worker:
        await eventually(lambda: is_full(it))
        assert it.told.states[-1] == (0, TaskState.RESTORING)
        it.fault = None
        it.send("queued")
        await it.drained()
        assert all(not task.has_no_room for task in worker._tasks.values())


def _reached(it: Stored, worker: Worker) -> bool:
    task = worker._tasks.get(it.source())
    return task is not None and task.lifecycle is TaskState.RUNNING


@pytest.mark.parametrize("is_lasting", [False, True])
async def test_a_restore_is_not_stuck_for_what_nobody_wants(
    it: Stored, monkeypatch: pytest.MonkeyPatch, is_lasting: bool
) -> None:
    """Ten states of each run go by, where there is room for three."""
    monkeypatch.setattr("streamproc.runtime.reading.FETCH_RECORDS", 20)
    it.limits = StoreSettings()
    for _ in range(10):
        for number in range(60):
            noise = {f"k{each}": it.random.randbytes(200).hex() for each in range(15)}
            it.send("queued", f"run_{number}", metadata=noise)
    async with it.working():
        await it.drained()
    it.interval_s = 0.01
    lasting = (lambda _: it.disk.open()) if is_lasting else None
    it.limits = StoreSettings(65_536, 600_000, lasting, lambda: it.disk.open(is_lasting=False))
    async with it.working() as worker:
        await eventually(lambda: _reached(it, worker))


async def test_retention_makes_room_in_a_restore_too(it: Stored) -> None:
    it.limits = StoreSettings()
    it.flood(200)
    async with it.working():
        await it.drained()
    it.now_ms += 100 * MINUTE_MS
    it.limits = StoreSettings(65_536, 150_000, scratch=lambda: it.disk.open(is_lasting=False))
    async with it.working() as worker:
        await eventually(lambda: _reached(it, worker))


async def test_without_any_disk_a_worker_goes_on_in_memory(it: Stored) -> None:
    """And waits where that is used up."""

    def nowhere(*_: int) -> Disk:
        raise DiskFails("no directory")

    it.interval_s = 1.0
    it.limits = StoreSettings(65_536, UNBOUNDED, nowhere, nowhere)
    it.flood(5)
    async with it.working():
        await it.drained()
        assert it.told.without_snapshots == ["no directory"]
        it.flood(200, "more")
        await eventually(lambda: is_full(it))
        assert it.told.pauses[it.source()][1] == "no directory"


async def test_a_disk_that_opens_too_late_is_not_taken_for_what_it_was(it: Stored) -> None:
    """It was neither loaded nor emptied: blocks of now among those of then would be a snapshot of nothing."""
    opens = iter([False])

    def late(_: int) -> OpenedDisk:
        if next(opens, True):
            return it.disk.open()
        raise DiskFails("not mounted yet")

    def none() -> Disk:
        raise DiskFails("no directory")

    it.interval_s = 0.001
    it.limits = StoreSettings(65_536, UNBOUNDED, late, none)
    it.flood(5)
    async with it.working():
        await it.drained()
        it.flood(200, "more")
        await eventually(lambda: is_full(it))
    assert it.disk.opened == 0


class Asked:
    """A keeper that takes down what it is asked to take a snapshot of."""

    is_lasting = True

    def __init__(self) -> None:
        self.about: Any = None

    def snapshot(self, about: Any, wall_ms: int) -> None:
        assert wall_ms > 0
        self.about = about


@pytest.mark.parametrize(("behind", "is_taken"), [(0, True), (1, False)])
async def test_a_snapshot_is_of_a_commit_that_has_all_that_the_topic_has(
    lasting: Stored, behind: int, is_taken: bool
) -> None:
    """A worker that stood still does not know what the new owner has committed (rules.md 6)."""
    it = lasting
    it.flood(3)
    async with it.working():
        await it.drained()
    it.interval_s = 0.0
    last = read(it.kafka.offsets[it.source()])
    assert isinstance(last, Position)
    ours = last._replace(sequence=last.sequence - behind)
    keeper, snapshots = Asked(), Snapshots(it.job(), it.source(), TopicPartition(it.topics.state, 0))
    snapshots.take(keeper, lambda: ours)
    await eventually(lambda: keeper.about is not None)
    assert (keeper.about() is not None) == is_taken
    pending, at_work = Asked(), Snapshots(it.job(), it.source(), TopicPartition(it.topics.state, 0))
    at_work.take(pending, lambda: None)
    await eventually(lambda: pending.about is not None)
    assert pending.about() is None, "a commit is under way"


async def test_a_snapshot_that_cannot_be_just_now_is_taken_after_the_commit(tmp_path: Path) -> None:
    """Else there would be none where one commit follows the other."""
    keeper = Store(StoreSettings(lasting=lambda _: SqliteDisk(tmp_path / "state.db"))).keeper(0, PLAIN, 0)
    assert not await keeper.load(lambda _: True)
    fold(keeper.state, event("queued"))
    answers = iter([None, None, b"commit"])
    keeper.snapshot(lambda: next(answers), 5)
    for _ in range(2):
        await asyncio.sleep(0)
        keeper.tend(0)
    await eventually(lambda: keeper.tiers.usage().disk_bytes > 0)
    await eventually(lambda: keeper.state.snapshot_ms == 5)
    keeper.snapshot(lambda: b"commit", 9)
    # Nothing has changed: the one before still says it all.
    await eventually(lambda: keeper.state.snapshot_ms == 9)
    keeper.close()


async def test_a_restore_that_a_rebalance_breaks_off_leaves_nothing_open(
    it: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open keeper would take its share of the limits, and lock the partition's file, until the process ends."""
    begun, goes_on = list[bool](), threading.Event()

    def trim() -> None:
        begun.append(True)
        goes_on.wait(DEADLINE_S)

    monkeypatch.setattr("streamproc.runtime.task.trim", trim)
    it.send("queued")
    async with it.working() as worker:
        for number in (1, 2):
            await eventually(lambda number=number: len(begun) == 2 * number)  # Of both stages.
            it.kafka.rebalance()
        goes_on.set()
        await it.drained()
        assert len(worker._tasks[it.source()].stage.store._open) == 1
