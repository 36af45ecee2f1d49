"""The push on a topic in memory, with receivers on this machine; only the test moves its wall clock."""

from collections import Counter
from typing import Any

from streamproc.core.alerts import Alert
from streamproc.notify.config import AlertmanagerSettings, WebhookSettings
from streamproc.notify.observer import DeliveryResult, Receiver
from streamproc.notify.pusher import AlertOrigin, Pusher
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import TopicPartition
from tests.support.alerts import START_MS, message
from tests.support.fake_feed import FakeTopic

ALERTMANAGER, WEBHOOK = "app.alertmanager", "app.webhook"
"""The consumer groups."""


class Told:
    """What the observer was told."""

    def __init__(self) -> None:
        self.results: Counter[tuple[str, str]] = Counter()
        self.now_waiting: dict[Receiver, int] = {}

    def sent(self, receiver: Receiver, result: DeliveryResult, count: int) -> None:
        """Count."""
        self.results[receiver, result] += count

    def waiting(self, receiver: Receiver, count: int) -> None:
        """Take note."""
        self.now_waiting[receiver] = count


class Pushing:
    """One application's alerts."""

    def __init__(self, partitions: int = 1) -> None:
        self.topic = FakeTopic(partitions)
        self.told = Told()
        self.now_ms = START_MS

    def publish(self, *alerts: Alert, partition: int = 0) -> int:
        """Let the pipeline say something now; return the offset."""
        return self.topic.publish(*(message(alert, self.now_ms) for alert in alerts), partition=partition)

    def clock(self) -> float:
        """Return the wall time in seconds."""
        return self.now_ms / 1000

    def pusher(self, **settings: Any) -> Pusher:
        """Return a push; settings are not checked, so that a test need not wait for whole seconds."""
        source = AlertOrigin("app", "run-alerts", self.topic.feed, self._partitions)
        alertmanager = AlertmanagerSettings().model_copy(update=settings.get("alertmanager", {}))
        webhook = WebhookSettings().model_copy(update=settings.get("webhook", {}))
        return Pusher(
            source, alertmanager, webhook, self.told, wall=self.clock, console_url=settings.get("console_url")
        )

    def to_alertmanagers(self, *urls: str, **settings: Any) -> Pusher:
        """Return a push to Alertmanagers."""
        return self.pusher(alertmanager={"urls": urls, "resend_s": 60.0, "timeout_s": 60.0, **settings})

    async def _partitions(self) -> int:
        return len(self.topic.logs)


async def webhook_took(settings: KafkaSettings, application_id: str, topic: str, count: int) -> bool:
    """Whether it is committed, in a real cluster, that the webhook took the first offsets of partition 0.

    From then on it is not told of them once more.
    """
    kafka = AioKafka(settings, f"{application_id}.webhook")
    try:
        committed = await kafka.committed(TopicPartition(topic, 0))
    finally:
        await kafka.close()
    return committed is not None and committed.offset >= count
