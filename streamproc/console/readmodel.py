"""Answers from the read model. Each takes a few queries in a reader thread, on one snapshot."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from sqlite3 import Connection
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from streamproc.awaiting import set_within
from streamproc.console.answers.common import AsOf
from streamproc.console.answers.fleet import ConsoleHealth, Overview, PipelineState, Series
from streamproc.console.answers.runs import History, Link, RunDetail, Runs, Values
from streamproc.console.answers.signals import Alerts, LetterDetail, Letters
from streamproc.console.model.database import Database
from streamproc.console.news import News
from streamproc.console.payloads import NO_RIGHT, PayloadReader
from streamproc.console.qualifiers import Filter
from streamproc.console.queries import fleet, history, pipeline, runs, signals
from streamproc.console.queries.cursors import cursor, key_in
from streamproc.console.queries.history import Topics
from streamproc.console.queries.runs import StoredRun
from streamproc.console.queries.view import View
from streamproc.console.reads import AlertFilter, Event, LetterFilter, NotFound, Page, SeriesFilter, StreamFilter
from streamproc.console.status import FollowerStatus
from streamproc.console.streaming import events, id_of, kinds_of, read_in
from streamproc.settings.console import RUN_ID
from streamproc.version import installed

T = TypeVar("T")

FAILURES_MS, HOUR_MS = 300_000, 3_600_000
LATEST_ALERTS = 5
EVENTS_AT_ONCE = 200
HEARTBEAT_S = 10.0
BEHIND_S = 10.0


class AnswerSources(NamedTuple):
    """The parts that answers are made from. `pool`: its threads read the database. `links`: templates by name."""

    database: Database
    pool: Executor
    standing: FollowerStatus
    news: News
    view: View
    topics: Topics
    state_topic: str
    payloads: PayloadReader
    links: dict[str, str]


class ReadModel:
    """`Reads`, from the read model. `listeners`: the number of open event streams."""

    def __init__(self, sources: AnswerSources, clock: Callable[[], float] = time.time) -> None:
        self._sources = sources
        self._clock = clock
        self.listeners = 0

    async def overview(self) -> Overview:
        """Return the state of the fleet."""
        view, now_ms = self._sources.view, self._now_ms()

        def query(db: Connection) -> Overview:
            statuses, rates = fleet.statuses(db, view, now_ms), fleet.rates(db, now_ms)
            lately = [rate for rate in rates if rate.start >= now_ms - FAILURES_MS]
            ended, failed = sum(rate.ended for rate in lately), sum(rate.failed for rate in lately)
            sizes = fleet.sizes(db)
            hour = SeriesFilter(now_ms - HOUR_MS, now_ms)
            windows = fleet.windows(db, hour, sizes[0], HOUR_MS // sizes[0]) if sizes else []
            firing = AlertFilter(state=signals.FIRING)
            letters, open_letters = signals.letter_counts(db)
            return Overview(
                runs=sum(status.count for status in statuses),
                open_runs=sum(status.count for status in statuses if status.is_open),
                statuses=statuses,
                rates=rates,
                per_second=round(sum(rate.transitions for rate in rates[-7:-1]) / 60, 2),
                failure_rate=failed / ended if ended else None,
                ended=ended,
                tokens=dict(fleet.summed(windows)),
                firing=signals.firing(db, now_ms),
                alerts=signals.alerts(db, firing, LATEST_ALERTS, None, now_ms)[0],
                dead_letters=letters,
                dead_letters_open=open_letters,
                as_of=self._as_of(),
            )

        return await self._read(query)

    async def runs(self, wanted: Filter, sort: str, page: Page) -> Runs:
        """Return a page of runs."""
        view, now_ms, epoch = self._sources.view, self._now_ms(), self._sources.database.epoch
        # A cursor of another sort or filter would skip runs, or show them twice.
        of = f"runs {sort} {wanted.text()}"
        kinds = (str, int) if wanted.run_id else (int, int)
        behind = None if page.cursor is None else tuple(key_in(page.cursor, epoch, of, kinds))

        def query(db: Connection) -> Runs:
            part = runs.page(db, view, wanted, sort, page.limit, behind, now_ms)
            return Runs(
                items=part.runs,
                next=None if part.last is None else cursor(epoch, of, part.last),
                total=runs.total(db, view, wanted),
                is_partial=part.is_partial,
                as_of=self._as_of(),
            )

        return await self._read(query)

    async def run(self, run_id: str, *, payload: bool) -> RunDetail:
        """Return one run."""
        view, topics = self._sources.view, self._sources.topics

        def query(db: Connection) -> tuple[StoredRun | None, bool]:
            return runs.one(db, view, run_id), bool(history.steps(db, topics, run_id, 1, None))

        stored, has_history = await self._read(query)
        if stored is None and not has_history:
            raise NotFound(run_id)
        shown, note = None, None if payload else NO_RIGHT
        if stored is not None and payload:
            shown, note = await self._sources.payloads.of_run(stored)
        links = [
            Link(name=name, url=template.replace(RUN_ID, _quoted(run_id)))
            for name, template in self._sources.links.items()
        ]
        run = None if stored is None else stored.run
        return RunDetail(run=run, object=shown, object_note=note, links=links, as_of=self._as_of())

    async def history(self, run_id: str, page: Page) -> History:
        """Return the history of a run."""
        topics, epoch, of = self._sources.topics, self._sources.database.epoch, f"history {run_id}"
        behind = None
        if page.cursor is not None:
            at, kind, partition, offset = key_in(page.cursor, epoch, of, (int, int, int, int))
            behind = at, kind, partition, offset
        steps = await self._read(lambda db: history.steps(db, topics, run_id, page.limit + 1, behind))
        if not steps and page.cursor is None:
            await self._refuse_unknown(run_id)
        has_more = len(steps) > page.limit
        return History(
            items=[step for _, step in steps[: page.limit]],
            next=cursor(epoch, of, steps[page.limit - 1][0]) if has_more else None,
            as_of=self._as_of(),
        )

    async def values(self, qualifier: str, prefix: str, limit: int) -> Values:
        """Return the completions of a qualifier."""

        def query(db: Connection) -> Values:
            return Values(items=fleet.values(db, qualifier, prefix, limit), as_of=self._as_of())

        return await self._read(query)

    async def alerts(self, wanted: AlertFilter, page: Page) -> Alerts:
        """Return a page of alerts."""
        now_ms, epoch, of = self._now_ms(), self._sources.database.epoch, f"alerts {tuple(wanted)}"
        behind = None if page.cursor is None else key_in(page.cursor, epoch, of, (int, str))

        def query(db: Connection) -> Alerts:
            items, last = signals.alerts(db, wanted, page.limit, behind, now_ms)
            following = None if last is None else cursor(epoch, of, last)
            return Alerts(items=items, next=following, firing=signals.firing(db, now_ms), as_of=self._as_of())

        return await self._read(query)

    async def letters(self, wanted: LetterFilter, page: Page) -> Letters:
        """Return a page of dead letters."""
        epoch, of = self._sources.database.epoch, f"letters {tuple(wanted)}"
        behind = None if page.cursor is None else key_in(page.cursor, epoch, of, (int, int, int))

        def query(db: Connection) -> Letters:
            items, last = signals.letters(db, wanted, page.limit, behind)
            following = None if last is None else cursor(epoch, of, last)
            return Letters(items=items, groups=signals.groups(db), next=following, as_of=self._as_of())

        return await self._read(query)

    async def letter(self, partition: int, offset: int, *, payload: bool) -> LetterDetail:
        """Return one dead letter."""
        letter = await self._read(lambda db: signals.letter(db, partition, offset))
        if letter is None:
            raise NotFound(f"{partition}:{offset}")
        detail = LetterDetail(letter=letter, object=None, hex=[], headers=[], note=None, as_of=self._as_of())
        if not payload:
            detail.note = NO_RIGHT
            return detail
        await self._sources.payloads.add_to(detail)
        return detail

    async def series(self, wanted: SeriesFilter, page: Page) -> Series:
        """Return windows."""
        epoch, of = self._sources.database.epoch, f"series {tuple(wanted)}"
        if page.cursor is not None:
            wanted = wanted._replace(since_ms=key_in(page.cursor, epoch, of, (int,))[0] + 1)

        def query(db: Connection) -> Series:
            sizes = fleet.sizes(db)
            size_ms = wanted.size_s * 1_000 if wanted.size_s else next(iter(sizes), 0)
            points = fleet.windows(db, wanted, size_ms, page.limit + 1)
            has_more = len(points) > page.limit
            return Series(
                size_s=size_ms // 1_000,
                sizes_s=[size // 1_000 for size in sizes],
                items=points[: page.limit],
                next=cursor(epoch, of, [points[page.limit - 1].start]) if has_more else None,
                as_of=self._as_of(),
            )

        return await self._read(query)

    async def pipeline(self) -> PipelineState:
        """Return the instances and the partitions."""
        view, standing, now_ms = self._sources.view, self._sources.standing, self._now_ms()
        count = standing.partitions(self._sources.state_topic)
        instances, partitions = await self._read(lambda db: pipeline.reports(db, view.topic, count, now_ms))
        return PipelineState(
            instances=instances, items=partitions, next=None, console_behind=standing.lag(), as_of=self._as_of()
        )

    async def health(self) -> ConsoleHealth:
        """Return the health of the console itself."""
        as_of, standing = self._as_of(), self._sources.standing
        counted = await self._read(lambda db: sum(runs.counts(db, "status").values()))
        message = "all that Kafka has is here"
        status: Any = "ok"
        if standing.trouble:
            status, message = "kafka_unavailable", standing.trouble
        elif as_of.rebuild is not None:
            status, message = "rebuilding", f"the read model is being built: {self._sources.database.why_rebuilt}"
        elif not standing.was_complete or as_of.behind_s > BEHIND_S:
            status, message = "behind", f"the read model is {as_of.behind_s:.0f} s behind"
        size = self._sources.database.bytes()
        return ConsoleHealth(
            status=status, version=installed(), message=message, database_bytes=size, runs=counted, as_of=as_of
        )

    async def events(self, wanted: StreamFilter, last_id: str | None) -> AsyncIterator[Sequence[Event]]:
        """Yield events as they come."""
        topics, kinds = self._sources.topics, kinds_of(wanted)
        read = await self._read(lambda db: history.ends(db, kinds))
        if last_id:
            read |= read_in(last_id)
        self.listeners += 1
        try:
            yield [] if last_id else [Event(id_of(read))]
            while True:
                coming = self._sources.news.coming()
                tellings = await self._read(lambda db: history.since(db, topics, read, kinds, EVENTS_AT_ONCE))
                if tellings:
                    if shown := events(tellings, read, wanted):
                        yield shown
                    continue
                if not await set_within(coming, HEARTBEAT_S):
                    yield []
        finally:
            self.listeners -= 1

    async def _refuse_unknown(self, run_id: str) -> None:
        view = self._sources.view
        if await self._read(lambda db: runs.one(db, view, run_id)) is None:
            raise NotFound(run_id)

    async def _read(self, query: Callable[[Connection], T]) -> T:
        loop, database = asyncio.get_running_loop(), self._sources.database
        return await loop.run_in_executor(self._sources.pool, database.read, query)

    def _as_of(self) -> AsOf:
        return self._sources.standing.as_of()

    def _now_ms(self) -> int:
        return int(self._clock() * 1_000)


def _quoted(run_id: str) -> str:
    return quote(run_id, safe="")
