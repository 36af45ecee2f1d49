"""One run of the service with the source and a screen: begin, feed, drain, stop, check."""

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct

from streamproc import app
from streamproc.codec.alerts import decode_alert
from streamproc.demo import source, topics
from streamproc.demo.board import Board
from streamproc.demo.screens import Screen
from streamproc.demo.source import Load
from streamproc.demo.summary import DemoSummary
from streamproc.errors import BrokerUnavailable
from streamproc.interrupts import cancelled
from streamproc.local.prometheus import LocalPrometheus
from streamproc.runtime.ports import Kafka
from streamproc.settings.service import Settings

T = TypeVar("T")

POLL_S = 0.1
FLUSH_S = 30.0
STALLED_S = 20.0
"""After this time without progress the demo stops waiting; the check then says what is missing."""


class DemoPlan(Struct, frozen=True):
    """The plan of a demo. `seconds` None: until interrupted, or until all events are sent.

    `config`: the file of the settings, for the console.
    """

    load: Load
    seconds: float | None = None
    plain: bool = False
    prometheus: bool = False
    console: bool = True
    config: Path | None = None


class DemoSession:
    """One run of the service, the source, and the tasks that watch them."""

    def __init__(
        self,
        settings: Settings,
        plan: DemoPlan,
        board: Board,
        stop: asyncio.Event,
        prometheus: LocalPrometheus | None = None,
    ) -> None:
        self._settings = settings
        self._topics = settings.topic_names
        self._plan = plan
        self._board = board
        self._stop = stop
        self._prometheus = prometheus
        self._listening = asyncio.Event()
        self._companions: set[asyncio.Task[None]] = set()

    async def run(self, screen: Screen) -> DemoSummary:
        """Serve and feed until the end, then check."""
        kafka, stop_service = app.make_kafka(self._settings), asyncio.Event()
        try:
            self._accompany(screen.show(self._board))
            service = self._accompany(self._serve(stop_service))
            await self._beside(self._listening.wait())
            names, board = self._topics, self._board
            self._accompany(topics.follow(kafka, names.transitions, topics.change_of, board.saw))
            self._accompany(topics.follow(kafka, names.alerts, decode_alert, board.heard))
            await self._beside(self._feed())
            await self._beside(self._drain(kafka))
            self._board.phase = "Stopping the service"
            self._companions.discard(service)
            stop_service.set()
            await service
            self._board.is_stopped = True
            return await self._beside(self._check(kafka))
        finally:
            await cancelled(*self._companions)
            await kafka.close()

    async def _serve(self, stop: asyncio.Event) -> None:
        def on_listening(url: str) -> None:
            self._board.metrics_url = f"{url}/metrics"
            if self._prometheus:
                consoles = [urlsplit(self._board.console_url).netloc] if self._board.console_url else []
                self._prometheus.scrape([urlsplit(url).netloc], consoles)
            self._listening.set()

        await app.serve(self._settings, stop, self._board.figures, on_listening)

    async def _feed(self) -> None:
        """Send until the plan is fulfilled, or until stopped."""
        board, plan, stop = self._board, self._plan, self._stop
        board.phase = "Ctrl-C ends it and checks the figures"

        def on_sent(kind: str) -> None:
            board.sent[kind] += 1

        feeding = asyncio.create_task(source.feed(self._settings, plan.load, stop, on_sent))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({feeding, stopped}, timeout=plan.seconds, return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            await asyncio.wait_for(feeding, FLUSH_S)
        except TimeoutError:
            raise BrokerUnavailable(f"Kafka did not take what the source had sent within {FLUSH_S:.0f} s") from None
        finally:
            await cancelled(feeding, stopped)

    async def _drain(self, kafka: Kafka) -> None:
        """Wait until the service has consumed all events."""
        figures, deadline = self._board.figures, Deadline(STALLED_S)
        there = await topics.ends(kafka, self._topics.events)
        while figures.events < there and not deadline.is_over(figures.events):
            self._board.phase = f"The source has stopped: {there - figures.events:,} events to go"
            await asyncio.sleep(POLL_S)

    async def _check(self, kafka: Kafka) -> DemoSummary:
        self._board.phase = "Checking the figures against the topics"
        counts = await topics.holdings(kafka, self._topics)
        return DemoSummary(self._board.sent.total(), self._board.figures, counts, self._settings.topics)

    def _accompany(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        companion = asyncio.create_task(work)
        self._companions.add(companion)
        return companion

    async def _beside(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of `work`; raises the error of a companion task that ends before it."""
        working = asyncio.create_task(work)
        try:
            done, _ = await asyncio.wait({working, *self._companions}, return_when=asyncio.FIRST_COMPLETED)
            for ended in done - {working}:
                ended.result()
                raise RuntimeError("a part of the demo ended by itself")
            return working.result()
        finally:
            await cancelled(working)


class Deadline:
    """A deadline that is over when nothing has changed for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at: tuple[object, float] = (None, 0.0)

    def is_over(self, now_at: object) -> bool:
        """Tell whether `now_at` has been the same for too long."""
        if now_at != self._at[0]:
            self._at = now_at, time.monotonic()
        return time.monotonic() - self._at[1] > self._seconds
