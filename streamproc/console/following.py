"""Reads the topics into the read model: read committed, without a consumer group, from the read model's own offsets.

Rows and offsets are written in one SQLite transaction, so the process may be killed at any point.
"""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import NamedTuple, TypeVar

import structlog

from streamproc.backoff import Backoff
from streamproc.codec.arrival import Arrival
from streamproc.console.intake import Intake
from streamproc.console.model.database import Database, RebuildCause
from streamproc.console.model.entries import Checkpoint
from streamproc.console.model.retention import HistoryRetention, tidy
from streamproc.console.model.runs import RunTable
from streamproc.console.model.writing import marks as marks_in
from streamproc.console.model.writing import topic_ids, write, write_topic_ids
from streamproc.console.objects import Unlearned
from streamproc.console.sameness import Anew, Sameness
from streamproc.console.status import FollowerStatus, Halt
from streamproc.errors import BrokerUnavailable
from streamproc.interrupts import to_its_end
from streamproc.runtime.denied import Denied
from streamproc.runtime.granting import granted, patience
from streamproc.runtime.ports import Fetched, Fetcher, Gone, Kafka, TopicPartition, Unreadable

RECORDS_AT_ONCE = 8_000
"""Records in one transaction; all partitions share them."""
LEAST_SHARE = 100
FEW = 500
"""After a poll with fewer records, the next poll may wait."""
POLL_S = 0.5
PACE_S = 0.2
"""Time between polls with few records: each costs a transaction."""
LOOK_S = 30.0
"""Time between checks of which topics exist."""
TIDY_S = 5.0
QUIET_S = 10.0
"""After this time without writing, the write-ahead log is folded into the file."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0
"""What is shown is behind meanwhile, and says so; no event waits for it."""

T = TypeVar("T")

log = structlog.get_logger(__name__)

Ask = Callable[[bytes], Awaitable[None]]
"""Asks a registry for a schema; returns once the book knows the schema, or its refusal."""


class Parts(NamedTuple):
    """The parts that the follower works with. `pool`: has one thread, which does all writing."""

    kafka: Kafka
    intake: Intake
    database: Database
    runs: RunTable
    retention: HistoryRetention
    standing: FollowerStatus
    pool: Executor
    ask: Ask
    news: Callable[[], None]


class Follower:
    """Follows the topics until it is cancelled, through all failures."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._standing = parts.standing
        self._sameness = Sameness(parts.kafka, parts.intake.topics)
        self._tidied_at = self._written_at = time.monotonic()
        self._log_is_folded = False

    async def run(self) -> None:
        """Follow the topics; failures are reported by the status and the log, and retried."""
        backoff, denials = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S), patience()
        while True:
            try:
                await self._follow(backoff)
            except Anew as why:
                log.warning("the read model is built anew", why=str(why))
                await self._rebuild(why.cause, str(why))
            except sqlite3.DatabaseError as error:
                if _is_outside(error):
                    await self._wait(backoff, Halt.DISK, f"the read model cannot be written: {error}")
                else:
                    log.warning("the read model is damaged and is built anew", error=str(error))
                    await self._rebuild(RebuildCause.DAMAGED, f"it was damaged ({error})")
            except Denied as denied:
                self._halt(Halt.KAFKA, f"Kafka cannot be read: {denied}")
                await granted(self._parts.kafka, denied, denials)
            except (BrokerUnavailable, OSError) as error:
                await self._wait(backoff, Halt.KAFKA, f"Kafka cannot be read: {error}")

    async def _wait(self, backoff: Backoff, halt: Halt, trouble: str) -> None:
        self._halt(halt, trouble)
        await asyncio.sleep(backoff.failed())

    def _halt(self, halt: Halt, trouble: str) -> None:
        if trouble != self._standing.trouble:
            log.warning("reading the topics has come to a halt and is tried again", trouble=trouble)
        self._standing.halted(halt, trouble)

    async def _rebuild(self, cause: RebuildCause, why: str) -> None:
        await self._in_pool(lambda: self._parts.database.rebuild(cause, why))
        self._standing.begin()
        self._parts.news()

    async def _follow(self, backoff: Backoff) -> None:
        fetcher = await self._parts.kafka.fetcher()
        try:
            places = await self._begin(fetcher)
            looked_at = time.monotonic()
            backoff.succeeded()
            while True:
                if time.monotonic() - looked_at > LOOK_S:
                    places, looked_at = await self._look(fetcher, places), time.monotonic()
                began_at = time.monotonic()
                count = await self._turn(fetcher, places)
                await self._between(count)
                if count < FEW:
                    await asyncio.sleep(max(0.0, began_at + PACE_S - time.monotonic()))
        finally:
            await fetcher.close()

    async def _begin(self, fetcher: Fetcher) -> list[TopicPartition]:
        """Seek to where the read model ends; raises Anew where a topic is not the one that was read."""
        places, marks = await self._checked((), is_whole=True)
        await asyncio.gather(*(self._enter(fetcher, place, marks.get(place)) for place in places))
        return places

    async def _look(self, fetcher: Fetcher, before: Sequence[TopicPartition]) -> list[TopicPartition]:
        places, _ = await self._checked(before, is_whole=False)
        await asyncio.gather(*(self._enter(fetcher, place, None) for place in places if place not in before))
        return places

    async def _checked(
        self, before: Sequence[TopicPartition], *, is_whole: bool
    ) -> tuple[list[TopicPartition], Mapping[TopicPartition, Checkpoint]]:
        """Return the partitions, and how far they were read; raises Anew where a topic is not the one that was read."""
        writer = self._parts.database.writer
        marks, ids = await self._in_pool(lambda: (marks_in(writer), topic_ids(writer)))
        places = await self._places()
        if vanished := [place for place in (*before, *marks) if place not in places]:
            raise Anew(f"{vanished[0]} is gone")
        if new_ids := await self._sameness.check(ids, marks, is_whole=is_whole):
            await self._in_pool(lambda: write_topic_ids(writer, new_ids))
        return places, marks

    async def _enter(self, fetcher: Fetcher, place: TopicPartition, mark: Checkpoint | None) -> None:
        first, last = await self._parts.kafka.bounds(*place)
        at = first if mark is None else mark.next
        if at > last:
            raise Anew(f"{place} ends at {last}, and was read up to {at}: it was made anew")
        if mark is None and place.topic != self._parts.intake.state_topic:
            # Records older than the retention need not be read.
            since_ms = int(time.time() * 1_000) - self._parts.retention.keep_ms
            at = await self._parts.kafka.offset_at(*place, since_ms) or first
        if at < first:
            self._pass_over(place, at, first)
            at = first
        fetcher.seek(place, at)
        self._standing.read({place: at})
        self._standing.lags({place: last - at}, is_complete=False)

    async def _places(self) -> list[TopicPartition]:
        places: list[TopicPartition] = []
        for topic in self._parts.intake.topics:
            count = await self._parts.kafka.partition_count(topic)
            places += [TopicPartition(topic, number) for number in range(count)]
            is_missing = not count and topic != self._parts.intake.receipts_topic  # Made by the first replay.
            self._standing.note(topic, f"there is no topic {topic}" if is_missing else "")
        return places

    async def _turn(self, fetcher: Fetcher, places: Sequence[TopicPartition]) -> int:
        """Poll once and write the records; return how many there were."""
        behind = sum(fetcher.lag(place) != 0 for place in places)
        share = max(LEAST_SHARE, RECORDS_AT_ONCE // max(behind, 1))
        fetched = await fetcher.poll(dict.fromkeys(places, share), POLL_S)
        records = {place: batch.records for place, batch in fetched.items() if batch.records}
        if records:
            await self._write(records, {place: fetcher.position(place) for place in records})
        for place, batch in fetched.items():
            if batch.trouble is not None:
                self._pass(fetcher, place, batch)
        lag = {place: lag for place in places if (lag := fetcher.lag(place)) is not None}
        self._standing.lags(lag, is_complete=all(map(fetcher.read_all, places)))
        return sum(map(len, records.values()))

    async def _write(
        self, records: Mapping[TopicPartition, Sequence[Arrival]], ends: Mapping[TopicPartition, int]
    ) -> None:
        parts = self._parts

        def work() -> None:
            write(parts.database, parts.runs, parts.intake.batch(records, ends))

        while True:
            try:
                await self._in_pool(work)
                break
            except Unlearned as missing:
                await parts.ask(missing.header)
        for topic, count in parts.intake.unreadable.items():
            self._standing.note(f"{topic} unreadable", f"{count:,} records of {topic} cannot be read and are left out")
        self._standing.read(ends, sum(map(len, records.values())))
        self._written_at, self._log_is_folded = time.monotonic(), False
        parts.news()

    def _pass(self, fetcher: Fetcher, place: TopicPartition, batch: Fetched) -> None:
        """Skip offsets that cannot be read; raises Denied, and Anew where the topic was made anew."""
        trouble = batch.trouble
        if isinstance(trouble, Denied):
            raise trouble
        if isinstance(trouble, Unreadable):
            self._standing.note(f"{place} unreadable", f"{trouble}; they are left out")
            self._standing.skipped[place.topic] += trouble.last - trouble.first + 1
            fetcher.seek(place, trouble.last + 1)
        elif isinstance(trouble, Gone):
            if trouble.first is None:
                raise Anew(f"{place} was made anew: {trouble}")
            self._pass_over(place, None, trouble.first)
            fetcher.seek(place, trouble.first)

    def _pass_over(self, place: TopicPartition, at: int | None, first: int) -> None:
        """Note that retention removed unread records; raises Anew for the state topic, where none may be missing."""
        if place.topic == self._parts.intake.state_topic:
            why = f"{place} begins at {first} now: what was forgotten before that is not known"
            raise Anew(why, RebuildCause.RETENTION)
        since = "" if at is None else f" from {at}"
        log.warning("retention removed what was unread", topic=place.topic, partition=place.partition, first=first)
        self._standing.note(f"{place} gap", f"{place} was removed{since} up to {first} before it was read")

    async def _between(self, count: int) -> None:
        """Do what is not urgent: remove old rows, and fold the write-ahead log when no records arrive."""
        clock_s = time.monotonic()
        parts = self._parts
        if clock_s - self._tidied_at > TIDY_S and self._standing.was_complete:
            now_ms = int(time.time() * 1_000)
            has_more = await self._in_pool(lambda: tidy(parts.database, parts.retention, now_ms))
            self._tidied_at = 0.0 if has_more else clock_s
        elif not count and clock_s - self._written_at > QUIET_S and not self._log_is_folded:
            await self._in_pool(parts.database.fold_log)
            self._log_is_folded = True

    async def _in_pool(self, work: Callable[[], T]) -> T:
        """Run in the writing thread, to the end even if cancelled: two writers must never overlap."""
        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._parts.pool, work))


def _is_outside(error: sqlite3.DatabaseError) -> bool:
    """Tell whether the disk fails, rather than the content of the file."""
    return isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error)
