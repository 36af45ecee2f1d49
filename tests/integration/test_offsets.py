"""Nothing that a producer writes stops the service, and an operator has a way out of everything: on a real Kafka."""

import asyncio
import json
import re
import shlex
import subprocess
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as AioPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streamproc.codec.arrival import Arrival
from streamproc.local.simulate import simulate
from tests.support.oracle import replay, written
from tests.support.runobjects import framed, run_object
from tests.support.service import Fleet, Worker
from tests.support.waiting import DEADLINE_S, eventually

BATCH_LIMIT = 4 << 20
ZEROS = bytes(3 << 20)


async def _streamproc(service: Fleet, *arguments: str, code: int = 0, **settings: object) -> str:
    """Run a command to its end; return what it printed."""
    result = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "streamproc", *arguments],
        env=service.environment(**settings),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout + result.stderr


async def _advice(service: Fleet, text: str) -> str:
    """Run the first `streamproc ...` command that a message names, as it stands there; return what it printed."""
    found = re.search(r"`streamproc ([^`]*)`", text)
    assert found is not None, text
    return await _streamproc(service, *shlex.split(found[1]))


class Sender:
    """Writes records and batches of any kind."""

    def __init__(self, service: Fleet) -> None:
        self._topic = service.topics.events
        options = {"max_batch_size": 16 << 20, "max_request_size": 16 << 20, "compression_type": "zstd"}
        self.producer = AIOKafkaProducer(bootstrap_servers=service.settings.bootstrap_servers, **options)

    async def value(self, partition: int, value: bytes, at_ms: int | None = None) -> None:
        """Send a record with a batch to itself."""
        await self.values(partition, [value], at_ms)

    async def values(self, partition: int, values: list[bytes], at_ms: int | None = None) -> None:
        """Send records in one batch."""
        batch = self.producer.create_batch()
        for value in values:
            now_ms = int(time.time() * 1_000)
            assert batch.append(key=b"thread", value=value, timestamp=now_ms if at_ms is None else at_ms) is not None
        await (await self.producer.send_batch(batch, self._topic, partition=partition))

    async def odd(self, partition: int) -> None:
        """Send what Kafka takes and hardly anybody expects."""
        batch, now_ms = self.producer.create_batch(), int(time.time() * 1_000)
        for at_ms in (-(2**62), now_ms, -5, 0):
            headers = [("h", None)] * 2_000 + [("", b"")]
            assert batch.append(key=None, value=None, timestamp=at_ms, headers=headers) is not None
        await (await self.producer.send_batch(batch, self._topic, partition=partition))

    async def event(self, partition: int, status: str) -> None:
        """Send an event of the run that is the partition's own."""
        at_s = int(time.time())
        run = run_object(id=f"run_{partition}", status=status, thread_id="thread", created_at=at_s - 5)
        await self.value(partition, framed("v2_1", run))


def _reason(letter: Arrival) -> bytes:
    return dict(letter.headers)["streamproc.error.reason"]


async def _paused(worker: Worker, reason: str) -> str:
    """Wait until a partition is said to wait for a reason; return what the log says of it."""

    def why() -> list[str]:
        return [line["why"] for line in worker.events("paused") if line["reason"] == reason]

    await eventually(lambda: bool(why()))
    return why()[0]


async def test_what_producers_write_stops_at_most_its_own_partition_and_that_goes_on_when_told_to(
    service: Fleet,
) -> None:
    """A record that is too large, a batch that cannot be read, nothing but rubbish; all with one start."""
    topics = service.topics
    worker = service.start(
        KAFKA__MAX_BATCH_BYTES=BATCH_LIMIT, DEAD_LETTERS__STOP_PERCENT=50, DEAD_LETTERS__STOP_MIN_RECORDS=10
    )
    sender = Sender(service)
    async with sender.producer:
        for partition in range(4):
            await sender.event(partition, "queued")
        await sender.value(0, ZEROS)
        await sender.values(1, [bytes(1_000_000)] * 5)
        await sender.value(2, b"no time", at_ms=-1)
        await sender.odd(2)
        await sender.values(3, [b"rubbish"] * 20)
        for partition in range(3):
            await sender.event(partition, "completed")

        async def others_are_done() -> bool:
            return all([await _at_end(service, partition) for partition in (0, 2)])

        await eventually(others_are_done)
        await _paused(worker, "rejections")
    unreadable = await _paused(worker, "unreadable")
    assert f"offsets 1 to 5 of {topics.events} partition 1 cannot be read" in unreadable
    status, body = await worker.get("/readyz")
    causes = {place: cause["reason"] for place, cause in json.loads(body)["causes"].items()}
    assert (status, json.loads(body)["status"]) == (503, "paused")
    assert causes == {f"{topics.events} partition 1": "unreadable", f"{topics.events} partition 3": "rejections"}
    assert 'streamproc_partitions_paused{reason="unreadable"} 1.0' in (await worker.get("/metrics"))[1]
    committed = await service.kafka.committed(service.source(1))
    assert committed is not None
    assert committed.offset == 1, "what lies in front of it"

    assert "continues at 6" in await _advice(service, unreadable.replace('"..."', '"made by hand"'))
    await eventually(lambda: _at_end(service, 1))
    assert await _at_end(service, 3), "nothing is unread where it stopped"
    assert f"{topics.events} partition 3 goes on at offset" in await _streamproc(service, "offsets", "resume")
    sender = Sender(service)
    async with sender.producer:
        await sender.event(3, "completed")
    await eventually(service.is_done)
    await eventually(worker.is_ready)
    assert worker.process.poll() is None
    shown = json.loads(await _streamproc(service, "offsets", "show", "--json"))
    assert {each["by"] for each in shown["partitions"] if each["topic"] == topics.events} == {"streamproc"}
    assert (shown["group"]["state"], len(shown["group"]["members"])) == ("Stable", 1)
    assert "Stop every instance first" in await _streamproc(service, "offsets", "reset", "--to", "0", code=1)
    assert worker.stop() == 0
    for partition in range(4):
        assert len(await service.read(topics.transitions, partition)) == 2

    await _check_letters(service)


async def _check_letters(service: Fleet) -> None:
    """What became dead letters of it, and what comes back."""
    topics = service.topics
    (large,) = await service.read(topics.dead_letters, 0)
    assert (_reason(large), large.value) == (b"too_large", bytes(65_536))
    (skipped,) = await service.read(topics.dead_letters, 1)
    assert dict(skipped.headers)["streamproc.error.message"] == b"made by hand"
    assert "3,145,734 (cut)" in await _streamproc(service, "dlq", "list", "--reason", "too_large")
    said = await _streamproc(service, "dlq", "replay", "--partition", "0", "--partition", "1", "--partition", "2")
    assert "too large once marked" in said
    assert "passed over by `streamproc offsets skip`" in said
    timeless = [record.timestamp for record in await service.read(topics.events, 2) if record.value == b"no time"]
    assert timeless == [-1, -1], "a topic with CreateTime admits it"

    raised = ConfigResource(ConfigResourceType.TOPIC, topics.events, {"max.message.bytes": str(8 << 20)})
    await service.administer(lambda admin: admin.alter_configs([raised]))
    said = await _streamproc(service, "dlq", "replay", "--partition", "0", KAFKA__MAX_RECORD_BYTES=4 << 20)
    assert "replayed " in said
    assert (await service.read(topics.events, 0))[-1].value == ZEROS


async def _at_end(service: Fleet, partition: int) -> bool:
    committed = await service.kafka.committed(service.source(partition))
    _, end = await service.kafka.bounds(service.topics.events, partition)
    return committed is not None and committed.offset == end


async def test_a_foreign_commit_is_named_and_the_command_that_is_named_does_it_right(service: Fleet) -> None:
    """As kafka-consumer-groups --reset-offsets does it; then everything is read again, with the same ids."""
    worker = service.start()
    await service.send(simulate(seed=3, events=400, bad_ratio=0.01, start_ms=int(time.time() * 1_000)))
    await service.drained()
    assert worker.stop() == 0
    await service.check()
    before = [await _ids(service, partition) for partition in range(4)]

    places = {AioPartition(service.topics.events, partition): 0 for partition in range(4)}
    async with AIOKafkaConsumer(
        bootstrap_servers=service.settings.bootstrap_servers, group_id=service.name, enable_auto_commit=False
    ) as consumer:
        consumer.assign(list(places))
        await consumer.commit(places)
    refused = service.start()
    assert await refused.end() == 1
    assert "kafka-consumer-groups" in refused.output()
    message = " ".join(refused.output().split())
    assert "something else" in await _streamproc(service, "offsets", "show")
    planned = await _streamproc(service, "offsets", "reset", "--to", "earliest", "--dry-run")
    assert "would be dropped" in planned
    assert "the same ce_id" in await _advice(service, message)

    last = service.start()
    await service.drained()
    assert last.stop() == 0
    for partition in range(4):
        assert sorted(await _ids(service, partition)) == sorted(2 * before[partition])
        source = await service.read(service.topics.events, partition)
        states = await service.read(service.topics.state, partition)
        assert written([], [], states, []).states == replay(source, int(time.time() * 1_000)).states


async def _ids(service: Fleet, partition: int) -> list[bytes]:
    found = await service.read(service.topics.transitions, partition)
    return [dict(record.headers)["ce_id"] for record in found]
