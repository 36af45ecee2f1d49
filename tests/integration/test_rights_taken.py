"""Rights that are taken away while the service runs: it says which, asks seldom, and goes on once they are back."""

import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from streamproc.local.simulate import simulate
from streamproc.rightsbook import names, rights_of
from streamproc.runtime.aio.cluster import AioKafka
from streamproc.runtime.rights import Operation, Resource, Right
from tests.support.guarded import Guarded, guarded_broker
from tests.support.service import Fleet, Worker, fleet
from tests.support.waiting import eventually

pytestmark = pytest.mark.kafka

USER = "worker"
BEATS = 2
"""Heartbeats, or attempts to join the group, that go by while a right lacks: the service's own clock."""
SERVICE = "run", "run: reports on instances"
FEW = 60
"""Requests of one kind in that time at most; a storm has thousands."""


class Guard(NamedTuple):
    """A service that runs, and the broker that guards its topics."""

    broker: Guarded
    service: Fleet
    worker: Worker

    async def answer(self) -> tuple[bool, dict[str, Any]]:
        """Return what the readiness probe says."""
        code, body = await self.worker.get("/readyz")
        return code == 200, json.loads(body)

    async def requests(self) -> Counter[str]:
        """Return how many requests the service has sent, by kind."""
        _, text = await self.worker.get("/metrics")
        found = re.findall(r'^streamproc_kafka_requests_total\{request="(\w+)"\} ([\d.e+]+)$', text, re.MULTILINE)
        assert found
        return Counter({kind: int(float(count)) for kind, count in found})

    def troubles(self) -> list[str]:
        """Return why the push started over."""
        return [line["why"] for line in self.worker.events("the push starts over")]

    async def send(self, seed: int) -> None:
        """Send some more."""
        await self.service.send(simulate(seed=seed, events=40, start_ms=int(time.time() * 1_000)))


@pytest.fixture(scope="module")
def broker() -> Iterator[Guarded]:
    """A broker with one user."""
    with guarded_broker([USER]) as it:
        yield it


@pytest.fixture
async def guard(broker: Guarded, unique: Callable[[str], str], tmp_path: Path) -> AsyncIterator[Guard]:
    """A service with exactly its rights, that has done some work."""
    async with fleet(broker.open, unique("guarded"), tmp_path) as service:
        broker.grant(USER, rights(service))
        worker = service.start(**broker.login(USER), KAFKA__SESSION_TIMEOUT_MS=6_000)
        it = Guard(broker, service, worker)
        await it.send(1)
        await eventually(worker.is_ready)
        yield it


def rights(service: Fleet) -> list[Right]:
    """Return the service's rights."""
    on = names(service.name, service.topics)
    return [right for command in SERVICE for right in rights_of(command, on)]


CASES = [
    (Operation.WRITE, "transitions"),
    (Operation.WRITE, "state"),
    (Operation.WRITE, "measurements"),
    (Operation.READ, "events"),
    (Operation.READ, "measurements"),
    (Operation.READ, Resource.GROUP),
    (Operation.WRITE, Resource.TRANSACTIONAL_ID),
]


@pytest.mark.parametrize(("operation", "of"), CASES, ids=lambda each: str(getattr(each, "value", each)))
async def test_a_right_that_is_taken_away_is_waited_for(guard: Guard, operation: Operation, of: str) -> None:
    """rules.md 28: not ready, and why, for as long as it lacks; few requests; nothing is lost or doubled."""
    name = guard.service.topics.by_role().get(of)
    [right] = [
        each
        for each in rights(guard.service)
        if each.operation is operation and (each.name == name or each.resource == of)
    ]
    guard.broker.take(USER, right)
    await guard.send(2)

    async def is_told() -> bool:
        is_ready, answer = await guard.answer()
        return not is_ready and f"the user lacks the right {right}" in answer["message"]

    await eventually(is_told)
    before, sent = await guard.requests(), Counter[str]()
    await guard.send(3)
    while max(sent["Heartbeat"], sent["JoinGroup"]) < BEATS:
        is_ready, answer = await guard.answer()
        assert not is_ready, answer
        sent = await guard.requests() - before
    assert all(count <= FEW for count in sent.values()), sent
    told = [cause["why"] for cause in answer["causes"].values() if "why" in cause]
    # Who may not join the group has no partition that could tell a cause: then the message alone tells it.
    assert told or of == Resource.GROUP
    assert all(str(right) in why and "kafka-acls.sh" in why for why in told or [answer["message"]])
    assert "never retrieved" not in guard.worker.output()
    assert any(str(right) in str(line.get("why")) for line in guard.worker.lines())
    guard.broker.grant(USER, [right])
    await eventually(guard.worker.is_ready)
    await guard.service.drained()
    assert await guard.service.check() == 120
    assert guard.worker.stop() == 0


@pytest.mark.parametrize(("operation", "kind"), [(Operation.READ, Resource.GROUP), (Operation.READ, Resource.TOPIC)])
async def test_a_push_waits_for_its_rights_and_holds_up_nothing(
    broker: Guarded, unique: Callable[[str], str], tmp_path: Path, operation: Operation, kind: Resource
) -> None:
    """rules.md 28: the log names what lacks; few requests; the pipeline stays ready; it reads again once it is back."""
    async with fleet(broker.open, unique("pushing"), tmp_path) as service:
        push = rights_of("run: push to Alertmanager", names(service.name, service.topics))
        broker.grant(USER, [*rights(service), *push])
        urls = {"ALERTMANAGER__URLS": '["http://127.0.0.1:9"]', "KAFKA__SESSION_TIMEOUT_MS": 6_000}
        it = Guard(broker, service, service.start(**broker.login(USER), **urls))
        await it.send(1)
        await eventually(it.worker.is_ready)
        group = AioKafka(service.settings, f"{service.name}.alertmanager")

        async def is_member() -> bool:
            return (await group.membership()).state == "Stable"

        await eventually(is_member)
        [right] = [each for each in push if (each.operation, each.resource) == (operation, kind)]
        broker.take(USER, right)
        await eventually(lambda: any(f"lacks the right {right}" in why for why in it.troubles()))
        before, sent = await it.requests(), Counter[str]()
        while sent["Heartbeat"] < BEATS:
            sent = await it.requests() - before
        assert all(count <= FEW for count in sent.values()), sent
        await eventually(it.worker.is_ready)
        broker.grant(USER, [right])
        await eventually(is_member)
        assert "never retrieved" not in it.worker.output()
        assert it.worker.stop() == 0
        await group.close()
