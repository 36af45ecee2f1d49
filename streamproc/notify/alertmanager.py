"""Push to Alertmanagers: each repeatedly gets the alerts that fire, and for five minutes those that have ended.

As in Prometheus, every Alertmanager gets every alert, since a cluster of them shares notifications and silences, not
alerts. An alert counts as delivered when one Alertmanager has accepted it; each of the others gets it at its own pace,
and one that is away delays none of them.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any

from msgspec import json

from streamproc.awaiting import set_within
from streamproc.backoff import Backoff
from streamproc.core.alerts import Alert
from streamproc.notify.board import AlertTable, TrackedAlert
from streamproc.notify.complaints import Complaints
from streamproc.notify.config import AlertmanagerSettings
from streamproc.notify.http import Poster, PostResult
from streamproc.notify.observer import DeliveryResult, PushObserver, Receiver
from streamproc.notify.postable import AlertRenderer
from streamproc.runtime.feed import Start
from streamproc.runtime.ports import Committed

PATH = "/api/v2/alerts"
LINGER_S = 0.2
"""How long the first alert waits for more: a commit brings several."""
MAX_REST_S = 5.0
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Back-off. Other Alertmanagers may have the alerts already; one that comes back has to get them soon."""
ABOUT_CONTENT = frozenset((400, 413, 422))
"""Statuses that refuse a batch for its content, usually that of one alert."""


class Alertmanagers:
    """All Alertmanagers of the settings, as one receiver."""

    name = Receiver.ALERTMANAGER

    def __init__(
        self,
        settings: AlertmanagerSettings,
        application: str,
        observer: PushObserver,
        wall: Callable[[], float] = time.time,
        console_url: str | None = None,
    ) -> None:
        self._client = Poster(settings)
        self._board = AlertTable(settings.max_alerts)
        self._limit = settings.max_alerts
        self._observer = observer
        self._wall = wall
        self._complaints = Complaints({"receiver": Receiver.ALERTMANAGER})
        self._dropped = 0
        render = AlertRenderer(
            application=application,
            labels=settings.labels,
            resend_s=settings.resend_s,
            generator_url=settings.generator_url,
            runbooks_url=settings.runbooks_url,
            console_url=console_url,
        )
        self._senders = [
            _Sender(url, settings, self._board, self._client, lambda each: render(each, self._now_ms()), observer)
            for url in settings.urls
        ]

    @property
    def waiting(self) -> int:
        """How many alerts no Alertmanager has accepted or refused yet."""
        return self._board.waiting

    def assign(self, starts: Mapping[int, Start]) -> None:
        """Start anew."""
        self._board.assign(starts)

    def clear(self) -> None:
        """Send nothing from here on: the partitions' next owner may know better which alerts fire."""
        self._board.clear()

    async def room(self) -> None:
        """Return at once: the table has a limit of its own."""

    def take(self, partition: int, offset: int, alert: Alert, published_ms: int) -> None:
        """Add an alert to the table."""
        self._board.take(partition, offset, alert, published_ms, self._now_ms())
        self._wake()

    def skip(self, partition: int, offset: int) -> None:
        """Pass over a record."""
        self._board.skip(partition, offset)

    def release(self, partitions: Iterable[int]) -> None:
        """Send these partitions' alerts from here on."""
        if self._board.release(partitions):
            self._wake()

    def settle(self) -> dict[int, Committed]:
        """Remove alerts that ended long enough ago; return the offsets to commit."""
        self._board.expire(self._now_ms())
        self._tell_dropped()
        return self._board.offsets()

    async def run(self) -> None:
        """Send to all Alertmanagers concurrently."""
        async with self._client, asyncio.TaskGroup() as tasks:
            for sender in self._senders:
                tasks.create_task(sender.run())

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)

    def _wake(self) -> None:
        for sender in self._senders:
            sender.news.set()

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._board.dropped - self._dropped, self._board.dropped
        if dropped:
            self._observer.sent(Receiver.ALERTMANAGER, DeliveryResult.DROPPED, dropped)
            self._complaints.warn(
                "the oldest alerts are no longer sent: find out why so many fire, or raise max_alerts",
                f"more than {self._limit}",
                dropped,
            )


class _Sender:
    """Sends to one Alertmanager the alerts that are new to it, or due again."""

    def __init__(
        self,
        url: str,
        settings: AlertmanagerSettings,
        board: AlertTable,
        client: Poster,
        render: Callable[[TrackedAlert], object],
        observer: PushObserver,
    ) -> None:
        self.news = asyncio.Event()
        self._url = url
        self._resend_s = settings.resend_s
        self._max_batch = settings.max_batch
        self._board = board
        self._client = client
        self._render = render
        self._observer = observer
        self._backoff = Backoff(FIRST_WAIT_S, min(LONGEST_WAIT_S, settings.resend_s))
        self._complaints = Complaints({"receiver": Receiver.ALERTMANAGER, "url": url})

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            due = self._board.due(self._url, self._resend_s, time.monotonic())
            if due:
                await self._send(due)
            else:
                await self._rest()

    async def _rest(self) -> None:
        """Wait for news, at most until an alert may be due again."""
        if await set_within(self.news, min(MAX_REST_S, self._resend_s / 4)):
            await asyncio.sleep(LINGER_S)
        self.news.clear()

    async def _send(self, due: Sequence[TrackedAlert]) -> None:
        """Send in batches until one fails: after the wait, other alerts may be due."""
        for start in range(0, len(due), self._max_batch):
            batch = [each for each in due[start : start + self._max_batch] if self._board.holds(each)]
            if not batch:
                continue
            outcome = await self._post(batch)
            if outcome.result is DeliveryResult.FAILED or _refuses_all(outcome):
                await asyncio.sleep(max(self._backoff.failed(), min(outcome.retry_after_s or 0, LONGEST_WAIT_S)))
                return
            self._complaints.recovered(self._backoff.succeeded())

    async def _post(self, batch: Sequence[TrackedAlert]) -> PostResult:
        """Send a batch; split one that is refused for its content, until the bad alert is alone."""
        outcome = await self._client.post(self._url + PATH, json.encode([self._render(each) for each in batch]))
        is_bad = outcome.result is DeliveryResult.REFUSED and not _refuses_all(outcome)
        if is_bad and len(batch) > 1:
            middle = len(batch) // 2
            first = await self._post(batch[:middle])
            return first if first.result is DeliveryResult.FAILED else await self._post(batch[middle:])
        self._observer.sent(Receiver.ALERTMANAGER, outcome.result, len(batch))
        if outcome.result is not DeliveryResult.FAILED:
            for each in batch:
                each.settled = True
                each.sent[self._url] = inf if is_bad else time.monotonic()
        self._complain(outcome, batch[0])
        return outcome

    def _complain(self, outcome: PostResult, tracked: TrackedAlert) -> None:
        if outcome.result is DeliveryResult.FAILED:
            self._complaints.warn("the Alertmanager takes no alerts; they are sent again", outcome.why)
        elif _refuses_all(outcome):
            self._complaints.warn("the Alertmanager refuses alerts: check the URL and how to log in", outcome.why)
        elif outcome.result is DeliveryResult.REFUSED:
            where: dict[str, Any] = {
                "partition": tracked.partition,
                "offset": tracked.offset,
                "kind": tracked.alert.kind,
            }
            self._complaints.warn("an alert was refused and is not sent again", outcome.why, **where)


def _refuses_all(outcome: PostResult) -> bool:
    """Tell whether the refusal is about the URL or the log-in, not the content; such alerts are sent again in time."""
    return outcome.result is DeliveryResult.REFUSED and outcome.status not in ABOUT_CONTENT
