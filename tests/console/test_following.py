"""The follower over a fake Kafka: from where the file says, whatever happens to the topics, the disk or the broker."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from streamproc.codec.encode import OutputEncoder, OutputSource
from streamproc.codec.message import Message
from streamproc.console.following import Follower, Parts
from streamproc.console.intake import Intake, print_of
from streamproc.console.model.database import Database, RebuildCause
from streamproc.console.model.entries import Checkpoint
from streamproc.console.model.retention import HistoryRetention
from streamproc.console.model.runs import RunTable
from streamproc.console.queries.view import View
from streamproc.console.reads import Busy
from streamproc.console.sameness import Anew, Sameness
from streamproc.console.status import FollowerStatus, Halt
from streamproc.core.profiles import ASSISTANTS
from streamproc.errors import BrokerUnavailable
from streamproc.interrupts import cancelled
from streamproc.runtime import granting
from streamproc.runtime.config import TopicSettings
from streamproc.runtime.ports import TopicPartition
from streamproc.runtime.rights import Operation, Resource, Right
from tests.support.fake_kafka import FakeKafka, Log
from tests.support.readmodel import LIMITS, run, runs_in
from tests.support.waiting import eventually

TOPICS = TopicSettings()
VIEW = View(TOPICS.events, LIMITS, ASSISTANTS, ())
ENCODER = OutputEncoder(OutputSource("test", TOPICS.events, 0))


class It(NamedTuple):
    """A console's reading part, and what it reads."""

    kafka: FakeKafka
    standing: FollowerStatus
    database: Database

    def runs(self) -> dict[str, str]:
        """Return the status of each run, read as any reader does."""
        with suppress(Busy):  # Just being made anew.
            return dict(self.database.read(lambda db: db.execute("SELECT run_id, status FROM runs").fetchall()))
        return {}

    def notes(self) -> str:
        """Return what it says is missing."""
        return " | ".join(self.standing.as_of().notes)


@pytest.fixture
def kafka() -> FakeKafka:
    """A cluster with the topics, empty."""
    it = FakeKafka()
    for topic in Intake(TOPICS).topics:
        it.logs[topic] = [Log()]
    return it


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once: nothing here is about how often."""
    for name in ("PACE_S", "FIRST_WAIT_S", "LOOK_S"):
        monkeypatch.setattr(f"streamproc.console.following.{name}", 0.001)


@asynccontextmanager
async def following(kafka: FakeKafka, directory: Path) -> AsyncIterator[It]:
    """Follow the topics into the file of a directory."""
    database = Database(directory / "console.sqlite", {})
    standing = FollowerStatus(is_new=bool(database.why_rebuilt))
    with ThreadPoolExecutor(1) as pool:
        parts = Parts(
            kafka=kafka,
            intake=Intake(TOPICS),
            database=database,
            runs=RunTable(VIEW.ends_first, ()),
            retention=HistoryRetention(10**12, 1_000_000, ASSISTANTS),
            standing=standing,
            pool=pool,
            ask=_nobody,
            news=lambda: None,
        )
        task = asyncio.create_task(Follower(parts).run())
        try:
            yield It(kafka, standing, database)
            assert not task.done(), task.exception()
        finally:
            await cancelled(task)
    database.close()


async def _nobody(header: bytes) -> None:
    raise AssertionError(header)


def put(kafka: FakeKafka, *states: Message) -> None:
    """Commit states."""
    for each in states:
        kafka.logs[TOPICS.state][0].append(each, "committed")
    kafka.logs[TOPICS.state][0].mark()


def state(run_id: str, status: str = "queued", since: int = 1_790_000_000_000) -> Message:
    """Return a state as the service writes it."""
    (message,) = ENCODER.states([run(run_id, status, since)], since)
    return message


async def test_it_goes_on_from_where_the_file_ends(kafka: FakeKafka, tmp_path: Path) -> None:
    """A second start reads what is new, and nothing twice."""
    put(kafka, state("a"))
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: it.runs() == {"a": "queued"})
        await eventually(lambda: it.standing.was_complete)
    put(kafka, state("a", "completed"), state("b"))
    async with following(kafka, tmp_path) as it:
        assert it.runs() == {"a": "queued"}
        await eventually(lambda: it.runs() == {"a": "completed", "b": "queued"})
        assert it.standing.as_of().rebuild is None


async def test_a_forgotten_run_is_gone(kafka: FakeKafka, tmp_path: Path) -> None:
    """A null in run-state takes it out."""
    put(kafka, state("a"), state("b"))
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: len(it.runs()) == 2)
        put(kafka, (b"a", None, 1_790_000_000_000, []))
        await eventually(lambda: it.runs() == {"b": "queued"})


async def test_records_that_cannot_be_read_are_counted_and_the_others_shown(kafka: FakeKafka, tmp_path: Path) -> None:
    """Somebody else's record, and a damaged one, in the middle of a batch; and a batch that nobody can read."""
    put(kafka, state("a"), (b"x", b"no state", 1, []), (b"y", state("y")[1][:30], 1, []), state("b"))
    kafka.logs[TOPICS.state][0].damage(3)
    put(kafka, state("c"))
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: it.runs().keys() == {"a", "b", "c"})
        assert f"2 records of {TOPICS.state} cannot be read" in it.notes()
        assert "they are left out" in it.notes()
        assert it.standing.skipped == {TOPICS.state: 3}


async def test_a_topic_that_may_not_be_read_is_waited_for(
    kafka: FakeKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rules.md 28: it says which right lacks, asks for nothing else meanwhile, and goes on once it is granted."""
    monkeypatch.setattr(granting, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(granting, "LONGEST_WAIT_S", 0.02)
    put(kafka, state("a"))
    right = Right(Operation.READ, Resource.TOPIC, TOPICS.state)
    kafka.taken = {right}
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: f"the user lacks the right {right}" in it.notes())
        fetches, asked = kafka.fetches[TOPICS.state], kafka.asked_for[right]
        await eventually(lambda: kafka.asked_for[right] >= asked + 5)
        assert kafka.fetches[TOPICS.state] == fetches
        kafka.taken = set()
        await eventually(lambda: it.runs() == {"a": "queued"})
        assert "lacks" not in it.notes()


async def test_a_missing_topic_is_told_and_read_once_it_is_there(kafka: FakeKafka, tmp_path: Path) -> None:
    """A topic that an upgrade has yet to create keeps nothing else back."""
    del kafka.logs[TOPICS.state]
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: f"there is no topic {TOPICS.state}" in it.notes())
        kafka.logs[TOPICS.state] = [Log()]
        put(kafka, state("a"))
        await eventually(lambda: it.runs() == {"a": "queued"})
        assert f"there is no topic {TOPICS.state}" not in it.notes()


async def test_a_topic_made_anew_with_as_many_records_is_noticed_at_the_start(kafka: FakeKafka, tmp_path: Path) -> None:
    """The offset that was read last holds another record now: nothing of the old topic is shown."""
    put(kafka, state("old"), state("older"))
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: len(it.runs()) == 2)
    kafka.logs[TOPICS.state] = [Log()]
    put(kafka, state("new"), state("newer"), state("newest"))
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: it.runs().keys() == {"new", "newer", "newest"})
        assert "made anew" in it.database.why_rebuilt
        assert it.database.rebuilds == {RebuildCause.OTHER_TOPIC: 1}


async def test_a_topic_made_anew_while_it_runs_is_noticed(kafka: FakeKafka, tmp_path: Path) -> None:
    """It ends before where the console is: there is nothing to go on from."""
    put(kafka, state("old"), state("older"), state("oldest"))
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: len(it.runs()) == 3)
        log = kafka.logs[TOPICS.state][0]
        log.entries.clear()
        put(kafka, state("new"))
        await eventually(lambda: it.runs() == {"new": "queued"})


@pytest.mark.parametrize("has_ids", [True, False])
async def test_a_topic_made_anew_and_as_long_is_noticed_while_it_runs(
    kafka: FakeKafka, tmp_path: Path, *, has_ids: bool
) -> None:
    """By its id, or where the broker gives none by the record that was read last."""
    put(kafka, state("old"), state("older"))
    if has_ids:
        kafka.ids[TOPICS.state] = "first"
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: len(it.runs()) == 2)
        remade(kafka, "second" if has_ids else None)
        put(kafka, state("new"), state("newer"), state("newest"))
        await eventually(lambda: it.runs().keys() == {"new", "newer", "newest"})
        assert "made anew" in it.database.why_rebuilt


def remade(kafka: FakeKafka, topic_id: str | None) -> None:
    """Make the topic of the states anew; who reads it goes on at its offset, in the new one."""
    kafka.logs[TOPICS.state][0].entries.clear()
    if topic_id is not None:
        kafka.ids[TOPICS.state] = topic_id


async def test_an_id_counts_from_when_the_broker_gives_it(kafka: FakeKafka, tmp_path: Path) -> None:
    """Brokers that were upgraded are no reason to read everything again; another id is, whatever the records are."""
    put(kafka, state("a"))
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: it.runs() == {"a": "queued"})
        epoch = it.database.epoch
    kafka.ids[TOPICS.state] = "first"
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: it.standing.was_complete)
        assert it.database.epoch == epoch
    kafka.ids[TOPICS.state] = "second"
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: "its id is second now, and was first" in it.database.why_rebuilt)
        await eventually(lambda: it.runs() == {"a": "queued"})


async def test_how_much_is_asked_at_a_look_does_not_grow_with_the_partitions(kafka: FakeKafka) -> None:
    """With ids nothing but those; without, one record of each topic, of each partition in turn."""
    kafka.logs[TOPICS.state] = [Log() for _ in range(8)]
    asked: list[str] = []
    kafka.fault = asked.append
    marks: dict[TopicPartition, Checkpoint] = {}
    for number, log in enumerate(kafka.logs[TOPICS.state]):
        record = log.append(state(f"r{number}"), "committed")
        marks[TopicPartition(TOPICS.state, number)] = Checkpoint(1, 0, print_of(record))
    sameness = Sameness(kafka, [TOPICS.state])
    for _ in range(3):
        assert await sameness.check({}, marks, is_whole=False) == {}
    assert asked == ["topic_ids", "bounds", "reader", "fetch"] * 3
    kafka.logs[TOPICS.state][5].entries[0].timestamp += 1
    looks = [await outcome(sameness.check({}, marks, is_whole=False)) for _ in marks]
    assert [each for each in looks if each] == [f"{TOPICS.state} partition 5 was made anew"]
    kafka.ids[TOPICS.state] = "first"
    asked.clear()
    assert await sameness.check({TOPICS.state: "first"}, marks, is_whole=True) == {}
    assert asked == ["topic_ids"]


async def outcome(checking: Awaitable[object]) -> str:
    """Return why a topic is another one, empty where it is not."""
    try:
        await checking
    except Anew as why:
        return str(why)
    return ""


async def test_what_retention_removed_unread_is_told(kafka: FakeKafka, tmp_path: Path) -> None:
    """Of a log the rest is shown, with a note; of the states nothing may be missing, so they are read anew."""
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: it.standing.was_complete)
    kafka.logs[TOPICS.alerts][0].first = 50
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: it.standing.was_complete)
        # Nothing had been read of it: it begins where the topic does.
        assert "removed" not in it.notes()
    put(kafka, state("a"))
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: it.runs() == {"a": "queued"})
    put(kafka, *(state(f"r{number}") for number in range(5)))
    log = kafka.logs[TOPICS.state][0]
    log.first = log.entries[4].offset
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: "begins at" in it.database.why_rebuilt)
        await eventually(lambda: it.runs().keys() == {f"r{number}" for number in range(2, 5)})
        assert it.database.rebuilds == {RebuildCause.RETENTION: 1}


async def test_a_broker_that_is_away_is_told_and_awaited(kafka: FakeKafka, tmp_path: Path) -> None:
    """What was read stays; the notes say why nothing new comes."""
    put(kafka, state("a"))
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: it.runs() == {"a": "queued"})

        def away(point: str) -> None:
            raise BrokerUnavailable(f"no broker answers ({point})")

        kafka.fault, works = away, kafka.fault
        await eventually(lambda: "Kafka cannot be read" in it.notes())
        assert it.standing.halt is Halt.KAFKA
        assert it.runs() == {"a": "queued"}
        kafka.fault = works
        put(kafka, state("b"))
        await eventually(lambda: it.runs().keys() == {"a", "b"})
        await eventually(lambda: not it.notes())
        assert it.standing.halt is None


@pytest.mark.parametrize(
    ("error", "is_rebuilt"),
    [(sqlite3.OperationalError("database or disk is full"), False), (sqlite3.DatabaseError("malformed"), True)],
)
async def test_trouble_with_the_disk_is_waited_out_and_damage_is_rebuilt(
    kafka: FakeKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, *, is_rebuilt: bool
) -> None:
    """A full disk may get room: what was written holds. A damaged file is made anew. Nothing is lost either way."""
    put(kafka, state("a"))
    async with following(kafka, tmp_path) as it:
        await eventually(lambda: it.runs() == {"a": "queued"})
        before = it.database.epoch
        failing = _Failing(error)
        monkeypatch.setattr("streamproc.console.following.write", failing)
        put(kafka, state("b"))
        await eventually(lambda: failing.count > 0)
        if not is_rebuilt:
            await eventually(lambda: "disk is full" in it.notes())
            assert it.standing.halt is Halt.DISK
        monkeypatch.undo()
        await eventually(lambda: it.runs().keys() == {"a", "b"})
        assert (it.database.epoch != before) == is_rebuilt
        assert (it.database.rebuilds[RebuildCause.DAMAGED] > 0) == is_rebuilt


class _Failing:
    def __init__(self, error: Exception) -> None:
        self._error = error
        self.count = 0

    def __call__(self, *_: object) -> None:
        self.count += 1
        raise self._error


async def test_cancelled_in_the_middle_of_a_write_the_write_comes_to_its_end(
    kafka: FakeKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody closes the file under the thread that writes."""
    put(kafka, state("a"))
    held, entered = asyncio.Event(), asyncio.Event()
    loop, write = asyncio.get_running_loop(), _write()

    def slow(*arguments: object) -> None:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(held.wait(), loop).result()
        write(*arguments)

    monkeypatch.setattr("streamproc.console.following.write", slow)
    async with following(kafka, tmp_path):
        await entered.wait()
        loop.call_soon(held.set)
    monkeypatch.undo()
    database = Database(tmp_path / "console.sqlite", {})
    assert runs_in(database).keys() == {"a"}
    database.close()


def _write() -> Callable[..., None]:
    from streamproc.console.model.writing import write

    return write
