"""Push to a webhook: each alert once, firing and resolved, until it is taken, refused, or too old to matter.

One alert for each request: then what is refused or repeated is one alert, the idempotency key is its own, and a
receiver needs no loop. Order is kept for each key (a run's alerts, as a rule), several keys are under way at a time.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast
from urllib.parse import quote

import structlog
from msgspec import json
from msgspec.structs import asdict

from streamproc.backoff import Backoff
from streamproc.core.alerts import Alert
from streamproc.notify.complaints import Complaints
from streamproc.notify.config import WebhookSettings
from streamproc.notify.http import Poster, PostResult
from streamproc.notify.links import page_of
from streamproc.notify.naming import alert_name
from streamproc.notify.observer import DeliveryResult, PushObserver, Receiver
from streamproc.notify.outbox import Item, Outbox
from streamproc.notify.rendering import bounded, rfc3339
from streamproc.notify.signature import HEADER, sign
from streamproc.runtime.feed import Start
from streamproc.runtime.ports import Committed
from streamproc.web.config import origin

IDEMPOTENCY_HEADER = "streamproc-idempotency-key"
TIMES = ("since", "decided_at", "deadline_at", "ends_at")
FIRST_LOOK_BACK_MS = 3_600_000
"""If nothing was ever delivered, older alerts are not sent: nobody wants a month of them at once."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""Back-off. An alert that the receiver does not accept delays the later ones, possibly for days: then one attempt a
minute is enough."""
MAX_RETRY_AFTER_S = 300.0

log = structlog.get_logger(__name__)


class Webhook:
    """The receiver at `settings.url`, which must be set."""

    name = Receiver.WEBHOOK

    def __init__(
        self,
        settings: WebhookSettings,
        application: str,
        observer: PushObserver,
        wall: Callable[[], float] = time.time,
        console_url: str | None = None,
    ) -> None:
        self._settings = settings
        self._application = application
        self._observer = observer
        self._wall = wall
        self._console_url = console_url
        self._client = Poster(settings)
        self._outbox = Outbox(settings.max_waiting)
        self._complaints = Complaints({"receiver": self.name, "url": origin(_url(settings))})
        self._next: dict[int, int] = {}
        self._oldest_ms: dict[int, int] = {}
        self._not_before = 0.0

    @property
    def waiting(self) -> int:
        """How many alerts are not delivered yet."""
        return len(self._outbox)

    def assign(self, starts: Mapping[int, Start]) -> None:
        """Start anew."""
        self.clear()
        now_ms = int(self._wall() * 1000)
        for number, start in starts.items():
            self._next[number] = start.begin
            self._oldest_ms[number] = now_ms - FIRST_LOOK_BACK_MS if start.committed is None else 0

    def clear(self) -> None:
        """Leave what is not delivered to the partitions' next owner."""
        self._outbox.clear()
        self._next.clear()

    async def room(self) -> None:
        """Wait until the outbox has room: until then alerts stay in the topic."""
        await self._outbox.room()

    def take(self, partition: int, offset: int, alert: Alert, published_ms: int) -> None:
        """Add an alert to the outbox."""
        if partition in self._next and published_ms >= self._oldest_ms[partition]:
            self._outbox.put(Item(partition, offset, alert, time.monotonic()))
        self.skip(partition, offset)

    def skip(self, partition: int, offset: int) -> None:
        """Pass over a record."""
        if partition in self._next:
            self._next[partition] = offset + 1

    def release(self, partitions: Iterable[int]) -> None:
        """Do nothing: each record is delivered, whatever comes after it."""

    def settle(self) -> dict[int, Committed]:
        """Return the offsets to commit."""
        oldest = {number: self._outbox.oldest(number) for number in self._next}
        return {
            number: Committed(after if (first := oldest[number]) is None else first, "")
            for number, after in self._next.items()
        }

    async def run(self) -> None:
        """Deliver alerts, several at a time."""
        async with self._client, asyncio.TaskGroup() as tasks:
            for _ in range(self._settings.concurrency):
                tasks.create_task(self._deliver())

    async def _deliver(self) -> None:
        backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
        while True:
            item = await self._outbox.next()
            await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
            if not self._outbox.holds(item):
                continue
            outcome = await self._post(item.alert)
            self._observer.sent(self.name, outcome.result, 1)
            if outcome.result is DeliveryResult.FAILED:
                await self._retry(item, outcome, backoff)
            else:
                self._outbox.done(item)
                self._complaints.recovered(backoff.succeeded())
            if outcome.result is DeliveryResult.REFUSED:
                self._complaints.warn("an alert was refused and is not sent again", outcome.why, **_where(item))

    async def _retry(self, item: Item, outcome: PostResult, backoff: Backoff) -> None:
        """Wait, then return the alert to the outbox."""
        self._complaints.warn("the webhook takes no alerts; they are sent again", outcome.why)
        if time.monotonic() - item.taken_s > self._settings.give_up_s:
            self._observer.sent(self.name, DeliveryResult.DROPPED, 1)
            self._complaints.warn(
                "an alert was given up: it was sent in vain for too long", outcome.why, **_where(item)
            )
            self._outbox.done(item)
        if outcome.retry_after_s is not None:
            self._not_before = time.monotonic() + min(outcome.retry_after_s, MAX_RETRY_AFTER_S)
        await asyncio.sleep(backoff.failed())
        self._outbox.again(item)

    async def _post(self, alert: Alert) -> PostResult:
        key = idempotency_key(alert)
        body = json.encode(document(alert, self._application, self._console_url))
        headers = {IDEMPOTENCY_HEADER: quote(key, safe=":._-")}
        settings = cast(WebhookSettings, await self._client.settings())
        if settings.secret is not None:
            headers[HEADER] = sign(settings.secret.get_secret_value().encode(), int(self._wall()), body)
        return await self._client.post(_url(settings), body, headers)


def _url(settings: WebhookSettings) -> str:
    return "" if settings.url is None else settings.url.get_secret_value()


def idempotency_key(alert: Alert) -> str:
    """Return an id that is the same whenever the same news is sent."""
    return f"{bounded(alert.alert_id)}:{alert.state.value}"


def document(alert: Alert, application: str, console_url: str | None = None) -> dict[str, Any]:
    """Return a request's body: the RunAlert's fields, with times as RFC 3339, and its identifying names.

    With its page where there is a console.
    """
    fields = asdict(alert)
    times = {name: None if fields[name] is None else rfc3339(fields[name]) for name in TIMES}
    names = {"idempotency_key": idempotency_key(alert), "name": alert_name(alert.kind), "application": application}
    page = {} if console_url is None else {"console_url": page_of(console_url, alert.run_id)}
    return {**names, **fields, **times, **page}


def _where(item: Item) -> dict[str, Any]:
    return {"partition": item.partition, "offset": item.offset, "kind": item.alert.kind}
