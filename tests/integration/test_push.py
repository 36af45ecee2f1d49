"""From run-alerts on a real Kafka to a real Alertmanager, and from there to whoever it notifies."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from streamproc.core.alerts import Alert
from streamproc.local.kafka import local_kafka
from streamproc.notify.config import AlertmanagerSettings, WebhookSettings
from streamproc.notify.pusher import AlertOrigin, Pusher
from streamproc.notify.rendering import bounded
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.aio.feed import AioFeed
from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.ports import NewTopic
from tests.support.alerts import firing, message, resolved
from tests.support.prometheus import Alertmanager, alertmanager
from tests.support.pushing import Told, webhook_took
from tests.support.receiver import Receiver, receiver
from tests.support.waiting import eventually

PARTITIONS = 4
RESEND_S = 3.0
"""What fires ends four of these after it was last said: a machine may stand still for two or three."""


class Application:
    """Alerts of one application on a real broker."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self.settings = KafkaSettings(bootstrap_servers=bootstrap, session_timeout_ms=6_000)
        self.name = name
        self.told = Told()
        self.topic = f"{name}-run-alerts"

    async def create(self) -> None:
        """Create the topic."""
        kafka = AioKafka(self.settings, self.name)
        await kafka.create([NewTopic(self.topic, PARTITIONS, {})])
        await kafka.close()

    async def publish(self, *alerts: Alert, partition: int = 0) -> None:
        """Write alerts as the pipeline does, in one transaction."""
        settings = {
            "bootstrap_servers": self.settings.bootstrap_servers,
            "transactional_id": f"{self.name}-{partition}",
        }
        async with AIOKafkaProducer(**settings) as producer, producer.transaction():
            for alert in alerts:
                key, value, timestamp, headers = message(alert)
                await producer.send_and_wait(
                    self.topic, value, key, partition, timestamp_ms=timestamp, headers=list(headers)
                )

    def pusher(self, *alertmanagers: str, hook: str | None = None) -> Pusher:
        """Return a push, in a group that others may share."""
        source = AlertOrigin(
            self.name, self.topic, lambda group: AioFeed(self.settings, group, self.topic), self._partitions
        )
        webhook = WebhookSettings() if hook is None else WebhookSettings(url=SecretStr(hook))
        return Pusher(source, AlertmanagerSettings(urls=alertmanagers, resend_s=RESEND_S), webhook, self.told)

    async def _partitions(self) -> int:
        kafka = AioKafka(self.settings, self.name)
        try:
            return await kafka.partition_count(self.topic)
        finally:
            await kafka.close()


@pytest.fixture
async def app(kafka_bootstrap: str, unique: Callable[[str], str]) -> Application:
    """With its topic, and nobody reading yet."""
    it = Application(kafka_bootstrap, unique("push"))
    await it.create()
    return it


@pytest.fixture
async def person() -> AsyncIterator[Receiver]:
    """Whom the Alertmanager notifies."""
    async with receiver() as it:
        yield it


@pytest.fixture
async def am(person: Receiver) -> AsyncIterator[Alertmanager]:
    """An Alertmanager that tells a person each change, at once."""
    route = {
        "receiver": "person",
        "group_by": ["..."],
        "group_wait": "100ms",
        "group_interval": "500ms",
        "repeat_interval": "1h",
    }
    receivers = [{"name": "person", "webhook_configs": [{"url": person.url, "send_resolved": True}]}]
    async with alertmanager({"route": route, "receivers": receivers}) as it:
        yield it


def ago(seconds: float = 0) -> int:
    """Return the time some seconds ago, in milliseconds."""
    return int((time.time() - seconds) * 1000)


def begun(run: str = "run_1", **fields: Any) -> Alert:
    """Return an alert that began a minute ago."""
    return firing(run, **{"since": ago(60), "decided_at": ago(), "deadline_at": ago(30), **fields})


def ended(alert: Alert) -> Alert:
    """Return its end, now."""
    return resolved(
        alert.run_id or "", alert.kind, since=alert.since, ends_at=ago(), decided_at=ago(), status="completed"
    )


async def runs(am: Alertmanager) -> set[str]:
    """Return the runs about which an alert fires."""
    return {alert["labels"].get("run_id", "") for alert in await am.alerts()}


async def fire(am: Alertmanager, *expected: str) -> None:
    """Wait until alerts about these runs fire, and no others."""

    async def holds() -> bool:
        return await runs(am) == set(expected)

    await eventually(holds)


async def outlast(am: Alertmanager, *expected: str) -> None:
    """Wait until alerts about these runs, and no others, fire for twice as long as what was sent by now makes them."""
    at_most = datetime.fromtimestamp(time.time() + 8 * RESEND_S, UTC)

    async def holds() -> bool:
        alerts = await am.alerts()
        assert {alert["labels"].get("run_id", "") for alert in alerts} == set(expected)
        return all(datetime.fromisoformat(alert["endsAt"]) > at_most for alert in alerts)

    await eventually(holds)


def heard(person: Receiver, run: str) -> list[str]:
    """Return the states of which a person was notified, each once."""
    alerts = [alert for got in person.got for alert in got.content["alerts"]]
    said = [alert["status"] for alert in alerts if alert["labels"].get("run_id") == run]
    return [state for number, state in enumerate(said) if number == 0 or said[number - 1] != state]


async def test_an_alert_fires_there_and_is_resolved_there(app: Application, am: Alertmanager, person: Receiver) -> None:
    """A person hears of both, once; amtool shows it as long as it fires, with what it is about."""
    alert = begun(kind="stuck_requires_action", status="requires_action")
    async with app.pusher(am.url):
        await app.publish(alert)
        await fire(am, "run_1")
        await app.publish(begun("run_2", kind="illegal", ends_at=ago(-30)))
        await fire(am, "run_1", "run_2")
        (shown,) = await am.alerts("run_id=run_1")
        assert shown["labels"] == {
            "alertname": "StreamprocRunsStuckInRequiresAction",
            "severity": "warning",
            "kind": "stuck_requires_action",
            "alert_id": "stuck_requires_action:run_1:7",
            "run_id": "run_1",
            "assistant": "asst_1",
            "model": "gpt-4o",
            "application": app.name,
        }
        assert shown["annotations"]["summary"] == "run_1 has not moved on"
        assert shown["annotations"]["status"] == "requires_action"
        # The occurrence is over at its own time.
        await fire(am, "run_1")
        await eventually(lambda: heard(person, "run_1") == ["firing"])
        await outlast(am, "run_1")
        await app.publish(ended(alert))
        await fire(am)
        await eventually(lambda: heard(person, "run_1") == ["firing", "resolved"])
        await asyncio.sleep(RESEND_S)
    assert heard(person, "run_1") == ["firing", "resolved"]
    assert heard(person, "run_2") == ["firing", "resolved"]


async def test_a_replica_takes_over_and_nobody_notices(app: Application, am: Alertmanager, person: Receiver) -> None:
    """Alerts of all partitions fire on without a gap, whoever of the two sends them."""
    alerts = [begun(f"run_{number}") for number in range(PARTITIONS)]
    for number, alert in enumerate(alerts):
        await app.publish(alert, partition=number)
    every = {alert.run_id or "" for alert in alerts}
    async with app.pusher(am.url):
        await fire(am, *every)
        async with app.pusher(am.url):
            await outlast(am, *every)
        await outlast(am, *every)
        for number, alert in enumerate(alerts):
            await app.publish(ended(alert), partition=number)
        await fire(am)
    assert all(heard(person, run) in (["firing"], ["firing", "resolved"]) for run in every)


async def test_alerts_of_a_dead_service_end_by_themselves_and_come_back_with_it(
    app: Application, am: Alertmanager
) -> None:
    """Four intervals after it was last heard of; the next one reads from the topic what fires."""
    await app.publish(begun())
    async with app.pusher(am.url):
        await fire(am, "run_1")
    await fire(am)
    async with app.pusher(am.url):
        await fire(am, "run_1")


async def test_each_of_several_has_everything(app: Application, am: Alertmanager) -> None:
    """Two that do not know each other."""
    async with alertmanager() as other, app.pusher(am.url, other.url):
        await app.publish(begun())
        await fire(am, "run_1")
        await fire(other, "run_1")


async def test_alertmanager_takes_whatever_a_run_may_be_called(app: Application, am: Alertmanager) -> None:
    """Labels from outside: any text of any length; what is not about a run; an end before the beginning."""
    names = ["rün ✓ \U0001f600", "a\nb\t\x00\x7f", '{"=~,', "r" * 5_000]
    odd = [begun(name, model=name, assistant_id="", summary=name) for name in names]
    rate = begun(alert_id="failure_rate:x", kind="failure_rate", run_id=None, thread_id=None, status=None)
    backwards = begun("back", since=ago(-600), ends_at=ago(3_600), kind="illegal")
    async with app.pusher(am.url):
        await app.publish(*odd, rate, backwards)
        await fire(am, *(bounded(name) for name in names), "")
    assert app.told.results["alertmanager", "refused"] == 0
    assert {"StreamprocAssistantFailureRateHigh", "StreamprocRunsStuckInQueued"} == {
        alert["labels"]["alertname"] for alert in await am.alerts()
    }


async def test_both_receivers_side_by_side(app: Application, am: Alertmanager, person: Receiver) -> None:
    """Each from a group of its own: the webhook has each alert once."""
    alert = begun()
    async with app.pusher(am.url, hook=f"{person.url}/hook"):
        await app.publish(alert)
        await fire(am, "run_1")
        await app.publish(ended(alert))
        await fire(am)
        await eventually(lambda: len(hooked(person)) == 2)
        await eventually(
            lambda: webhook_took(app.settings, app.name, app.topic, 3)
        )  # Between the two is the marker of a transaction.
    async with app.pusher(am.url, hook=f"{person.url}/hook"):
        await app.publish(begun("run_2"))
        await fire(am, "run_2")
        await eventually(lambda: len(hooked(person)) == 3)
    assert hooked(person) == ["run_1:firing", "run_1:resolved", "run_2:firing"]


def hooked(person: Receiver) -> list[str]:
    """Return what came by the webhook."""
    return [f"{got.content['run_id']}:{got.content['state']}" for got in person.got if got.path == "/hook"]


async def test_a_broker_that_is_away_resolves_nothing(unique: Callable[[str], str], am: Alertmanager) -> None:
    """What is known to fire is said on; when the broker is back, so is the news."""
    async with local_kafka() as kafka:
        app = Application(kafka.bootstrap_servers, unique("push"))
        await app.create()
        alert = begun()
        async with app.pusher(am.url):
            await app.publish(alert)
            await fire(am, "run_1")
            await kafka.kill()
            await outlast(am, "run_1")
            await kafka.start_again()
            await app.publish(ended(alert), begun("run_2"))
            await fire(am, "run_2")
            await kafka.kill()
