"""The push as a whole: a task for each receiver that is set, each with a subscription of its own.

It shares the process and the event loop with the pipeline, and nothing else: whatever fails here is logged and tried
again, and ends nobody but itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import structlog

from streamproc.backoff import Backoff
from streamproc.errors import ConfigError, StreamprocError
from streamproc.notify.alertmanager import Alertmanagers
from streamproc.notify.config import AlertmanagerSettings, WebhookSettings
from streamproc.notify.observer import PushObserver
from streamproc.notify.sink import Sink
from streamproc.notify.subscription import Subscription
from streamproc.notify.webhook import Webhook
from streamproc.runtime.feed import Feed

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Back-off. Each restart of a subscription makes its own connections: more often would burden the broker."""
STOP_S = 2.0

log = structlog.get_logger(__name__)


class AlertOrigin(NamedTuple):
    """The source of the alerts.

    `feed` makes a subscription in the consumer group given; `partitions` returns how many the topic has, 0 where it
    does not exist.
    """

    application_id: str
    topic: str
    feed: Callable[[str], Feed]
    partitions: Callable[[], Awaitable[int]]


class Pusher:
    """Pushes while its context is entered. Creation and entry raise ConfigError if a setting or the topic is wrong."""

    def __init__(
        self,
        source: AlertOrigin,
        alertmanager: AlertmanagerSettings,
        webhook: WebhookSettings,
        observer: PushObserver,
        wall: Callable[[], float] = time.time,
        console_url: str | None = None,
    ) -> None:
        self._source = source
        self._observer = observer
        self._sinks: list[Sink] = []
        if alertmanager.urls:
            self._sinks.append(Alertmanagers(alertmanager, source.application_id, observer, wall, console_url))
        if webhook.url is not None:
            self._sinks.append(Webhook(webhook, source.application_id, observer, wall, console_url))
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> Self:
        """Start a task for each receiver; none is set by default."""
        if self._sinks and not await self._source.partitions():
            raise ConfigError(
                f"{self._source.topic} does not exist, and alerts shall be pushed from it: run `streamproc topics "
                "create`, or unset STREAMPROC_ALERTMANAGER__URLS and STREAMPROC_WEBHOOK__URL"
            )
        self._tasks = [asyncio.create_task(self._push(sink), name=f"push to {sink.name}") for sink in self._sinks]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop within 2 s. Alerts not delivered by then are delivered after the next start."""
        self.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)

    def stop(self) -> None:
        """Begin to stop: the push stops while the pipeline does."""
        if not self._stopping:  # A second call would interrupt the end that the first one began.
            self._stopping = True
            for task in self._tasks:
                task.cancel()

    async def _push(self, sink: Sink) -> None:
        """Read and deliver; after a failure, go on from the last commit."""
        backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
        while True:
            began = asyncio.get_running_loop().time()
            try:
                feed = self._source.feed(f"{self._source.application_id}.{sink.name}")
                await Subscription(feed, sink, self._observer).run()
            except Exception as error:  # noqa: BLE001  whatever it is: the pipeline goes on, and so does the push
                log.warning("the push starts over", receiver=sink.name, why=_why(error))
            if asyncio.get_running_loop().time() - began > LONGEST_WAIT_S:
                backoff.succeeded()
            await asyncio.sleep(backoff.failed())


def _why(error: Exception) -> str:
    """Name the first cause. Only the texts of our own errors certainly contain no payload."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, StreamprocError):
        return str(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    return type(error).__name__ + where
