"""`streamproc console`: makes the console from the settings, and serves it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

import structlog

from streamproc.app import make_book, make_dead_letter_kafka, make_kafka
from streamproc.awaiting import done_before
from streamproc.console.access import Access
from streamproc.console.following import Follower, Parts
from streamproc.console.gate import probes
from streamproc.console.intake import Intake
from streamproc.console.lookups import Lookups
from streamproc.console.metrics import MeasuredParts, Metrics
from streamproc.console.model.database import Database
from streamproc.console.model.entries import StepKind
from streamproc.console.model.retention import HistoryRetention
from streamproc.console.model.runs import RunTable
from streamproc.console.news import News
from streamproc.console.objects import Objects
from streamproc.console.payloads import PayloadReader
from streamproc.console.queries.history import Topics
from streamproc.console.queries.view import View
from streamproc.console.readmodel import AnswerSources, ReadModel
from streamproc.console.replays import Counted, Replays
from streamproc.console.site import application
from streamproc.console.status import FollowerStatus
from streamproc.dlq.limits import limits_of
from streamproc.interrupts import cancelled, stop_on_signal
from streamproc.preflight import complaint
from streamproc.registry.learner import Learner
from streamproc.registry.link import registry_link
from streamproc.registry.observer import SILENT
from streamproc.runtime.config import TopicSettings
from streamproc.settings.service import Settings
from streamproc.web.server import HttpServer

READERS = 4

log = structlog.get_logger(__name__)


class Console(NamedTuple):
    """The parts of a console, for code that serves it in another way."""

    reads: ReadModel
    watched: MeasuredParts
    following: asyncio.Task[None]


async def serve_console(settings: Settings, stop: asyncio.Event, on_listening: Callable[[str], None]) -> None:
    """Follow the topics and serve until `stop` is set; `on_listening` gets the URL.

    Raises ConfigError where the settings do not allow that.
    """
    own = settings.console
    access = Access(own)
    async with _actions(settings) as actions, _console(settings, actions) as console:
        metrics, standing = Metrics(console.watched, settings.life_cycle.name), console.watched.standing
        app = application(console.reads, actions, access, lambda: standing.was_complete, metrics, own.base_path)
        async with HttpServer(app, own.host, own.port, "CONSOLE", probes=probes(own.base_path)) as http:
            on_listening(f"http://{http.host}:{http.port}{own.base_path}/")
            looking = asyncio.create_task(_log_lacking(settings))  # In a task: a Kafka that hangs delays nothing.
            try:
                await _first_of(stop, console.following)
            finally:
                await cancelled(looking)


async def _log_lacking(settings: Settings) -> None:
    """Log all missing rights at once: the follower halts at the first one, and reports only that."""
    kafka, command = make_kafka(settings), "console: with actions" if settings.console.actions else "console"
    try:
        if why := await complaint(kafka, settings, [command]):
            log.error("rights are lacking", why=why)
    finally:
        await kafka.close()


async def _first_of(stop: asyncio.Event, following: asyncio.Task[None]) -> None:
    """Wait until `stop` is set; raises what ends the following before that, which nothing that is foreseen does."""
    await done_before(stop.wait(), following)
    if following.done():
        following.result()


async def run_console(settings: Settings, on_listening: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT."""
    with stop_on_signal() as stop:
        await serve_console(settings, stop, on_listening)


@asynccontextmanager
async def _console(settings: Settings, actions: Counted | None) -> AsyncIterator[Console]:
    """Open the read model, and follow the topics into it until the context ends."""
    topics, own, book = settings.topic_names, settings.console, make_book(settings)
    deadlines, profile = settings.rules().deadlines, settings.life_cycle
    view = View(topics.events, deadlines, profile, own.index_metadata)
    identity = {"topics": repr(topics.by_role()), "profile": profile.name, "deadlines": repr(deadlines)}
    kafka, news = make_kafka(settings), News()
    database = Database(own.database or default_database(settings.application_id), identity, own.index_metadata)
    standing = FollowerStatus(is_new=bool(database.why_rebuilt), untouched_s=database.untouched_s)
    lookups = Lookups(kafka)
    with (
        closing(database),
        ThreadPoolExecutor(READERS, "read") as readers,
        ThreadPoolExecutor(1, "write") as writer,
    ):
        async with registry_link(settings.registry, settings.framing, topics, book, SILENT) as link:
            learner: Learner | None = None if link is None else link.learner
            objects = Objects(book, learner, own.index_metadata)
            parts = Parts(
                kafka=kafka,
                intake=(intake := Intake(topics, objects.metadata)),
                database=database,
                runs=RunTable(view.ends_first, own.index_metadata),
                retention=HistoryRetention(own.retention_s * 1_000, own.max_runs, profile),
                standing=standing,
                pool=writer,
                ask=objects.ask,
                news=news.tell,
            )
            sources = AnswerSources(
                database=database,
                pool=readers,
                standing=standing,
                news=news,
                view=view,
                topics=_history_topics(topics),
                state_topic=topics.state,
                payloads=PayloadReader(lookups, objects, topics.state, topics.dead_letters),
                links=own.links,
            )
            reads, replays = ReadModel(sources), {} if actions is None else actions.outcomes
            watched = MeasuredParts(standing, database, readers, intake, lambda: reads.listeners, replays)
            following = asyncio.create_task(Follower(parts).run(), name="follower")
            try:
                yield Console(reads, watched, following)
            finally:
                await cancelled(following)
                await lookups.close()
                await kafka.close()


def _history_topics(topics: TopicSettings) -> Topics:
    """Return the topics with the history of runs."""
    by_kind = {
        StepKind.TRANSITION: topics.transitions,
        StepKind.VERDICT: topics.verdicts or "",
        StepKind.ALERT: topics.alerts,
    }
    return Topics(by_kind, topics.dead_letters)


@asynccontextmanager
async def _actions(settings: Settings) -> AsyncIterator[Counted | None]:
    """Yield the actions of operators, None where the console only reads."""
    if not settings.console.actions:
        yield None
        return
    kafka = make_dead_letter_kafka(settings)
    try:
        yield Counted(Replays(kafka, settings.topic_names, limits_of(settings)))
    finally:
        await kafka.close()


def default_database(application_id: str) -> Path:
    """Return the default path of the read model: in the directory for state that can be made again."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "streamproc" / f"console-{application_id}.sqlite"
