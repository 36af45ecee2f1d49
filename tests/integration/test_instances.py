"""run-instances on a real Kafka: what is read there is how the instances are."""

import signal
import time

from streamproc.codec.instances import Instance, decode_instance
from streamproc.local.simulate import simulate
from tests.support.service import Fleet
from tests.support.waiting import eventually

GONE = "does not exist: run `streamproc topics create`, or correct STREAMPROC_TOPICS__PREFIX"


async def _latest(service: Fleet) -> dict[str, Instance | None]:
    """Return the last word of each instance; None: a tombstone."""
    records = await service.read(service.topics.instances or "", 0)
    return {
        (record.key or b"").decode(): None if record.value is None else decode_instance(record) for record in records
    }


async def _are(service: Fleet, **partitions: int) -> bool:
    """Whether each of these instances says that it runs so many partitions and has nothing to do."""
    found = await _latest(service)
    return {name: len(said.partitions) for name, said in found.items() if said and _is_idle(said)} == partitions


def _is_idle(said: Instance) -> bool:
    return said.ready and all(
        (each.state, each.reason, each.lag_records) == ("running", None, 0) and each.last_commit_at
        for each in said.partitions
    )


async def test_instances_tell_of_their_partitions_until_they_are_stopped(service: Fleet) -> None:
    """rules.md 26: both of them, the one that is killed leaves its last word, the one that is stopped a tombstone."""
    began_ms = int(time.time() * 1000)
    workers = [service.start(INSTANCES__INTERVAL_S=1, KAFKA__GROUP_INSTANCE_ID=name) for name in ("one", "two")]
    await service.send(simulate(seed=5, events=500, start_ms=began_ms))
    await service.drained()
    await eventually(lambda: _are(service, one=4, two=4))
    found = await _latest(service)
    one, two = found["one"], found["two"]
    assert one is not None
    assert two is not None
    assert (one.application_id, one.profile, one.status) == (service.name, "assistants", "running")
    assert began_ms <= one.started_at <= one.reported_at
    assert one.memory_bytes > 10 << 20
    assert one.cpu_seconds > 0
    places = {(each.topic, each.partition) for said in (one, two) for each in said.partitions}
    inputs = service.topics.events, service.topics.measurements
    assert places == {(topic, partition) for topic in inputs for partition in range(4)}
    ends = {
        each.partition: each.offset
        for said in (one, two)
        for each in said.partitions
        if each.topic == service.topics.events
    }
    committed = [await service.kafka.committed(service.source(number)) for number in range(4)]
    assert ends == {number: each.offset for number, each in enumerate(committed) if each is not None}
    workers[0].kill()
    assert workers[1].stop() == 0
    found = await _latest(service)
    assert found["two"] is None
    assert isinstance(found["one"], Instance)


async def test_a_frozen_instance_shows_by_the_age_of_its_report(service: Fleet) -> None:
    """rules.md 26: three intervals; it reports again when it wakes."""
    worker = service.start(INSTANCES__INTERVAL_S=1)
    await eventually(lambda: _has(service, 1))
    worker.signal(signal.SIGSTOP)
    [said] = (await _latest(service)).values()
    assert said is not None
    await eventually(lambda: time.time() * 1000 - said.reported_at > 3 * said.interval_ms)
    worker.signal(signal.SIGCONT)
    before = len(await service.read(service.topics.instances or "", 0))
    await eventually(lambda: _has(service, before + 1))
    assert worker.stop() == 0


async def _has(service: Fleet, reports: int) -> bool:
    return len(await service.read(service.topics.instances or "", 0)) >= reports


async def test_a_service_of_before_the_topic_starts_and_says_what_is_missing(service: Fleet) -> None:
    """rules.md 26: after an upgrade; it is not created by being written to, and used once it is there."""
    topic = service.topics.instances or ""
    await service.administer(lambda admin: admin.delete_topics([topic]))
    await eventually(lambda: _is_gone(service, topic))
    worker = service.start(INSTANCES__INTERVAL_S=1)
    await eventually(worker.is_ready)
    lost = "this instance does not get its report through"
    await eventually(lambda: bool(worker.events(lost)))
    assert worker.events(lost)[0]["why"] == f"{topic} {GONE}"
    assert await _is_gone(service, topic)
    assert not [line for line in worker.lines() if topic in line["event"]]  # Nor is it the library's business.
    assert worker.stop() == 0


async def _is_gone(service: Fleet, topic: str) -> bool:
    return await service.kafka.partition_count(topic) == 0
