"""From an event to an alert that a person would get: service, Kafka, Prometheus and Alertmanager, all of them real."""

import time
from urllib.parse import urlsplit

import pytest

from tests.support import prometheus as prom
from tests.support.runobjects import framed, run_object
from tests.support.service import fleet
from tests.support.waiting import eventually

pytestmark = pytest.mark.kafka

RUN = "run_left"
NAME = "StreamprocRunsStuckInRequiresAction"
LIMITS = {"DEADLINES__LIMITS_S": '{"requires_action": 2}', "DEADLINES__ALLOWANCE_S": 1}


@pytest.fixture
async def service(kafka_bootstrap, unique, tmp_path):
    """Topics of two partitions, so that the run's is not the only one; no worker yet."""
    async with fleet(kafka_bootstrap, unique("alerts"), tmp_path, partitions=2) as it:
        yield it


async def send(service, *statuses):
    now_ms = int(time.time() * 1000)
    fields = {"id": RUN, "created_at": now_ms // 1000, "assistant_id": "asst_1", "model": "gpt-4o"}
    values = [framed("v2_1", run_object(status=status, **fields)) for status in statuses]
    await service.send_records(*[(RUN.encode(), value, now_ms, []) for value in values])


async def ready(worker):
    await eventually(worker.is_ready)
    (started,) = worker.events("started")
    return urlsplit(started["http"]).netloc


async def fires_and_resolves(service, alertmanager):
    """Leave a run in requires_action until amtool shows it; complete it, until amtool does not. Return the alert."""
    seen = []

    async def shown():
        seen[:] = await alertmanager.alerts(f"alertname={NAME}")
        return bool(seen)

    async def gone():
        return not await shown()

    await send(service, "queued", "in_progress", "requires_action")
    await eventually(shown)
    (alert,) = seen
    await send(service, "completed")
    await eventually(gone)
    return alert


async def test_by_prometheus_rules_alone(service, tmp_path):
    address = await ready(service.start(**LIMITS))
    async with (
        prom.alertmanager() as alertmanager,
        prom.prometheus(address, rules=prom.hasty_rules(tmp_path), alertmanager=alertmanager),
    ):
        alert = await fires_and_resolves(service, alertmanager)
    assert alert["labels"] == {
        "alertname": NAME,
        "job": "streamproc",
        "kind": "stuck_requires_action",
        "severity": "warning",
    }
    assert "longer than their limit: 1." in alert["annotations"]["description"]
    assert alert["annotations"]["runbook_url"].endswith(f"/{NAME}.md")


async def test_by_the_services_own_push(service):
    async with prom.alertmanager() as alertmanager:
        console = {"CONSOLE__PUBLIC_URL": "https://console.example/base"}
        await ready(service.start(**LIMITS, **console, ALERTMANAGER__URLS=alertmanager.url))
        alert = await fires_and_resolves(service, alertmanager)
    labels = alert["labels"]
    assert labels["run_id"] == RUN
    assert (labels["kind"], labels["severity"]) == ("stuck_requires_action", "warning")
    assert (labels["assistant"], labels["model"]) == ("asst_1", "gpt-4o")
    assert RUN in alert["annotations"]["summary"]
    assert alert["generatorURL"] == f"https://console.example/base/runs/{RUN}"
