"""From an event to a person: a run that does not move on becomes an alert in a real Alertmanager, and ends there."""

import time
from typing import Any

from streamproc.local.kafka import free_port
from streamproc.local.simulate import simulate
from tests.support.prometheus import Alertmanager, alertmanager
from tests.support.pushing import webhook_took
from tests.support.receiver import never, receiver
from tests.support.runobjects import framed, run_object
from tests.support.service import Fleet, Worker
from tests.support.waiting import eventually

RESEND_S = 5
"""An alert that is not sent again ends there after four times that: longer than a restart takes."""


def _event(status: str, **fields: Any) -> tuple[bytes, bytes, int, list[Any]]:
    now_ms = int(time.time() * 1000)
    value = framed("v2_1", run_object(id="run_1", status=status, created_at=now_ms // 1000, **fields))
    return b"run_1", value, now_ms, []


async def _shows(am: Alertmanager, *names: str) -> bool:
    return {alert["labels"]["alertname"] for alert in await am.alerts("run_id=run_1")} == set(names)


async def _says(worker: Worker, metric: str, value: int) -> bool:
    _, text = await worker.get("/metrics")
    (line,) = [line for line in text.splitlines() if line.startswith(f'{metric}{{receiver="alertmanager"}}')]
    return float(line.split()[-1]) == value


async def test_a_run_left_in_requires_action_is_an_alert_until_it_completes(service: Fleet) -> None:
    """The service with its settings, as it is run; a restart in between leaves the alert firing."""
    settings = {"DEADLINES__LIMITS_S": '{"requires_action": 1}', "DEADLINES__ALLOWANCE_S": 0}
    async with alertmanager() as am, receiver() as hook:
        push = {
            "ALERTMANAGER__URLS": am.url,
            "ALERTMANAGER__RESEND_S": RESEND_S,
            "WEBHOOK__URL": f"{hook.url}/secret-path",
        }
        worker = service.start(**settings, **push)
        await service.send_records(_event("requires_action", expires_at=None))
        await eventually(lambda: _shows(am, "StreamprocRunsStuckInRequiresAction"))
        await eventually(lambda: _says(worker, "streamproc_push_waiting", 0))
        assert not await _says(worker, "streamproc_push_last_success_timestamp_seconds", 0)
        await eventually(lambda: webhook_took(service.settings, service.name, service.topics.alerts, 1))
        assert worker.stop() == 0
        again = service.start(**settings, **push)
        await eventually(again.is_ready)
        assert await _shows(am, "StreamprocRunsStuckInRequiresAction")
        await service.send_records(_event("completed", expires_at=None))
        await eventually(lambda: _shows(am))
        await eventually(lambda: len(hook.got) == 2)
    assert [got.content["state"] for got in hook.got] == ["firing", "resolved"]
    assert again.stop() == 0
    assert "secret-path" not in worker.log.read_text() + again.log.read_text()


async def test_receivers_that_hang_hold_up_nothing(service: Fleet) -> None:
    """Neither the pipeline, nor its readiness, nor its end."""
    async with receiver() as hung:
        hung.behave = never
        worker = service.start(
            DEADLINES__LIMITS_S='{"queued": 1, "in_progress": 1, "requires_action": 1}',
            DEADLINES__ALLOWANCE_S=0,
            ALERTMANAGER__URLS=f"{hung.url},http://127.0.0.1:{free_port()}",
            ALERTMANAGER__TIMEOUT_S=120,
            WEBHOOK__URL=hung.url,
            WEBHOOK__TIMEOUT_S=120,
        )
        await service.send_records(_event("requires_action", expires_at=None))
        await eventually(lambda: {got.path for got in hung.got} == {"/", "/api/v2/alerts"})
        await service.send(simulate(seed=4, events=20_000, start_ms=int(time.time() * 1000)))
        await eventually(service.is_done)
        await eventually(worker.is_ready)
        began = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - began < 60
