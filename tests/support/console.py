"""The console's questions answered from a made-up fleet, in memory; and an application of its pages around that."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from streamproc.console.answers.common import AsOf
from streamproc.console.answers.fleet import ConsoleHealth, Overview, PipelineState, Series, StatusCount
from streamproc.console.answers.runs import History, Link, Run, RunDetail, Runs, Step, Values
from streamproc.console.answers.signals import Alerts, LetterDetail, LetterGroup, Letters, Replay
from streamproc.console.callers import Caller
from streamproc.console.pages.options import PageOptions
from streamproc.console.pages.routing import error_page, routes
from streamproc.console.qualifiers import Filter
from streamproc.console.reads import (
    AlertFilter,
    BadCursor,
    Event,
    LetterFilter,
    NotFound,
    Page,
    SeriesFilter,
    StreamFilter,
)
from tests.support import fleet
from tests.support.fleet import HOSTILE, LIMITS_S, MEGABYTE, NOW_MS, OUTCOMES, SECOND, Life

OPERATOR = Caller(name="olga", is_operator=True, sees_payloads=True, csrf="token-of-olga")
VIEWER = Caller(name="viktor", is_operator=False, sees_payloads=False, csrf="")
NOW_S = NOW_MS / SECOND
STATUSES = (*LIMITS_S, *OUTCOMES)


class FakeReads:
    """A fleet that stands still until a test moves it. `as_of`, `failure`: what a test may set."""

    def __init__(self, *, hostile: bool = True) -> None:
        self.lives = {life.run.run_id: life for life in fleet.lives(hostile=hostile)}
        self.alarms = fleet.alerts([*self.lives.values()])
        self.mail = fleet.letters(hostile=hostile)
        self.as_of: AsOf = fleet.as_of()
        self.failure: Exception | None = None
        self.listeners: list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[Event]]] = []
        self.overviews = 0

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def overview(self) -> Overview:
        self._check()
        self.overviews += 1
        runs, rates = [life.run for life in self.lives.values()], fleet.rates()
        last = rates[-30:]
        firing = [alert for alert in self.alarms if alert.state == "firing"]
        return Overview(
            runs=len(runs),
            open_runs=sum(run.is_open for run in runs),
            statuses=[_count(status, [run for run in runs if run.status == status]) for status in STATUSES],
            rates=rates,
            per_second=sum(rate.transitions for rate in rates[-6:]) / 60,
            failure_rate=sum(rate.failed for rate in last) / sum(rate.ended for rate in last),
            ended=sum(rate.ended for rate in last),
            tokens={"prompt": 41_250_000, "completion": 8_310_000},
            firing=len(firing),
            alerts=firing[:8],
            dead_letters=len(self.mail),
            dead_letters_open=sum(letter.replayed_at is None for letter in self.mail),
            as_of=self.as_of,
        )

    async def runs(self, wanted: Filter, sort: str, page: Page) -> Runs:
        self._check()
        found = [life.run for life in self.lives.values() if _fits(life.run, wanted)]
        found.sort(key=lambda run: run.ends_first_at or NOW_MS * 2 if sort == "deadline" else run.status_since)
        if sort == "-since":
            found.reverse()
        items, following = _cut(found, page)
        return Runs(
            items=items,
            next=following,
            total=len(found) if not wanted.metadata else None,
            is_partial=bool(wanted.metadata),
            as_of=self.as_of,
        )

    async def run(self, run_id: str, *, payload: bool) -> RunDetail:
        self._check()
        life = self._life(run_id)
        return RunDetail(
            run=life.run,
            object=_object(life.run) if payload else None,
            object_note=None if payload else "no right to payloads",
            links=[
                Link(name="traces", url="https://traces.example/?run=1&a=<b>"),
                Link(name="bad", url="javascript:alert(1)"),
            ],
            as_of=self.as_of,
        )

    async def history(self, run_id: str, page: Page) -> History:
        self._check()
        items, following = _cut(self._life(run_id).steps, page)
        return History(items=items, next=following, as_of=self.as_of)

    async def values(self, qualifier: str, prefix: str, limit: int) -> Values:
        names = {"status": "status", "assistant": "assistant_id", "model": "model", "error": "error_code"}
        if qualifier not in names:
            return Values(items=[], as_of=self.as_of)
        counted = Counter(getattr(life.run, names[qualifier]) for life in self.lives.values())
        items = [(value, n) for value, n in counted.most_common() if value and value.startswith(prefix)]
        return Values(items=items[:limit], as_of=self.as_of)

    async def alerts(self, wanted: AlertFilter, page: Page) -> Alerts:
        self._check()
        found = [
            alert
            for alert in self.alarms
            if wanted.state in (None, alert.state)
            and wanted.kind in (None, alert.kind)
            and wanted.run_id in (None, alert.run_id)
            and wanted.assistant in (None, alert.assistant_id)
        ]
        items, following = _cut(found, page)
        firing = sum(alert.state == "firing" for alert in self.alarms)
        return Alerts(items=items, next=following, firing=firing, as_of=self.as_of)

    async def letters(self, wanted: LetterFilter, page: Page) -> Letters:
        self._check()
        items, following = _cut(self.chosen(wanted), page)
        return Letters(items=items, groups=self._groups(), next=following, as_of=self.as_of)

    def chosen(self, wanted: LetterFilter) -> list[Any]:
        return [
            letter
            for letter in self.mail
            if wanted.reason in (None, letter.reason)
            and wanted.schema in (None, letter.schema)
            and wanted.topic in (None, letter.source_topic)
            and wanted.partition in (None, letter.source_partition)
            and not (wanted.open_only and letter.replayed_at)
        ]

    def _groups(self) -> list[LetterGroup]:
        places: dict[tuple[str, str, str, int], list[Any]] = {}
        for letter in self.mail:
            key = letter.reason, letter.schema, letter.source_topic, letter.source_partition
            places.setdefault(key, []).append(letter)
        groups = [
            LetterGroup(
                reason=reason,
                schema=schema,
                source_topic=topic,
                source_partition=partition,
                count=len(found),
                open=sum(letter.replayed_at is None for letter in found),
                first_at=found[-1].written_at,
                last_at=found[0].written_at,
            )
            for (reason, schema, topic, partition), found in places.items()
        ]
        return sorted(groups, key=lambda group: -group.count)

    async def letter(self, partition: int, offset: int, *, payload: bool) -> LetterDetail:
        self._check()
        for letter in self.mail:
            if (letter.partition, letter.offset) == (partition, offset):
                raw = b'\x00\x00\x00\x12\x67\x22run_<b>"' * 12
                lines = [f"{n:08x}  {raw[n : n + 16].hex(' '):<47}  {'.' * 16}" for n in range(0, len(raw), 16)]
                return LetterDetail(
                    letter=letter,
                    object={"event": "thread.run.created", "data": {"id": HOSTILE[0], "n": [1, 2.5, None, True]}}
                    if payload
                    else None,
                    hex=lines if payload else [],
                    headers=[["streamproc.error.reason", letter.reason], ["<b>odd</b>", HOSTILE[16]]],
                    note=None if payload else "no right to payloads",
                    as_of=self.as_of,
                )
        raise NotFound

    async def series(self, wanted: SeriesFilter, page: Page) -> Series:
        self._check()
        size_s = wanted.size_s or 60
        found = fleet.windows(wanted.since_ms, wanted.until_ms, size_s)
        items, following = _cut(found, page)
        return Series(size_s=size_s, sizes_s=[60, 300, 3_600], items=items, next=following, as_of=self.as_of)

    async def pipeline(self) -> PipelineState:
        self._check()
        return PipelineState(
            instances=fleet.instances(),
            items=fleet.partitions(),
            next=None,
            console_behind={"run-state:0": 0, "run-transitions:3": 120},
            as_of=self.as_of,
        )

    async def health(self) -> ConsoleHealth:
        return ConsoleHealth(
            status="ok", version="0.1.0", message="", database_bytes=812_000_000, runs=len(self.lives), as_of=self.as_of
        )

    async def events(self, wanted: StreamFilter, last_id: str | None) -> AsyncIterator[Sequence[Event]]:
        assert last_id is None
        queue: asyncio.Queue[Event] = asyncio.Queue()
        listener = asyncio.get_running_loop(), queue
        self.listeners.append(listener)
        try:
            while True:
                event = await queue.get()
                if wanted.run_id in {None, event.run_id}:
                    yield [event]
        finally:
            self.listeners.remove(listener)

    def _life(self, run_id: str) -> Life:
        if run_id not in self.lives:
            raise NotFound
        return self.lives[run_id]

    def move(self, run_id: str, status: str) -> Event:
        """Let a run enter a status, and tell those who listen, from whatever thread."""
        life = self.lives[run_id]
        run, at = life.run, NOW_MS + len(life.steps)
        step = Step(
            what="arrival",
            at=at,
            recorded_at=at,
            verdict="applied",
            from_status=run.status,
            to_status=status,
            in_from_ms=at - run.status_since,
            outcome=OUTCOMES.get(status),
            topic="run-transitions",
        )
        life.steps.append(step)
        run.status, run.status_since, run.outcome, run.is_open = status, at, OUTCOMES.get(status), status in LIMITS_S
        event = Event(f"{at}", "transition", run_id, run.assistant_id, run.model, step)
        for loop, queue in [*self.listeners]:
            loop.call_soon_threadsafe(queue.put_nowait, event)
        return event


def _count(status: str, runs: list[Run]) -> StatusCount:
    oldest = min(runs, key=lambda run: run.status_since, default=None)
    return StatusCount(
        status=status,
        outcome=OUTCOMES.get(status),
        is_open=status in LIMITS_S,
        count=len(runs),
        overdue=sum(bool(run.alerts) for run in runs),
        oldest_since=oldest.status_since if oldest else None,
        oldest_run_id=oldest.run_id if oldest else None,
        limit_s=LIMITS_S.get(status),
    )


def _fits(run: Run, wanted: Filter) -> bool:
    has = {
        "status": run.status,
        "assistant": run.assistant_id,
        "model": run.model,
        "thread": run.thread_id,
        "error": run.error_code,
        "outcome": run.outcome,
    }
    flags = {"open": run.is_open, "ended": not run.is_open, "overdue": bool(run.alerts), "illegal": run.is_illegal}
    age = NOW_MS - run.status_since
    return (
        all(has[name] in values for name, values in wanted.wanted.items())
        and not any(has[name] in values for name, values in wanted.unwanted.items())
        and all(flags[flag] for flag in wanted.flags)
        and (wanted.older_ms is None or age > wanted.older_ms)
        and (wanted.younger_ms is None or age < wanted.younger_ms)
        and all(run.metadata.get(key) == value for key, value in wanted.metadata.items())
        and run.run_id.startswith(wanted.run_id)
    )


def _cut(found: Sequence[Any], page: Page) -> tuple[list[Any], str | None]:
    """Return a page; a cursor of the fake is a position."""
    if page.cursor and not page.cursor.isdecimal():
        raise BadCursor("the cursor is none")
    start = int(page.cursor or 0)
    end = start + page.limit
    return list(found[start:end]), str(end) if end < len(found) else None


def _object(run: Run) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "object": "thread.run",
        "status": run.status,
        "assistant_id": run.assistant_id,
        "created_at": run.created_at,
        "started_at": None,
        "parallel_tool_calls": True,
        "temperature": 0.7,
        "tools": [{"type": "function", "function": {"name": "lookup_order", "parameters": {"type": "object"}}}],
        "metadata": {**run.metadata, "note": MEGABYTE if run.run_id in HOSTILE[:1] else "none"},
        "empty": {},
        "list": [],
    }


class Api:
    """As much of the API as the pages call. `replays`: what was asked to be sent back."""

    WARNING = "these settings still do not know <b>id:7</b> 2: such dead letters will be rejected again"

    def __init__(self, reads: FakeReads, caller: Callable[[], Caller]) -> None:
        self._reads, self._caller = reads, caller
        self.replays: list[dict[str, Any]] = []

    async def stream(self, request: Request) -> Response:
        async def lines() -> AsyncIterator[bytes]:
            yield b": here\n\n"
            async for events in self._reads.events(StreamFilter(run_id=request.query_params.get("run_id")), None):
                for event in events:
                    data = msgspec.json.encode(event._asdict()).decode()
                    yield f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n".encode()

        return StreamingResponse(lines(), media_type="text/event-stream")

    async def replay(self, request: Request) -> Response:
        asked = await request.json()
        if request.headers.get("x-csrf-token") != self._caller().csrf:
            return JSONResponse({"title": "Forbidden", "detail": "the CSRF token is wrong"}, 403)
        self.replays.append(asked)
        wanted = LetterFilter(asked["reason"], asked["schema"], asked["topic"], asked["partition"], asked["open_only"])
        places = {(partition, offset) for partition, offset in asked["places"]}
        chosen = [one for one in self._reads.chosen(wanted) if not places or (one.partition, one.offset) in places]
        found = [letter for letter in chosen if letter.replayed_at is None]
        if not asked["dry_run"] and asked["expected"] != len(found):
            problem = {"title": "Changed", "detail": f"there are {len(found)} such letters now", "now": len(found)}
            return JSONResponse(problem, 409, media_type="application/problem+json")
        if not asked["dry_run"]:
            for letter in found:
                letter.replayed_at = NOW_MS
        answer = Replay(
            dry_run=asked["dry_run"],
            to_replay=len(found),
            replayed=0 if asked["dry_run"] else len(found),
            counts={"replay": len(found), "already replayed": len(chosen) - len(found)},
            warnings=[self.WARNING] if asked["dry_run"] else [],
        )
        return Response(msgspec.json.encode(answer), media_type="application/json")


class Site:
    """The pages over `reads`, as an application. `caller`: who asks, from now on."""

    def __init__(self, reads: FakeReads, caller: Caller = OPERATOR, now: Callable[[], float] = lambda: NOW_S) -> None:
        self.reads, self.caller = reads, caller
        self.api = Api(reads, lambda: self.caller)
        options = PageOptions(version="0.1.0", clock=now)
        self._app = Starlette(
            routes=[
                *routes(options),
                Route("/api/v1/stream", self.api.stream),
                Route("/api/v1/dead-letters/replay", self.api.replay, methods=["POST"]),
            ],
            exception_handlers={HTTPException: error_page(options)},
        )
        self._app.state.reads = reads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})["caller"] = self.caller
        await self._app(scope, receive, send)
